"""A close that says much comes in slices under one day record, and goes on after an interruption."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

import service.core.step
from service.core.calendar import to_day
from service.core.episodes import stack
from service.core.frames import recall
from service.core.rules import Rulebook
from service.core.state import Config, State, new_state
from service.core.step import close_through, resume, retrace, retrace_end, step
from service.core.turn import CONTACTS, DayRecord, Decisions, Turn
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


def test_rules_changed_in_the_midst_of_a_close_repeat_nothing_and_take_nothing_back() -> None:
    _, turns = closed()
    told = turns[:2]
    state = new_state(CONFIG)
    retrace(state, EVERYBODY, batch_of(EVENTS), {})
    retrace_end(state, EVERYBODY, dict.fromkeys((DAY, DAY + 1), len(EVENTS)))
    days = {turn.day.day: turn.day for turn in (*first_day(), *told) if turn.day}
    recall(state, decided(told, days))
    others = book(rule("other", pl.col("data_1d") < 5))
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
