"""A close that says much comes in slices under one day record, and goes on after an interruption."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

import service.core.step
from service.core.calendar import to_day
from service.core.episodes import stack
from service.core.events import Batch
from service.core.frames import recall
from service.core.rules import Dimension, Rulebook, SegmentBands
from service.core.state import Config, State, new_state
from service.core.step import close_through, resume, retrace, retrace_end, step
from service.core.turn import CONTACTS, SEGMENT_CHANGES, DayRecord, Decisions, Turn
from tests.core.rulebooks import CALL, book, rule
from tests.core.streams import Event, batch_of

START = datetime(2024, 3, 1, 12, tzinfo=UTC)
DAY = to_day(START.date())
CONFIG = Config(windows_days=(1,))
EVERYBODY = book(rule("quiet", pl.col("data_1d") < 5, orders=(CALL,)))
EVENTS = [Event("c", str(n), "consent.changed", START, {"channel": "call", "granted": True}) for n in range(50)]


@pytest.fixture(autouse=True)
def _small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.core.step, "SLICE", 10)


def closed() -> tuple[State, list[Turn]]:
    """A first day that nobody is judged on as news, then one that everybody fails."""
    state = new_state(CONFIG)
    step(state, book(), batch_of(EVENTS))
    close_through(state, book(), DAY, "clock")
    return state, close_through(state, EVERYBODY, DAY + 1, "clock")


def test_slices_are_bounded_and_together_say_everything_once() -> None:
    _, turns = closed()
    assert [turn.day.slices_done for turn in turns if turn.day] == [1, 2, 3, 4, 5]
    assert {turn.day.slices for turn in turns if turn.day} == {5}
    said = stack([turn.transitions for turn in turns])
    assert sorted(said["subscriber_id"].to_list(), key=int) == [str(n) for n in range(50)]
    assert pl.concat([turn.contacts for turn in turns]).height == 50
    assert max(turn.transitions.height for turn in turns) < 25


@pytest.mark.parametrize("done", [1, 3, 4])
def test_an_interrupted_close_goes_on_with_the_next_slice(done: int) -> None:
    _, turns = closed()
    told = turns[:done]
    state = new_state(CONFIG)
    retrace(state, EVERYBODY, batch_of(EVENTS), {})
    retrace_end(state, EVERYBODY, dict.fromkeys((DAY, DAY + 1), len(EVENTS)))
    days = {turn.day.day: turn.day for turn in (*first_day(), *told) if turn.day}
    recall(state, decided(told, days))
    rest = resume(state, EVERYBODY)
    assert [turn.day for turn in rest] == [turn.day for turn in turns[done:]]
    for ours, theirs in zip(rest, turns[done:], strict=True):
        assert ours.transitions.equals(theirs.transitions)
    assert resume(state, EVERYBODY) == []


BANDED = book(bands=(SegmentBands("data", 1, 0.1, 0.3, 1),), dimensions=(Dimension("data", 400, (0, 8)),))


def use(day: int, first: int, **amounts: int) -> Batch:
    """Everybody whose number has a key's last digit uses so much on a day."""
    at = START + timedelta(days=day)
    using = [(n, bytes_) for n in range(50) for digit, bytes_ in amounts.items() if f"n{n % 10}" == digit]
    return batch_of([Event(f"{day}/{n}", str(n), "usage.data", at, {"bytes": bytes_}) for n, bytes_ in using], first)


def changing() -> tuple[State, list[Turn]]:
    """Two days on which nobody is eligible for want of a charge, and a third before which they were charged."""
    state = new_state(CONFIG)
    profile = {"activated_on": date(2023, 1, 1), "market": "campus"}
    step(state, BANDED, batch_of([Event("p", str(n), "subscriber.profile", START, profile) for n in range(50)]))
    close_through(state, BANDED, DAY, "clock")
    fees = {"amount_minor": 5, "kind": "recurring", "bill_month": 2024 * 12 + 2}
    step(state, BANDED, batch_of([Event("f", str(n), "charge", START, fees) for n in range(50)], state.cursor))
    step(state, BANDED, use(1, state.cursor, n1=5, n2=9))
    return state, close_through(state, BANDED, DAY + 1, "clock")


def test_changes_of_segment_come_in_the_slices_of_the_close_and_are_counted_for_them() -> None:
    state, turns = changing()
    assert len(turns) == 5
    said = pl.concat([turn.segments for turn in turns])
    assert said.schema == pl.Schema(SEGMENT_CHANGES)
    assert sorted(said["subscriber_id"], key=int) == [str(n) for n in range(50)]
    assert max(turn.segments.height for turn in turns) < 25
    by_digit = dict(zip((int(who) % 10 for who in said["subscriber_id"]), said["segment"], strict=True))
    assert by_digit == {digit: 23 if digit in {1, 2} else 1 for digit in range(10)}
    assert set(said.select("before", "before_since", "day", "market").rows()) == {
        (0, None, START.date() + timedelta(days=1), "campus")
    }
    step(state, BANDED, use(2, state.cursor, n1=5))
    (turn,) = close_through(state, BANDED, DAY + 2, "clock")
    assert [line["subscriber_id"][-1] for line in turn.segments.to_dicts()] == ["2"] * 5
    (line, *_) = turn.segments.to_dicts()
    assert (line["segment"], line["before"], line["before_since"]) == (43, 23, START.date() + timedelta(days=1))
    assert line["codes"] == [403304]  # 9 in two days, 135 in thirty usual ones


@pytest.mark.parametrize("done", [1, 3, 4])
def test_an_interrupted_close_says_each_change_of_segment_once(done: int) -> None:
    _, turns = changing()
    state = new_state(CONFIG)
    profile = {"activated_on": date(2023, 1, 1), "market": "campus"}
    fees = {"amount_minor": 5, "kind": "recurring", "bill_month": 2024 * 12 + 2}
    batch = batch_of([Event("p", str(n), "subscriber.profile", START, profile) for n in range(50)])
    retrace(state, BANDED, batch, {})
    retrace_end(state, BANDED, {DAY: 50})
    retrace(state, BANDED, batch_of([Event("f", str(n), "charge", START, fees) for n in range(50)], 50), {})
    retrace(state, BANDED, use(1, 100, n1=5, n2=9), {})
    retrace_end(state, BANDED, {DAY + 1: state.cursor})
    first, told = DayRecord(DAY, 50, "clock", "test", 1, 1), turns[:done]
    days = {DAY: first} | {turn.day.day: turn.day for turn in told if turn.day}
    recall(state, Decisions(days=days))
    rest = resume(state, BANDED)
    assert [turn.day for turn in rest] == [turn.day for turn in turns[done:]]
    for ours, theirs in zip(rest, turns[done:], strict=True):
        assert ours.segments.equals(theirs.segments)
    assert resume(state, BANDED) == []


def test_what_is_at_the_first_close_of_a_shard_is_no_change() -> None:
    state = new_state(CONFIG)
    step(state, BANDED, use(0, 0, n1=5))
    status = [Event("s", str(n), "subscriber.status", START, {"status": "cancelled"}) for n in range(0, 50, 10)]
    step(state, BANDED, batch_of(status, state.cursor))
    (turn,) = close_through(state, BANDED, DAY, "clock")
    assert turn.segments.is_empty()
    assert set(state.attributes["segment"][: len(state.roster)].tolist()) == {0, 5}
    (turn,) = close_through(state, BANDED, DAY + 1, "clock")
    assert turn.segments.is_empty()


def test_rules_changed_in_the_midst_of_a_close_repeat_nothing_and_take_nothing_back() -> None:
    _, turns = closed()
    told = turns[:2]
    state = new_state(CONFIG)
    retrace(state, EVERYBODY, batch_of(EVENTS), {})
    retrace_end(state, EVERYBODY, dict.fromkeys((DAY, DAY + 1), len(EVENTS)))
    days = {turn.day.day: turn.day for turn in (*first_day(), *told) if turn.day}
    recall(state, decided(told, days))
    others = replace(book(rule("other", pl.col("data_1d") < 5)), hash="others")
    rest = resume(state, others)
    said = stack([turn.transitions for turn in told])
    more = stack([turn.transitions for turn in rest])
    assert (set(said["rule"]), set(more["rule"])) == ({"quiet"}, {"other"})
    everybody = [str(number) for number in range(50)]
    assert sorted(more["subscriber_id"], key=int) == everybody, "what the state holds was said of everybody, once"
    assert sorted(state.episodes.frame.filter(pl.col("rule") == "other")["subscriber_id"], key=int) == everybody
    assert [(turn.day.slices_done, turn.day.slices) for turn in rest if turn.day] == [(3, 5), (4, 5), (5, 5)]
    assert resume(state, EVERYBODY) == []
    stands = state.episodes.frame.filter(pl.col("rule") == "quiet")
    assert set(stands["state"]) == {"raised"}
    assert sorted(stands["subscriber_id"]) == sorted(said["subscriber_id"])
    ended = stack([turn.transitions for turn in close_through(state, others, DAY + 2, "clock")])
    assert set(ended.select("rule", "transition", "outcome").rows()) == {("quiet", "resolved", "expired")}, (
        "the next day"
    )


def decided(told: list[Turn], days: dict[int, DayRecord]) -> Decisions:
    return Decisions(
        days=days, episodes=stack([t.transitions for t in told]), contacts=pl.concat([t.contacts for t in told])
    )


def first_day() -> list[Turn]:
    state = new_state(CONFIG)
    step(state, book(), batch_of(EVENTS))
    return close_through(state, book(), DAY, "clock")


def test_what_is_true_on_the_first_day_is_standing() -> None:
    state = new_state(CONFIG)
    step(state, EVERYBODY, batch_of(EVENTS))
    first = stack([turn.transitions for turn in close_through(state, EVERYBODY, DAY, "clock")])
    assert first["suppressed_by"].to_list() == ["standing"] * 50
    assert first["published_on"].null_count() == 50
    assert first["orders"].unique().to_list() == ['{"call": "standing"}']
    later = batch_of([Event("d", "new", "usage.data", START + timedelta(days=1), {"bytes": 1})], len(EVENTS))
    step(state, EVERYBODY, later)
    second = stack([turn.transitions for turn in close_through(state, EVERYBODY, DAY + 1, "clock")])
    assert second.select("subscriber_id", "suppressed_by").rows() == [("new", None)]


def test_resolved_episodes_are_forgotten_after_their_time() -> None:
    config = Config(windows_days=(1,), keep_days=3)
    state = new_state(config)
    step(state, EVERYBODY, batch_of([Event("a", "a", "usage.data", START, {"bytes": 9})]))
    close_through(state, EVERYBODY, DAY + 1, "clock")
    (raised,) = state.episodes.frame["episode_id"].to_list()
    busy = batch_of([Event("b", "a", "usage.data", START + timedelta(days=2), {"bytes": 9})], 1)
    step(state, EVERYBODY, busy)
    close_through(state, EVERYBODY, DAY + 2, "clock")
    assert state.episodes.frame.filter(pl.col("episode_id") == raised)["outcome"].to_list() == ["recovered"]
    turns = close_through(state, Rulebook("none", ()), DAY + 6, "clock")
    assert [turn.forgotten for turn in turns if turn.forgotten] == [(raised,)]
    assert state.episodes.contacts.schema == CONTACTS
