"""Cutting the log into other polls, and stopping and restoring in between, changes nothing that is said."""

import dataclasses
import json
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import service.core.step as step_module
from service.core.books import Books, Publication
from service.core.calendar import to_day
from service.core.episodes import stack
from service.core.events import STATUSES
from service.core.frames import recall
from service.core.state import Config, State, new_state
from service.core.step import close_through, resume, retrace, retrace_end, step
from service.core.turn import CONTACTS, SEGMENT_CHANGES, DayRecord, Decisions, Turn
from tests.core.rulebooks import MIXED, OTHER
from tests.core.streams import Event, batch_of, cut
from tests.doubles.panes import Kept, kept

START = datetime(2024, 3, 1, tzinfo=UTC)
CONFIG = Config(windows_days=(1, 7), horizon_days=3, roaming_horizon_days=5)

# Other rules judge from the third day on, and the first ones again from the sixth.
TURNS = {2: "other", 5: "test"}
BOOK = Books(
    MIXED,
    {"other": OTHER, "test": MIXED},
    tuple(Publication(name, to_day(START.date()) + day, day, "", "") for day, name in TURNS.items()),
)

KINDS = st.one_of(
    st.builds(lambda b: ("usage.data", {"bytes": b}), st.integers(0, 1000)),
    st.builds(lambda a: ("charge", {"amount_minor": a, "kind": "usage"}), st.integers(0, 4000)),
    st.builds(lambda s: ("subscriber.status", {"status": s}), st.sampled_from(STATUSES)),
    st.builds(
        lambda f, d: ("subscriber.profile", {"fee_minor": f, "market": "campus", "activated_on": d}),
        st.integers(0, 5),
        st.sampled_from([date(2023, 10, 1), date(2023, 10, 1), date(2024, 2, 1)]),
    ),
    st.builds(lambda g: ("consent.changed", {"channel": "call", "granted": g}), st.booleans()),
    st.builds(lambda t: ("complaint.opened", {"complaint_id": "c", "topic": t}), st.sampled_from(["bill", None])),
    st.just(("np.requested", {"to_network": "x"})),
)


@st.composite
def streams(draw: st.DrawFn) -> list[Event]:
    """Mostly in order, with late and very late records, leaps in time and equal times."""
    hours = 0
    events = []
    for number in range(draw(st.integers(1, 50))):
        hours += draw(st.sampled_from([0, 0, 1, 6, 20, 40]))
        back = draw(st.sampled_from([0, 0, 0, 30, 70, 200]))
        kind, fields = draw(KINDS)
        at = START + timedelta(hours=hours - back)
        events.append(Event(f"e{number % 40}", draw(st.sampled_from("abcd")), kind, at, fields))
    return events


def said(turns: list[Turn]) -> list[dict[str, object]]:
    transitions = stack([turn.transitions for turn in turns])
    segments = pl.concat([turn.segments for turn in turns] or [pl.DataFrame(schema=SEGMENT_CHANGES)])
    assert not segments.select("subscriber_id", "day").is_duplicated().any()
    return [
        *transitions.sort("subscriber_id", "at", "rule", "transition").to_dicts(),
        *segments.sort("subscriber_id", "day").to_dicts(),
    ]


def finish(state: State, turns: list[Turn]) -> list[Turn]:
    return turns + (close_through(state, BOOK, state.closed_day + 5, "clock") if state.closed_day else [])


def whole(events: list[Event]) -> tuple[State, list[Turn]]:
    state = new_state(CONFIG)
    turns = step(state, BOOK, batch_of(events))
    return state, finish(state, turns)


@settings(max_examples=18, phases=[Phase.generate])
@given(streams(), st.lists(st.integers(1, 7), max_size=20))
def test_any_cutting_says_the_same(events: list[Event], sizes: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step_module, "SLICE_ROWS", 2)  # a close moves two subscribers at a time
        state = new_state(CONFIG)
        turns = [turn for batch in cut(events, sizes) for turn in step(state, BOOK, batch)]
        turns = finish(state, turns)
    _, expected = whole(events)
    assert said(turns) == said(expected)
    for counter in ("counted", "late", "repeated"):
        assert sum(getattr(t.counts, counter) for t in turns) == sum(getattr(t.counts, counter) for t in expected)
    assert sum(t.counts.counted + t.counts.late + t.counts.repeated for t in turns) == len(events)


@settings(max_examples=18, phases=[Phase.generate])
@given(streams(), st.integers(0, 60), st.integers(0, 60))
def test_a_restart_after_any_turn_says_the_rest(events: list[Event], snapshot_after: int, crash_after: int) -> None:
    _, expected = whole(events)
    state = new_state(CONFIG)
    told: list[Turn] = []
    store = kept(state)
    for number, event in enumerate(events):
        turns = step(state, BOOK, batch_of([event], number))
        told += turns
        if number == snapshot_after:
            store = kept(state)
    # What was committed ends after some turn; everything later was never said.
    told = told[: crash_after + 1]
    restored = restore(events, told, store if store.told["cursor"] <= told[-1].cursor else None)
    told += resume(restored, BOOK)
    told += step(restored, BOOK, batch_of(events[restored.cursor :], restored.cursor))
    assert said(finish(restored, told)) == said(expected)


def restore(events: list[Event], told: list[Turn], store: Kept | None) -> State:
    cursor = told[-1].cursor
    days: dict[int, DayRecord] = {turn.day.day: turn.day for turn in told if turn.day is not None}
    state = store.taken_up(CONFIG) if store else new_state(CONFIG)
    cuts = {day: record.cut for day, record in days.items()}
    retrace(state, BOOK, batch_of(events[state.cursor : cursor], state.cursor), cuts)
    retrace_end(state, BOOK, cuts)
    episodes = stack([t.transitions for t in told])
    latest = episodes.unique("episode_id", keep="last", maintain_order=True)
    contacts = pl.concat([t.contacts for t in told] or [pl.DataFrame(schema=CONTACTS)]).unique(maintain_order=True)
    recall(state, Decisions(days=days, episodes=latest, contacts=contacts))
    return state


def test_an_event_rule_sees_what_came_before_its_record() -> None:
    at = START + timedelta(hours=12)
    events = [
        Event("1", "a", "charge", at - timedelta(days=1), {"amount_minor": 700, "kind": "usage"}),
        Event("2", "a", "charge", at, {"amount_minor": 1, "kind": "usage"}),
        Event("3", "a", "subscriber.profile", at, {"fee_minor": 5}),
        Event("4", "b", "usage.data", at + timedelta(hours=20), {"bytes": 1}),
        Event("5", "a", "complaint.opened", at + timedelta(hours=20), {"complaint_id": "c", "topic": "bill"}),
        Event("6", "a", "subscriber.status", at + timedelta(hours=21), {"status": "cancelled"}),
        Event("7", "a", "subscriber.profile", at + timedelta(hours=21), {"fee_minor": 3}),
    ]
    _, turns = whole(events)
    raised = {line["rule"]: line for line in said(turns) if line.get("transition") == "raised"}
    numbers = json.loads(str(raised["complained"]["numbers"]))
    assert numbers == {"spend_7d": 701, "status": "normal", "fee": 5, "event.topic": "bill"}
    assert json.loads(str(raised["complained"]["orders"])) == {"call": "no_consent"}
    assert raised["cheaper"]["raised_on"] == (at + timedelta(hours=21)).date()


def test_each_day_is_judged_by_its_rulebook_and_events_by_that_of_the_open_day() -> None:
    noons = [START + timedelta(days=day, hours=12) for day in range(7)]
    events = [Event("0", "a", "subscriber.profile", START, {"fee_minor": 99})]
    for day, at in enumerate(noons):
        events.append(Event(f"f{day}", "a", "subscriber.profile", at, {"fee_minor": 98 - day}))
        events.append(Event(f"u{day}", "a", "charge", at, {"amount_minor": 300, "kind": "usage"}))
    _, turns = whole(events)
    first = to_day(START.date())
    judged = {turn.day.day - first: turn.day.rulebook for turn in turns if turn.day is not None}
    assert judged == {0: "test", 1: "test", 2: "other", 3: "other", 4: "other", **dict.fromkeys(range(5, 11), "test")}
    raised = [(line["rule"], line["raised_on"]) for line in said(turns) if line["transition"] == "raised"]
    assert min(str(on) for name, on in raised if name == "active") == "2024-03-03"
    # Each day's fee is less by one, which only MIXED minds; of one day the first drop is told, until it expires.
    by_one = {on for name, on in raised if name == "cheaper"}
    assert noons[0].date() in by_one
    assert not by_one & {at.date() for at in noons[2:5]}


def test_a_close_goes_on_with_the_rulebook_that_it_began_with() -> None:
    state = new_state(CONFIG)
    day = to_day(START.date())
    said_by = step(state, MIXED, batch_of([Event("1", "a", "charge", START, {"amount_minor": 700, "kind": "usage"})]))
    said_by += close_through(state, MIXED, day, "clock")
    closed = said_by[-1].day
    assert closed is not None
    state.last_close = begun = dataclasses.replace(closed, slices=2, slices_done=1)
    known = Books(dataclasses.replace(OTHER, hash="folder"), {"test": MIXED})
    assert known.on(day).hash == "folder"
    (rest,) = resume(state, known)
    assert rest.day == dataclasses.replace(begun, slices_done=2)
    assert set(rest.transitions["rule"]) <= {"spend_low", "silent"}
