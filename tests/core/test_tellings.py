"""What was told stands the same however the log is cut, however late it comes, and whatever was asked in between."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.core.attributes import TEXTS
from service.core.calendar import to_day
from service.core.publication import orders_of
from service.core.record import describe
from service.core.rules import Rulebook
from service.core.signals import View, columns
from service.core.state import Config, State, new_state
from service.core.step import close_through, step
from service.core.turn import Turn
from tests.core.rulebooks import CALL, book, rule
from tests.core.streams import Event, batch_of, cut

NOTHING = Rulebook(hash="none", rules=())
START = datetime(2024, 3, 1, tzinfo=UTC)
CONFIG = Config(windows_days=(1, 7))

TOLD = st.one_of(
    st.builds(
        lambda plan, market, day: ("subscriber.profile", {"plan": plan, "market": market, "activated_on": day}),
        st.sampled_from([None, "s", "m"]),
        st.sampled_from([None, "north", "south"]),
        st.sampled_from([None, datetime(2020, 1, 1, tzinfo=UTC).date()]),
    ),
    st.just(("subscriber.activated", {})),
    st.builds(lambda s: ("subscriber.status", {"status": s}), st.sampled_from(["normal", "suspended_one_way"])),
    st.builds(
        lambda a, b: ("balance", {"amount_minor": a, "arrears_minor": b}), st.integers(0, 3), st.sampled_from([None, 7])
    ),
    st.builds(lambda a: ("recharge", {"amount_minor": a}), st.integers(1, 9)),
    st.builds(lambda n: ("competitor.called", {"network": n}), st.sampled_from(["x", "y"])),
    st.builds(lambda n: ("forwarding.set", {"peer_network": n}), st.sampled_from([None, "x"])),
    st.builds(
        lambda t, network: (t, {"to_network": network}),
        st.sampled_from(["np.queried", "np.requested", "np.ported"]),
        st.sampled_from([None, "x", "y"]),
    ),
    st.builds(
        lambda kind, hard: ("bundle.linked", {"bundle_id": "b", "kind": kind, "hard": hard}),
        st.sampled_from([None, "family", "broadband"]),
        st.sampled_from([None, True]),
    ),
    st.just(("bundle.unlinked", {"bundle_id": "b", "reason": "cancelled"})),
    st.builds(lambda k: ("group.joined", {"group_id": "g", "key_person": k}), st.sampled_from([None, True])),
    st.builds(lambda t: ("bill.closed", {"bill_month": 24290, "total_minor": t}), st.integers(1, 9)),
)


@st.composite
def streams(draw: st.DrawFn) -> list[Event]:
    """One subscriber, told of in any order within three days."""
    told = draw(st.lists(st.tuples(TOLD, st.integers(0, 72)), min_size=1, max_size=14))
    return [
        Event(str(n), "a", kind, START + timedelta(hours=hours), fields)
        for n, ((kind, fields), hours) in enumerate(told)
    ]


def known(state: State) -> tuple[object, ...]:
    """All that is told of the subscriber; texts as texts, for their numbers depend on what was told first."""
    record = describe(state, NOTHING, "a", state.episodes.frame)
    assert record is not None
    shown = {name: value for name, value in record.items() if name not in {"as_of", "daily", "windows"}}
    return shown, state.attributes.frame(1).drop(TEXTS).rows()


@settings(max_examples=60)
@given(streams(), st.lists(st.integers(1, 4), max_size=10))
def test_any_cutting_and_any_asking_leaves_the_same(events: list[Event], sizes: list[int]) -> None:
    whole, pieces = new_state(CONFIG), new_state(CONFIG)
    step(whole, NOTHING, batch_of(events))
    for batch in cut(events, sizes):
        step(pieces, NOTHING, batch)
        known(pieces)
    assert known(pieces) == known(whole)


CALLING = book(
    rule(
        "left",
        pl.col("event.network") == "x",
        names=frozenset({"event.network"}),
        on=("competitor.called",),
        orders=(CALL,),
    )
)


def ordered(*told: tuple[float, str, dict[str, Any]]) -> list[str]:
    """What is ordered for one who consented and used something every day, by what is told after so many days."""
    common = [Event("c", "a", "consent.changed", START, {"channel": "call", "granted": True})]
    use = [
        Event(f"{who}{day}", who, "usage.data", START + timedelta(days=day, hours=1), {"bytes": 1})
        for day in range(20)
        for who in "abcd"
    ]
    state = new_state(CONFIG)
    step(state, CALLING, batch_of([*common, *use]))
    close_through(state, CALLING, to_day((START + timedelta(days=18)).date()), "clock")
    later = [
        Event(f"t{n}", "a", kind, START + timedelta(days=day), fields) for n, (day, kind, fields) in enumerate(told)
    ]
    turns: list[Turn] = step(state, CALLING, batch_of(later, len(use) + 1))
    assert sum(turn.counts.counted for turn in turns) == len(told)
    return [line for turn in turns for line in orders_of(turn.transitions)["channel"].to_list()]


CALLED = (19.5, "competitor.called", {"network": "x"})


def test_who_has_asked_to_port_is_not_called_whatever_is_asked_or_done_afterwards() -> None:
    assert ordered(CALLED) == ["call"]
    assert ordered((19.1, "np.queried", {}), CALLED) == ["call"]
    assert ordered((19.1, "np.requested", {}), CALLED) == []
    assert ordered((19.1, "np.requested", {}), (19.2, "np.queried", {}), CALLED) == []
    assert ordered((19.1, "np.requested", {}), (19.2, "np.ported", {}), CALLED) == []


def test_a_refusal_counts_however_late_it_is_told() -> None:
    assert ordered((5, "consent.changed", {"channel": "call", "granted": False}), CALLED) == []
    assert ordered((5, "np.requested", {}), CALLED) == []


def test_a_bill_that_is_corrected_in_the_grace_stays_closed() -> None:
    events = [
        Event("1", "a", "bill.closed", START, {"bill_month": 24289, "total_minor": 5}),
        Event("2", "a", "bill.closed", START + timedelta(hours=24.5), {"bill_month": 24289, "total_minor": 6}),
    ]
    state = new_state(CONFIG)
    step(state, NOTHING, batch_of(events))
    close_through(state, NOTHING, to_day(START.date()), "clock")
    assert columns(View(state, np.zeros(1, np.int32)), ["bill_last"])["bill_last"].to_list() == [6]


@pytest.mark.parametrize("kinds", sorted(set(itertools.permutations(["np.queried", "np.requested", "np.requested"]))))
@pytest.mark.parametrize("networks", list(itertools.permutations(["x", "y", None])))
def test_a_network_ported_to_stands_however_the_log_is_cut(
    kinds: tuple[str, ...], networks: tuple[str | None, ...]
) -> None:
    told = zip(kinds, networks, strict=True)
    events = [Event(str(n), "a", kind, START, {"to_network": to}) for n, (kind, to) in enumerate(told)]
    states = []
    for sizes in ([3], [1, 2], [2, 1], [1, 1, 1]):
        states.append(new_state(CONFIG))
        for batch in cut(events, sizes):
            step(states[-1], NOTHING, batch)
    assert all(known(state) == known(states[0]) for state in states)
