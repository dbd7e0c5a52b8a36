"""Who is lost leaves their row to the next; nothing of theirs goes to them, and nobody else notices."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from service.core.calendar import to_day
from service.core.departure import release_lost
from service.core.record import describe
from service.core.rules import Rulebook, SegmentBands
from service.core.segments import tally
from service.core.state import Config, State, new_state
from service.core.step import close_through, step
from service.core.turn import Turn
from tests.core.rulebooks import book, rule
from tests.core.streams import Event, batch_of, plain_windows
from tests.core.test_stream_equals_batch import windows_of
from tests.doubles.panes import kept

START = datetime(2024, 3, 1, tzinfo=UTC)
CONFIG = Config(windows_days=(1, 7), horizon_days=3, roaming_horizon_days=5, lost_days=1)
REACH = 3 * 7 + 5  # the longest window with what it is compared with, and the longest horizon
EVERYBODY = book(rule("everybody", pl.lit(value=True), names=frozenset()))
NOBODY = Rulebook(hash="none", rules=(), bands=(SegmentBands("spend", 7, 1, 1, 1),))


def used(who: str, day: int) -> Event:
    return Event(f"{who}/{day}", who, "usage.data", START + timedelta(days=day, hours=9), {"bytes": 2**day % 997})


def lived(state: State, events: list[Event], days: range, rulebook: Rulebook = NOBODY) -> tuple[State, list[Turn]]:
    """Days by events, each stored at its end and taken up again."""
    turns = []
    for day in days:
        mine = [event for event in events if (event.at - START).days == day]
        turns += step(state, rulebook, batch_of(mine, state.cursor))
        turns += close_through(state, rulebook, to_day(START.date()) + day, "clock")
        release_lost(state)
        again = kept(state).taken_up(CONFIG)
        again.episodes, again.judged = state.episodes, state.judged  # which are read back as decisions
        state = again
    return state, turns


def test_a_shard_grows_with_its_base_however_many_come_and_go() -> None:
    # One comes every other day, uses something for five days, and each fifth returns much later.
    events = [used(f"s{number}", 2 * number + day) for number in range(100) for day in range(5)]
    events += [used(f"s{number}", 2 * number + 80 + day) for number in range(0, 100, 5) for day in range(3)]
    state, before = new_state(CONFIG), 0
    for until in (60, 150, 290):
        state, _ = lived(state, events, range(before, until))
        before = until
        known = [event for event in events if (event.at - START).days < until]
        last = (START + timedelta(days=until - 1)).date()
        assert windows_of(state) == plain_windows(known, last, "UTC", CONFIG.windows_days)
        last_seen = {event.subscriber: (event.at - START).days for event in known}
        there = {who for who, day in last_seen.items() if day >= until - 1 - REACH}
        assert set(state.roster.strings.drop_nulls()) == there
        assert state.subscribers == len(there)
        assert len(state.roster) < 30, "of a hundred"


def test_who_is_lost_is_not_known_any_more_and_begins_anew() -> None:
    state, _ = lived(new_state(CONFIG), [used("a", 0), used("b", 0), used("b", REACH)], range(REACH + 2))
    assert describe(state, NOBODY, "a", state.episodes.frame) is None
    assert (state.roster.number("a"), state.roster.number("b")) == (-1, 1)
    state, _ = lived(state, [used("c", REACH + 2), used("a", REACH + 3)], range(REACH + 2, REACH + 4))
    assert [state.roster.number(who) for who in "bca"] == [1, 0, 2]
    record = describe(state, NOBODY, "a", state.episodes.frame)
    assert record is not None
    assert record["days_silent"] == 0
    sums = [state.windows.take(name, np.array([2])).item() for name in ("data_7d", "data_7d_before")]
    assert sums == [2 ** (REACH + 3) % 997, 0]


def test_nobody_is_warned_or_counted_on_a_row_that_is_free() -> None:
    events = [used("a", 0), used("b", 0), *(used("c", day) for day in range(REACH + 9))]
    state, _ = lived(new_state(CONFIG), events, range(REACH + 2))
    assert len(state.roster) == 3
    assert tally(state)["subscribers"].sum() == 1
    _, turns = lived(state, events, range(REACH + 2, REACH + 5), EVERYBODY)
    assert [row["subscriber_id"] for turn in turns for row in turn.transitions.to_dicts()] == ["c"]


BOUND: dict[str, tuple[str, dict[str, Any]]] = {
    "a bundle": ("bundle.linked", {"bundle_id": "x"}),
    "a refusal": ("consent.changed", {"channel": "sms", "granted": False}),
}
FREE: dict[str, tuple[str, dict[str, Any]]] = {
    "a bundle that ended": ("bundle.linked", {"bundle_id": "x", "ends_on": (START + timedelta(days=3)).date()}),
    "a consent": ("consent.changed", {"channel": "sms", "granted": True}),
    "a status": ("subscriber.status", {"status": "cancelled"}),
}


@pytest.mark.parametrize("told", [*BOUND, *FREE])
def test_who_holds_a_bundle_or_refused_something_stays(told: str) -> None:
    kind, fields = (BOUND | FREE)[told]
    events = [used("a", 0), Event("told", "a", kind, START, fields), used("b", 40)]
    state, _ = lived(new_state(CONFIG), events, range(90))
    assert (state.roster.number("a") >= 0) == (told in BOUND)
    assert state.roster.number("b") < 0


def test_who_has_a_warning_stays() -> None:
    state, _ = lived(new_state(CONFIG), [used("a", 0)], range(REACH + 5), EVERYBODY)
    assert (state.roster.number("a"), release_lost(state)) == (0, 0)


def test_what_was_dated_long_ago_and_is_told_now_is_heard_now() -> None:
    state, _ = lived(new_state(CONFIG), [used("b", day) for day in range(40)], range(40))
    told = [
        Event("p", "a", "subscriber.profile", START, {"market": "campus"}),
        Event("l", "c", "bundle.linked", START, {"bundle_id": "x", "starts_on": (START + timedelta(days=99)).date()}),
    ]
    step(state, NOBODY, batch_of(told, state.cursor))
    assert release_lost(state) == 0
    assert not any(name.startswith(f"{to_day(START.date())}.") for name in state.repeats.offer(state.closed_day or 0))
    state, _ = lived(state, [used("b", day) for day in range(40, 75)], range(40, 75))
    assert (state.roster.number("a"), state.roster.number("c") >= 0) == (-1, True)


def test_what_is_told_of_one_does_not_reach_the_next() -> None:
    told: list[tuple[str, dict[str, Any]]] = [
        ("subscriber.profile", {"market": "campus", "fee_minor": 7, "msisdn": "1"}),
        ("recharge", {"amount_minor": 7}),
        ("complaint.opened", {"complaint_id": "c"}),
        ("group.joined", {"group_id": "g", "key_person": True}),
        ("bundle.linked", {"bundle_id": "x", "ends_on": START.date()}),
        ("charge", {"amount_minor": 7, "kind": "recurring", "bill_month": START.date().replace(day=1)}),
        ("usage.voice", {"seconds": 9}),
    ]
    former = [Event(f"t{n}", "former", kind, START, fields) for n, (kind, fields) in enumerate(told)]
    own = [used("next", REACH + 5)]
    reused, _ = lived(new_state(CONFIG), [*former, *own], range(REACH + 6))
    fresh, _ = lived(new_state(CONFIG), own, range(REACH + 6))
    assert len(reused.roster) == len(fresh.roster) == 1
    found, expected = (describe(state, NOBODY, "next", state.episodes.frame) for state in (reused, fresh))
    assert found is not None
    assert expected is not None
    assert found.pop("as_of") is not None
    assert expected.pop("as_of") is not None
    assert found == expected
