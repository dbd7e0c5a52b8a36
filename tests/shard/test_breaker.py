"""The breaker: a poisoned feed stops a shard's usage before it is committed, and nothing else of it."""

import asyncio
import itertools
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from service.ports import Message, Record
from service.shard import Shard, Terms
from service.shard.breaker import Breaker
from service.wire.feedback import Acknowledged, of_warning
from service.wire.records import Records
from service.wire.rejects import Fault, Reject
from tests.doubles.broker import until
from tests.doubles.stand import BEGIN, TOPICS, Stand, month, neighbours, usage
from tests.shard.runs import AT, committed, cursor_of, live_through, living, pour
from tests.worker.test_worker import ready, working

WHO = neighbours(AT, 3)
TRIES = 3  # at which it is held again
LIMITS: dict[str, Any] = {"breaker_records": 20, "breaker_share": 0.5, "breaker_run": 8}


def first_held(told: str, cuts: Sequence[int], **limits: float) -> int | None:
    """Offset up to which the breaker says to hold, of records good (.) and bad (x) that come in polls cut there."""
    breaker = Breaker(Stand(**(LIMITS | limits)).terms)
    for start, end in zip((0, *cuts), (*cuts, len(told)), strict=True):
        records = [Record(TOPICS.usage, AT, at, 0, b"k", b"") for at in range(start, end)]
        rejects = [Reject(one, Fault.MALFORMED, "why") for one in records if told[one.offset] == "x"]
        if not breaker.passes(Records.of(records), rejects, 0.0):
            assert breaker.holds
            return int(str(breaker.reason).partition("up to offset ")[2].split()[0])
    assert breaker.reason is None
    return None


@pytest.mark.parametrize(
    ("told", "held"),
    [
        ("", None),
        ("x" * 7, None),  # few at the start
        ("x" * 7 + "." + "x" * 7, None),  # more than half, but of fewer than are looked at
        ("x" * 8, 7),
        ("." * 50 + "x" * 7 + "." * 50, None),
        ("." * 50 + "x" * 8 + "." * 50, 57),
        ("x." * 50, None),  # half
        ("." * 12 + "x" * 8 + "x" * 8, 19),  # the run is complete before the share
        ("x." * 20 + "xx." * 9, 41),
    ],
)
def test_too_many_bad_ones_in_a_row_or_by_share_are_held_wherever_polls_are_cut(told: str, held: int | None) -> None:
    assert first_held(told, ()) == held
    assert first_held(told, range(1, len(told))) == held
    assert first_held(told, range(3, len(told), 7)) == held


def test_a_share_of_one_switches_it_off() -> None:
    assert first_held("x" * 100, (30, 60), breaker_share=1) is None


def test_what_was_held_is_looked_at_again_after_a_while_and_as_before() -> None:
    breaker = Breaker(Terms(Stand().terms.rulebook, Stand().terms.intake, breaker_run=2, most_back_off_s=15))
    records = Records.of([Record(TOPICS.usage, AT, at, 0, b"k", b"") for at in range(2)])
    rejects = [Reject(one, fault, "why") for one, fault in zip(records, (Fault.FUTURE, Fault.INVALID), strict=True)]
    for now_s in (100.0, 115.0):
        assert not breaker.passes(records, rejects, now_s)
        assert not breaker.is_due(now_s + 14)
        assert breaker.is_due(now_s + 15)
        breaker.try_again()
        assert not breaker.holds
        assert str(breaker.reason).startswith("2 of the 2 records up to offset 1 are bad (future, invalid): mend")
    assert breaker.passes(records, rejects[:1], 130.0)
    assert breaker.reason is None


def poisoned() -> list[Message]:
    return [usage(WHO[0], "usage.sms", 30 * 24, count=-1) for _ in range(LIMITS["breaker_run"])]


async def held(stand: Stand, shard: Shard) -> None:
    """Until the shard holds usage back, which it is handed as often as it asks."""

    def is_held() -> bool:
        stand.clock.advance(timedelta(milliseconds=20))
        pour(stand, shard)
        return shard.held_because is not None

    await until(is_held)


@pytest.mark.parametrize("turn_records", [5, 50_000])
async def test_a_poisoned_feed_is_not_committed_and_the_rest_of_the_shard_lives_on(turn_records: int) -> None:
    stand = Stand(turn_records=turn_records, **LIMITS)
    whole = month(WHO)
    stand.feed(whole)
    async with living(stand) as shard:
        pour(stand, shard)
        await committed(stand, shard)
        stand.feed(poisoned())
        await held(stand, shard)
        if shard.positions.get(TOPICS.usage) is None:  # it may be on its way to the next try
            polled = stand.broker.topics[TOPICS.usage][AT]
            shard.offer(TOPICS.usage, polled.committed(0, 10**9), polled.high_watermark)
            assert not shard._usage.waits  # what was on its way is not taken
        report = Acknowledged(
            id="a", subscriber_id=WHO[0], warning_id="none", by="m", occurred_at=BEGIN.isoformat()
        )  # fmt: skip
        stand.feed([of_warning(report, TOPICS.feedback, AT)])
        pour(stand, shard)
        await asyncio.wait_for(shard.applied(0), 10)
        assert shard.display.subscriber(WHO[0]) is not None
        await until(lambda: _tried(stand, shard) and stand.witness.held.count((AT, True)) > TRIES)
        letters = len(stand.records(TOPICS.dead_letters, AT))
        assert letters < LIMITS["breaker_run"]
        assert cursor_of(stand) == len(whole) + letters
        assert shard.display.cursor == cursor_of(stand)
        assert stand.witness.held.count((AT, True)) > TRIES
        assert [held for held, _ in itertools.groupby(stand.witness.held)] == [(AT, False), (AT, True)]


def _tried(stand: Stand, shard: Shard) -> bool:
    stand.clock.advance(timedelta(milliseconds=20))
    pour(stand, shard)
    return True


async def test_the_clock_closes_no_day_while_usage_is_held_back() -> None:
    stand = Stand(wall=True, **LIMITS)
    stand.feed([usage(WHO[0], "usage.voice", 1, seconds=60), *poisoned()])
    async with living(stand) as shard:
        pour(stand, shard, 1)
        await until(lambda: shard.display.cursor == 1)
        await held(stand, shard)
        stand.clock.advance(timedelta(hours=27))
        await until(lambda: _tried(stand, shard) and stand.witness.held.count((AT, True)) > TRIES)
        assert shard.held_because is not None
    assert not [turn for turn in stand.witness.turns if turn.day]


async def test_what_was_held_is_said_once_when_it_may_pass() -> None:
    stand, free = Stand(turn_records=7, **LIMITS), Stand(turn_records=7, breaker_share=1.0)
    whole = month(WHO)
    fed = [*whole[:60], *poisoned(), *poisoned(), *whole[60:]]
    for one in (stand, free):
        one.feed(fed)
    await live_through(free)
    async with living(stand) as shard:
        await held(stand, shard)
        shard.leave(drain_s=10)
        await until(lambda: shard.stage == "gone")
    assert 60 <= (cursor_of(stand) or 0) < 60 + LIMITS["breaker_run"]
    stand.terms = free.terms
    await live_through(stand)
    assert stand.said() == free.said()
    assert len(free.said()) > 5
    assert _places(stand) == _places(free)
    assert len(_places(stand)) == 2 * LIMITS["breaker_run"]


def _places(stand: Stand) -> list[bytes]:
    return [dict(one.headers)["__connect.errors.offset"] for one in stand.records(TOPICS.dead_letters, AT)]


async def test_a_worker_says_why_stays_ready_and_takes_the_other_partitions(caplog: pytest.LogCaptureFixture) -> None:
    stand = Stand(**LIMITS)
    async with working(stand) as worker:
        await until(ready(worker))
        stand.feed(poisoned())
        await until(lambda: worker.readiness()["reason"] is not None)
        said = worker.readiness()
        assert said["ready"]
        assert said["reason"].startswith(f"No usage is taken of partitions {AT} (8 of the 8 records up to offset 7 are")
        others = neighbours(AT + 1, 1)
        stand.feed([usage(others[0], "usage.sms", 1, count=1)])
        await until(lambda: _knows(stand, worker.desk.subscriber, others[0]))
        await until(lambda: _ticks(stand) and stand.witness.held.count((AT, True)) > TRIES)
        told = [one for one in caplog.records if one.levelname == "ERROR"]
        assert [one.getMessage()[:24] for one in told] == ["shard 1 takes no usage: "]
        assert stand.records(TOPICS.dead_letters) == []
        assert cursor_of(stand) is None


async def test_poison_that_was_deleted_is_passed_over_where_gaps_are_accepted() -> None:
    stand = Stand(accept_gaps=True, **LIMITS)
    async with working(stand) as worker:
        await until(ready(worker))
        stand.feed(poisoned())
        await until(lambda: worker.readiness()["reason"] is not None)
        stand.broker.truncate(TOPICS.usage, AT, LIMITS["breaker_run"])
        stand.feed([usage(WHO[0], "usage.sms", 1, count=1)])
        await until(lambda: _knows(stand, worker.desk.subscriber, WHO[0]))
        assert worker.readiness()["reason"] is None
    assert stand.records(TOPICS.dead_letters) == []


def _knows(stand: Stand, ask: object, subscriber: str) -> bool:
    stand.clock.advance(timedelta(milliseconds=20))
    return callable(ask) and ask(subscriber) is not None


def _ticks(stand: Stand) -> bool:
    stand.clock.advance(timedelta(milliseconds=20))
    return True
