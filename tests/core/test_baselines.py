"""What windows are compared with, and on how many days they were used, against a plain count over the events."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from service.core.calendar import month_number, to_day
from service.core.rules import Rulebook
from service.core.signals import View, columns
from service.core.state import Config, State, new_state
from service.core.step import close_through, step
from tests.core.streams import Event, cut, day_of, used
from tests.doubles.panes import kept

NOTHING = Rulebook(hash="none", rules=())
START = datetime(2023, 11, 20, tzinfo=UTC)
LAST = date(2025, 1, 10)  # a leap day lies between
WINDOWS = (3, 30, 80)
CONFIG = Config(
    windows_days=WINDOWS,
    horizon_days=500,
    roaming_horizon_days=500,
    year_on_year=True,
    photo_month=month_number("2023-12"),
)
USED = [("usage.data", {"bytes": 5}), ("usage.data", {"bytes": 2**40}), ("usage.sms", {"count": 3})]


@st.composite
def streams(draw: st.DrawFn) -> list[Event]:
    """Two subscribers over a year and more, some records late by up to a month."""
    drawn = []
    for number in range(draw(st.integers(1, 40))):
        day = draw(st.one_of(st.integers(0, 60), st.integers(330, 417)))
        late = draw(st.sampled_from([0, 0, 1, 31]))
        kind, fields = draw(st.sampled_from(USED))
        event = Event(f"e{number}", draw(st.sampled_from("ab")), kind, START + timedelta(days=day, hours=5), fields)
        drawn.append((day + late, number, event))
    return [event for *_, event in sorted(drawn)]


def plain(events: Sequence[Event], who: str, first: date, last: date, measure: str) -> int:
    mine = [event for event in events if event.subscriber == who and first <= day_of(event.at, "UTC") <= last]
    return sum(used(event).get(measure, 0) for event in mine)


def active(events: Sequence[Event], who: str, days: int) -> int:
    mine = {day_of(event.at, "UTC") for event in events if event.subscriber == who and used(event).get("outgoing")}
    return sum(1 for day in mine if timedelta() <= LAST - day < timedelta(days=days))


def lived(config: Config, events: list[Event], sizes: list[int]) -> State:
    state = new_state(config)
    for batch in cut(events, sizes):
        step(state, NOTHING, batch)
        state = kept(state).taken_up(config)
    close_through(state, NOTHING, to_day(LAST), "clock")
    return state


def assert_as_plain(state: State, events: list[Event]) -> None:
    whole_month = to_day(day_of(events[0].at, "UTC")) <= to_day(date(2023, 12, 1))
    for row, who in enumerate(state.roster.strings.to_list()):
        for measure in ("data", "sms", "outgoing"):
            for days in WINDOWS:
                names = [
                    f"{measure}_{days}d_baseline_last_year",
                    f"{measure}_{days}d_baseline_photo",
                    f"active_days_{days}d",
                ]
                found = columns(View(state, np.array([row], np.int32)), names).row(0)
                ago = LAST - timedelta(days=364)
                last_year = plain(events, who, ago - timedelta(days=days - 1), ago, measure)
                photo = plain(events, who, date(2023, 12, 1), date(2023, 12, 31), measure) * days / 31
                assert found == (last_year, photo if whole_month else None, active(events, who, days))


@settings(max_examples=12)
@given(streams(), st.lists(st.integers(1, 9), max_size=5))
def test_last_year_the_photo_and_active_days_are_what_a_plain_count_gives(
    events: list[Event], sizes: list[int]
) -> None:
    assert_as_plain(lived(CONFIG, events, sizes), events)


def test_active_days_of_a_longer_window_are_counted_from_history() -> None:
    events = [Event(str(day), "a", "usage.data", START + timedelta(days=day), {"bytes": 1}) for day in range(0, 418, 3)]
    state = lived(Config(windows_days=(60,)), events, [])
    longer = kept(state).taken_up(Config(windows_days=(60, 150)))
    found = columns(View(longer, np.array([0], np.int32)), ["active_days_60d", "active_days_150d"]).row(0)
    assert found == (active(events, "a", 60), active(events, "a", 150))


def test_comparisons_that_are_wanted_later_are_summed_from_history() -> None:
    events = [
        Event(str(day), "a", "usage.data", START + timedelta(days=day), {"bytes": 2 ** (day % 40)})
        for day in range(0, 418, 3)
    ]
    longer = Config(windows_days=(30, 150), horizon_days=500, roaming_horizon_days=500)  # keeps what will be needed
    state = lived(longer, events, [])
    assert_as_plain(kept(state).taken_up(CONFIG), events)
