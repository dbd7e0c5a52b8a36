"""A shard through its life: what it says, and what it says after a fall."""

import asyncio
import random
import threading
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from typing import Any

import pytest

from service.core.step import step as real_step
from service.core.turn import Turn
from service.ports import WarningQuery
from service.shard import Stage, life
from service.wire.decode import Decoded
from service.wire.decode import decode as real_decode
from service.wire.feedback import Acknowledged, feed_closed, of_warning
from tests.core.rulebooks import MIXED, book
from tests.doubles.broker import until
from tests.doubles.stand import BEGIN, HOUR_US, TOPICS, Stand, home, micros, month, neighbours, transactional_id, usage
from tests.shard.runs import AT, committed, cursor_of, live_through, living, pour, running, shard_on

WHO = neighbours(AT, 9)
TOGETHER = 3  # steps that are looked at


def fed(**terms: Any) -> Stand:
    """A stand with the same month on its partition, whatever happens to the shard."""
    stand = Stand(**terms)
    stand.feed(_MONTH)
    return stand


_MONTH = month(WHO)


@pytest.fixture(scope="module")
def expected() -> list[tuple[str, str | None, bytes | None]]:
    """What an undisturbed shard says."""
    stand = fed()
    asyncio.run(live_through(stand))
    said = stand.said(AT)
    assert len(said) > 20
    return said


async def test_every_transition_is_published_once(expected: list[object]) -> None:
    ids = [one[1] for one in expected if isinstance(one, tuple)]
    assert len(ids) == len(set(ids))
    assert any(str(name).endswith(".raised") for name in ids)
    assert any(".resolved." in str(name) for name in ids)
    assert any(str(name).endswith(".call") for name in ids)


async def test_small_polls_say_the_same(expected: list[object]) -> None:
    stand = fed()
    await live_through(stand, most=17)
    assert stand.said(AT) == expected


async def test_small_turns_say_the_same(expected: list[object]) -> None:
    stand = fed(turn_records=13)
    await live_through(stand)
    assert stand.said(AT) == expected


async def test_a_batch_is_decoded_while_the_one_before_it_is_in_its_step(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded, waited = threading.Semaphore(0), list[bool]()

    def decode(*given: Any) -> Decoded:
        decoded.release()
        return real_decode(*given)

    def step(*given: Any) -> list[Turn]:
        if len(waited) < TOGETHER:  # its own batch was decoded before; it goes on when the next one is on its way, too
            waited.append(decoded.acquire(timeout=20) and decoded.acquire(timeout=20))
            decoded.release()
        return real_step(*given)

    monkeypatch.setattr(life, "decode", decode)
    monkeypatch.setattr(life, "step", step)
    stand = fed(turn_records=13)
    await live_through(stand)
    assert waited == [True] * TOGETHER


async def test_what_was_decoded_ahead_is_read_again_after_a_fall(expected: list[object]) -> None:
    stand = fed(turn_records=13)
    stand.broker.faults[transactional_id(AT)].extend(["none", "fence", "none", "none", "fence"])
    async with living(stand) as shard:
        pour(stand, shard)
        await until(lambda: stand.witness.restored == 2)
        await running(shard)
        pour(stand, shard)
        await until(lambda: stand.witness.restored == 3)
        await running(shard)
        pour(stand, shard)
        await committed(stand, shard)
        assert stand.said(AT) == expected
        assert stand.witness.results.count("fenced") == 2


async def test_an_aborted_transaction_is_sent_again_once(expected: list[object]) -> None:
    stand = fed()
    stand.broker.faults[transactional_id(AT)].extend(["abort", "abort", "none", "abort"])
    await live_through(stand)
    assert stand.said(AT) == expected
    assert stand.witness.results.count("aborted") == 3


@pytest.mark.parametrize("fault", ["unknown-lost", "unknown-committed"])
async def test_an_unknown_outcome_is_settled_by_the_cursor(fault: str, expected: list[object]) -> None:
    stand = fed()
    stand.broker.faults[transactional_id(AT)].extend([fault, "none"] * 4)
    await live_through(stand)
    assert stand.said(AT) == expected
    assert stand.witness.results.count("unknown") == 4


async def test_fenced_and_still_assigned_starts_again(expected: list[object]) -> None:
    stand = fed()
    async with living(stand) as shard:
        pour(stand, shard, 60)
        await committed(stand, shard)
        stand.broker.faults[transactional_id(AT)].append("fence")
        pour(stand, shard)
        await until(lambda: stand.witness.restored == 2)
        await running(shard)
        pour(stand, shard)
        await committed(stand, shard)
    assert stand.said(AT) == expected
    assert (AT, "gone") not in stand.witness.stages[:-1]


@pytest.mark.parametrize("seed", range(6))
async def test_a_shard_cut_off_anywhere_goes_on_where_it_was(seed: int, expected: list[object]) -> None:
    stand = fed(snapshot_records=40, turn_records=31)
    chance = random.Random(seed)
    while cursor_of(stand) != len(_MONTH):
        faults = ["abort", "unknown-lost", "unknown-committed", "fence", *["none"] * 8]
        stand.broker.faults[transactional_id(AT)].extend(chance.choices(faults, k=3))
        await live_until_cut(stand, chance)
    assert stand.said(AT) == expected


async def live_until_cut(stand: Stand, chance: random.Random) -> None:
    """Live in small polls until the process is killed, which may be in the middle of anything."""
    shard = shard_on(stand)
    task = asyncio.create_task(shard.run())
    cut = stand.broker.moments + chance.randrange(1, 150)

    def is_over() -> bool:
        stand.clock.advance(timedelta(milliseconds=20))
        if shard.stage is Stage.RUNNING:
            pour(stand, shard, chance.randrange(1, 60))
        return stand.broker.moments >= cut or cursor_of(stand) == len(_MONTH)

    await until(is_over)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_restore_judges_nothing_again() -> None:
    stand = fed()
    await live_through(stand)
    said = stand.said(AT)
    async with living(stand) as shard:
        assert stand.said(AT) == said
        shown = shard.display.warnings(WarningQuery(limit=1000))
    assert shown.height == len(_open_ids(stand))


async def test_rules_changed_between_a_fall_and_the_restart_say_nothing_of_before_again() -> None:
    stand = fed(snapshot_records=40)
    async with living(stand) as shard:
        pour(stand, shard, 60)
        await committed(stand, shard)
    said = stand.said(AT)
    assert said
    never = book(*(replace(one, when=one.when & False) for one in MIXED.rules if one.on))
    stand.terms = replace(stand.terms, rulebook=never)
    await live_through(stand)
    more = stand.said(AT)
    assert set(said) < set(more)
    assert len(more) == len(set(more))
    assert {str(name).split(".")[1] for _, name, _ in set(more) - set(said)} == {"resolved"}


def _open_ids(stand: Stand) -> set[str]:
    last: dict[str, str] = {}
    for topic, name, _ in stand.said(AT):
        if topic == TOPICS.warnings:
            episode, transition = str(name).split(".")[:2]
            last[episode] = transition
    return {episode for episode, transition in last.items() if transition != "resolved"}


async def test_leaving_in_order_keeps_a_snapshot_at_the_committed_cursor() -> None:
    stand = fed()
    await live_through(stand)
    (kept,) = stand.store.kept[AT]
    assert kept.manifest["cursor"] == cursor_of(stand) == len(_MONTH)


async def test_leaving_without_time_keeps_what_was_said_and_says_the_rest_later(expected: list[object]) -> None:
    stand = fed()
    async with living(stand) as shard:
        pour(stand, shard)
        await until(lambda: len(stand.witness.turns) > 3)
        shard.leave()
        await until(lambda: shard.stage is Stage.GONE)
    assert 0 < len(stand.said(AT)) < len(expected)
    await live_through(stand)
    assert stand.said(AT) == expected


async def test_leaving_breaks_off_a_step_that_closes_years() -> None:
    stand = Stand()
    years = 24 * 365 * 80
    stand.feed([usage(who, "charge", hours, amount_minor=400, kind="usage") for hours in (1, years) for who in WHO[:3]])
    async with living(stand) as shard:
        pour(stand, shard)
        await until(lambda: shard._state.watermark.us is not None)  # a step has begun
        shard.leave()
        await until(lambda: shard.stage is Stage.GONE)
    assert shard.trouble is None
    assert stand.said(AT) == []
    assert cursor_of(stand) is None


async def test_a_full_disk_costs_a_snapshot_and_nothing_else(expected: list[object]) -> None:
    stand = fed(snapshot_records=10)
    stand.store.failing = True
    await live_through(stand, most=50)
    assert stand.said(AT) == expected
    assert stand.witness.failed > 0
    assert stand.witness.saved == []


async def test_a_snapshot_that_failed_is_tried_again_later_and_later() -> None:
    stand = fed(snapshot_records=10, most_back_off_s=15.0, snapshot_interval_s=100.0)
    stand.store.failing = True
    async with living(stand) as shard:
        pour(stand, shard)
        await until(lambda: stand.witness.failed == 1)
        for failures, wait_s in enumerate((15, 30, 60, 100, 100), 1):
            turns = len(stand.witness.turns)
            stand.clock.advance(timedelta(seconds=wait_s - 1))
            stand.feed([usage(WHO[0], "usage.sms", 300 + failures, count=1)])
            pour(stand, shard)
            await until(partial(_has_turned, stand, turns))
            assert stand.witness.failed == failures
            stand.clock.advance(timedelta(seconds=1))
            await until(partial(_has_failed, stand, failures + 1))
        stand.store.failing = False
        stand.clock.advance(timedelta(seconds=100))
        await until(lambda: len(stand.witness.saved) == 1)


def _has_turned(stand: Stand, turns: int) -> bool:
    return len(stand.witness.turns) > turns


def _has_failed(stand: Stand, failures: int) -> bool:
    return stand.witness.failed == failures


async def test_a_shard_that_has_read_no_report_yet_stands_at_the_first_that_is_left() -> None:
    stand = Stand()
    for number in range(3):
        report = Acknowledged(f"a{number}", WHO[0], "nobody's", "m-07", "2013-06-01T00:00:00Z")
        stand.feed([of_warning(report, TOPICS.feedback, AT)])
    stand.broker.truncate(TOPICS.feedback, AT, 2)
    async with living(stand) as shard:
        assert shard.positions == {TOPICS.usage: 0, TOPICS.feedback: 2}


async def test_what_says_nothing_is_committed_rarely() -> None:
    stand = Stand()
    stand.feed([usage(WHO[0], "usage.voice", 1, seconds=60), usage(WHO[0], "usage.sms", 2, count=1)])
    async with living(stand) as shard:
        pour(stand, shard, 1)
        pour(stand, shard, 1)
        await until(lambda: shard.display.cursor == 2)
        assert cursor_of(stand) is None
        stand.clock.advance(timedelta(seconds=1))
        await until(lambda: cursor_of(stand) == 2)
    assert stand.witness.results == ["committed"]


async def test_bad_records_become_dead_letters_once() -> None:
    stand = Stand()
    good, bad = usage(WHO[0], "usage.sms", 1, count=1), usage(WHO[1], "usage.sms", 2, count=-1)
    stand.feed([good, bad, good])
    stand.broker.faults[transactional_id(AT)].append("abort")
    await live_through(stand)
    (letter,) = stand.records(TOPICS.dead_letters, AT)
    assert letter.value == bad.value
    assert dict(letter.headers)["__connect.errors.offset"] == b"1"


async def test_a_refused_dead_letter_goes_without_its_bytes() -> None:
    stand = Stand()
    stand.feed([usage(WHO[1], "usage.sms", 2, count=-1)])
    stand.broker.faults[transactional_id(AT)].append("refuse")
    await live_through(stand)
    (letter,) = stand.records(TOPICS.dead_letters, AT)
    assert letter.value is None
    assert "churn.value.cut" in dict(letter.headers)


async def test_a_refused_warning_stops_the_shard_aloud(caplog: pytest.LogCaptureFixture) -> None:
    stand = fed()
    stand.broker.faults[transactional_id(AT)].extend(["refuse"] * 3)
    shard = shard_on(stand)
    task = asyncio.create_task(shard.run())
    await running(shard)
    pour(stand, shard)
    await until(lambda: shard.trouble is not None)
    assert "refuses" in str(shard.trouble)
    shard.leave()
    await task
    assert "falls" in caplog.text


async def test_an_acknowledgement_takes_effect_and_is_told_once() -> None:
    stand = fed()
    async with living(stand) as shard:
        pour(stand, shard)
        await committed(stand, shard)
        row = shard.display.warnings(WarningQuery(limit=1)).to_dicts()[0]
        report = Acknowledged(
            id="a1", subscriber_id=row["subscriber_id"], warning_id=row["episode_id"], by="agent-7",
            occurred_at=BEGIN.isoformat(),
        )  # fmt: skip
        stand.feed([of_warning(report, TOPICS.feedback, home(row["subscriber_id"]))])
        pour(stand, shard)
        await asyncio.wait_for(shard.applied(0), 10)
        shown = shard.display.warning(row["episode_id"])
        assert shown is not None
        assert (shown["state"], shown["acknowledged_by"]) == ("acknowledged", "agent-7")
    told = [name for _, name, _ in stand.said(AT) if str(name).startswith(row["episode_id"])]
    assert sum(str(name).startswith(f"{row['episode_id']}.acknowledged.") for name in told) == 1
    async with living(stand) as again:
        shown = again.display.warning(row["episode_id"])
        assert shown is not None
        assert shown["state"] == "acknowledged"


async def test_the_end_of_a_feed_closes_days_once_usage_has_come_so_far() -> None:
    stand = fed()
    last = BEGIN.date() + timedelta(days=20)
    stand.feed([feed_closed(last, len(_MONTH), TOPICS.feedback, AT)])
    async with living(stand) as shard:
        pour(stand, shard, 30)
        await committed(stand, shard)
        before = shard.display.warnings(WarningQuery(limit=1000)).height
        pour(stand, shard)
        await until(lambda: any(turn.day and turn.day.day == _number(last) for turn in stand.witness.turns))
        shard.leave(drain_s=10)
        await until(lambda: shard.stage is Stage.GONE)
    days = [turn.day.day for turn in stand.witness.turns if turn.day is not None]
    assert days == sorted(set(days))
    assert before < len(_open_ids(stand))


async def test_the_end_of_a_feed_that_usage_cannot_reach_holds_nothing_up() -> None:
    stand = fed()
    last = BEGIN.date() + timedelta(days=20)
    stand.feed([feed_closed(last, 10**9, TOPICS.feedback, AT), feed_closed(last, 0, TOPICS.feedback, AT)])
    async with living(stand) as shard:
        pour(stand, shard)
        await asyncio.wait_for(shard.applied(1), 10)
        shard.leave(drain_s=10)
        await until(lambda: shard.stage is Stage.GONE)
    assert any(turn.day and turn.day.day == _number(last) for turn in stand.witness.turns)
    (letter,) = stand.broker.topics[TOPICS.dead_letters][AT].committed(0, 100)
    assert b"offset is beyond the end of the usage topic's partition" in dict(letter.headers).values()


def _number(day: date) -> int:
    return (day - date(1970, 1, 1)).days


async def test_the_clock_closes_a_day_only_when_all_is_read() -> None:
    stand = Stand(wall=True)
    stand.feed([usage(WHO[0], "usage.voice", 1, seconds=60), usage(WHO[0], "usage.voice", 2, seconds=60)])
    async with living(stand) as shard:
        pour(stand, shard, 1)
        await committed(stand, shard)
        stand.clock.advance(timedelta(hours=27))
        await until(lambda: shard.display.cursor == 1)
        stand.clock.advance(timedelta(seconds=1))
        assert not [turn for turn in stand.witness.turns if turn.day]
        pour(stand, shard)
        await until(lambda: _ticked(stand) and any(turn.day for turn in stand.witness.turns))
    (day,) = [turn.day for turn in stand.witness.turns if turn.day]
    assert (day.day, day.cut, day.cause) == (_number(BEGIN.date()), 2, "clock")


def _ticked(stand: Stand) -> bool:
    stand.clock.advance(timedelta(milliseconds=20))
    return True


async def test_an_open_transaction_in_usage_keeps_the_clock_from_closing() -> None:
    stand = Stand(wall=True)
    stand.feed([usage(WHO[0], "usage.voice", 1, seconds=60)])
    stand.broker.append(usage(WHO[0], "usage.voice", 2, seconds=60), None)
    async with living(stand) as shard:
        pour(stand, shard)
        await committed(stand, shard)
        stand.clock.advance(timedelta(hours=27))
        await until(lambda: _ticked(stand) and stand.clock.now_us() > micros(BEGIN) + 27 * HOUR_US + 10_000_000)
    assert not [turn for turn in stand.witness.turns if turn.day]
