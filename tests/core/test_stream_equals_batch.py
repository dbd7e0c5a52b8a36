"""Windows after any stream are what a plain sum over its events gives, to the last unit, however it is cut."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from service.core.calendar import to_date, to_day
from service.core.rules import Rulebook
from service.core.state import Config, State, new_state
from service.core.step import close_through, step
from tests.core.streams import Event, cut, plain_windows
from tests.doubles.panes import kept

NOTHING = Rulebook(hash="none", rules=())
START = datetime(2024, 2, 20, tzinfo=UTC)  # a leap day and, in Berlin, a clock change lie ahead
DAYS = 45

subscribers = st.sampled_from(["1", "2", "13800000001", "a/b?c%20", "日本", "x" * 40, "a", "a\u0301"])
amounts = st.integers(-5000, 10**12)


def fields(kind: str) -> st.SearchStrategy[dict[str, object]]:
    direction = st.sampled_from([None, "out", "in"])
    drawn: dict[str, st.SearchStrategy[dict[str, object]]] = {
        "usage.voice": st.fixed_dictionaries(
            {"seconds": st.integers(0, 9000), "direction": direction},
            optional={"billed_minutes": st.integers(0, 200)},
        ),
        "usage.sms": st.fixed_dictionaries({"count": st.integers(0, 50), "direction": direction}),
        "usage.data": st.fixed_dictionaries({"bytes": st.integers(0, 2**50)}),
        "charge": st.fixed_dictionaries(
            {"amount_minor": amounts, "kind": st.sampled_from(["usage", "refund", "recurring", "vas", "one_off"])}
        ),
        "recharge": st.fixed_dictionaries({"amount_minor": amounts}),
        "subscriber.activated": st.just({}),
    }
    return drawn[kind]


KINDS = ["usage.voice", "usage.sms", "usage.data", "charge", "recharge", "subscriber.activated"]


@st.composite
def streams(draw: st.DrawFn) -> list[Event]:
    """Events in an order that strays less than the late horizon, with repeats."""
    count = draw(st.integers(1, 60))
    drawn = []
    for number in range(count):
        kind = draw(st.sampled_from(KINDS))
        seconds = draw(st.integers(0, DAYS * 86_400))
        stray = draw(st.sampled_from([0, 0, 0, 3_600, 86_400, 5 * 86_400]))
        event = Event(f"e{number}", draw(subscribers), kind, START + timedelta(seconds=seconds), draw(fields(kind)))
        drawn.append((seconds + stray, number, event))
    ordered = [event for *_, event in sorted(drawn)]
    for at in draw(st.lists(st.integers(0, count - 1), max_size=8)):
        ordered.insert(draw(st.integers(at, len(ordered))), ordered[at])
    return ordered


def run(events: list[Event], sizes: list[int], config: Config) -> State:
    """Through the core, stored and taken up again between batches."""
    state = new_state(config)
    for batch in cut(events, sizes):
        step(state, NOTHING, batch)
        state = kept(state).taken_up(config)
    return state


def windows_of(state: State) -> dict[tuple[str, str], int]:
    rows = len(state.roster)
    frame = state.windows.frame(rows).with_columns(who=state.roster.strings)
    long = frame.unpivot(index="who").filter(pl.col("value") != 0)
    return {(who, name): value for who, name, value in long.iter_rows()}


@settings(max_examples=50)
@given(streams(), st.lists(st.integers(1, 9), max_size=12), st.sampled_from(["UTC", "Europe/Berlin", "Asia/Shanghai"]))
def test_windows_equal_a_plain_sum(events: list[Event], sizes: list[int], zone: str) -> None:
    # The stream strays up to five days; closing waits for three subscribers where time leaps, so lateness stays below.
    config = Config(zone=zone, windows_days=(1, 3, 7, 14), horizon_days=60)
    state = run(events, sizes, config)
    last = date(2024, 4, 8)
    close_through(state, NOTHING, to_day(last), "clock")
    assert state.closed_day is not None
    assert to_date(state.closed_day) == last
    assert windows_of(state) == plain_windows(events, last, zone, config.windows_days)


@settings(max_examples=25)
@given(streams(), st.lists(st.integers(1, 9), max_size=12))
def test_open_days_wait(events: list[Event], sizes: list[int]) -> None:
    config = Config(windows_days=(1, 7), horizon_days=60)
    state = run(events, sizes, config)
    assert state.closed_day is not None
    closed = to_date(state.closed_day)
    assert windows_of(state) == plain_windows(events, closed, "UTC", config.windows_days)
