"""Usage that lies in a store: exact when it is read again, and no figure where it cannot be."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np

from service.core.calendar import month_number, to_date, to_day
from service.core.record import describe
from service.core.rules import Rulebook
from service.core.signals import View, columns
from service.core.state import Config, State, new_state
from service.core.step import close_through, retrace, step
from tests.core.streams import Event, batch_of, plain_windows
from tests.core.test_stream_equals_batch import windows_of
from tests.doubles.panes import StoredPane, StoredRun, kept

NOTHING = Rulebook(hash="none", rules=())
START = datetime(2024, 1, 1, 12, tzinfo=UTC)
DAYS = 40
SHORT, LONG = Config(windows_days=(2, 5)), Config(windows_days=(2, 7, 10))
EVENTS = [
    Event(f"{who}{day}", who, "usage.data", START + timedelta(days=day), {"bytes": 2 ** (day % 50) + number})
    for day in range(DAYS)
    for number, who in enumerate("ab")
]


def lived(config: Config, days: int) -> State:
    """A shard that closed so many days, stored each evening."""
    state = new_state(config)
    for day in range(days):
        step(state, NOTHING, batch_of(EVENTS[2 * day : 2 * day + 2], 2 * day))
        close_through(state, NOTHING, to_day(START.date()) + day, "clock")
        state = kept(state).taken_up(config)
    return state


def without(state: State, named: str, config: Config = SHORT) -> State:
    """A state as who starts from its store has it, where some pieces are damaged."""
    store = kept(state)
    harmed = [piece for name, piece in store.pieces.items() if name.startswith(named)]
    assert harmed
    for piece in harmed:
        assert isinstance(piece, StoredPane | StoredRun)
        piece.damaged = True
    return store.taken_up(config)


def expected(config: Config, as_of: date) -> dict[tuple[str, str], int]:
    return plain_windows(EVENTS, as_of, "UTC", config.windows_days)


def test_closed_days_lie_in_the_store_and_still_leave_their_windows() -> None:
    state = lived(SHORT, DAYS)
    assert state.panes.nbytes == 0
    assert windows_of(state) == expected(SHORT, START.date() + timedelta(days=DAYS - 1))


def test_a_new_window_is_summed_from_days_before_it_was_wanted() -> None:
    closed = START.date() + timedelta(days=29)
    long = kept(lived(Config(windows_days=(2, 10)), 30)).taken_up(LONG)
    assert windows_of(long) == expected(LONG, closed)
    state = lived(LONG, 31)
    assert windows_of(state) == expected(LONG, closed + timedelta(days=1))


def test_a_late_record_corrects_a_day_that_lies_in_the_store() -> None:
    state = lived(SHORT, 20)
    late = Event("late", "a", "usage.data", START + timedelta(days=16), {"bytes": 7})
    step(state, NOTHING, batch_of([late], 40))
    known = plain_windows([*EVENTS[:40], late], START.date() + timedelta(days=19), "UTC", SHORT.windows_days)
    assert windows_of(state) == known
    state = kept(state).taken_up(SHORT)
    close_through(state, NOTHING, to_day(START.date()) + 34, "clock")
    end = START.date() + timedelta(days=34)
    assert windows_of(state) == plain_windows([*EVENTS[:40], late], end, "UTC", SHORT.windows_days)


def test_windows_of_a_damaged_day_are_unknown_until_it_lies_behind_them() -> None:
    first = to_day(START.date())
    state = without(lived(SHORT, 20), f"{first + 16}.")
    rows = np.array([0, 1], np.int32)
    seen = {}
    for day in range(20, DAYS):
        step(state, NOTHING, batch_of(EVENTS[2 * day : 2 * day + 2], 2 * day))
        close_through(state, NOTHING, first + day, "clock")
        told = expected(SHORT, to_date(first + day))
        for days in SHORT.windows_days:
            found = columns(View(state, rows), [f"data_{days}d", f"data_{days}d_baseline"])
            seen[day, days] = found[f"data_{days}d"].to_list()
            if None not in seen[day, days]:
                assert seen[day, days] == [told.get((who, f"data_{days}d"), 0) for who in "ab"]
                before = [told.get((who, f"data_{days}d_before"), 0) / 2 for who in "ab"]
                assert found[f"data_{days}d_baseline"].to_list() == before
    unknown = sorted((day, days) for (day, days), values in seen.items() if None in values)
    # Day 16 is to leave the window of 5 days at the close of day 21, and what that compares with at the close of 31.
    assert unknown == [(day, 5) for day in range(21, 31)]


def test_the_front_office_is_not_told_that_a_damaged_day_was_empty() -> None:
    state = without(lived(SHORT, 20), f"{to_day(START.date()) + 18}.")
    record = describe(state, NOTHING, "a", state.episodes.frame)
    assert record is not None
    assert [line["data_bytes"] for line in record["daily"][-3:]] == [2**17, None, 2**19]


def test_usage_of_a_day_whose_counted_records_are_lost_is_told_late_and_a_consent_still_stands() -> None:
    state = without(lived(SHORT, 20), f"repeats/{to_day(START.date()) + 16}.")
    at = START + timedelta(days=16)
    consent = Event("consent", "a", "consent.changed", at, {"channel": "call", "granted": False})
    (turn,) = step(state, NOTHING, batch_of([Event("late", "a", "usage.data", at, {"bytes": 7}), consent], 40))
    why = "may be a repeat: what was counted of its day can no longer be read"
    assert turn.late.rows() == [(40, f"usage.data of 4 days before the open day {why}")]
    assert (turn.counts.late, turn.counts.counted, turn.counts.repeated) == (1, 1, 0)
    assert windows_of(state) == expected(SHORT, START.date() + timedelta(days=19))
    record = describe(state, NOTHING, "a", state.episodes.frame)
    assert record is not None
    assert record["consent"]["call"] is False


def test_windows_that_lack_what_had_counted_before_a_restart_are_unknown_until_its_day_lies_behind_them() -> None:
    first = to_day(START.date())
    state = without(lived(SHORT, 20), f"repeats/{first + 16}.")
    late = Event("late", "a", "usage.data", START + timedelta(days=16), {"bytes": 7})
    retrace(state, NOTHING, batch_of([late], 40), {})
    known = {}
    for day in range(20, 34):
        names = [f"data_{days}d" for days in SHORT.windows_days]
        found = columns(View(state, np.array([0], np.int32)), names).row(0)
        told = expected(SHORT, to_date(first + day - 1))
        known[day] = [sum_ is not None for sum_ in found]
        assert all(sum_ in {None, told["a", name]} for sum_, name in zip(found, names, strict=True))
        step(state, NOTHING, batch_of(EVENTS[2 * day : 2 * day + 2], 2 * day + 1))
        close_through(state, NOTHING, first + day, "clock")
    # Day 16 leaves what two days are compared with at the close of day 22, and what five are at that of day 31.
    assert [day for day, (two, _) in known.items() if not two] == list(range(20, 23))
    assert [day for day, (_, five) in known.items() if not five] == list(range(20, 32))


def test_what_a_day_lacks_stays_unknown_under_other_settings_and_in_a_photo() -> None:
    first = to_day(START.date())
    photographed = replace(SHORT, photo_month=month_number("2024-01"))
    state = without(lived(photographed, DAYS), f"repeats/{first + DAYS - 3}.", photographed)
    late = Event("late", "a", "usage.data", START + timedelta(days=DAYS - 3), {"bytes": 7})
    retrace(state, NOTHING, batch_of([late], 2 * DAYS), {})
    rows, names = np.array([0], np.int32), ["data_2d", "data_5d", "active_days_5d", "data_5d_baseline_photo"]
    assert columns(View(state, rows), names).row(0)[:3] == (None, None, None)
    # Every day of the month is closed; only the last of all that is kept lacks anything.
    assert columns(View(state, rows), names).row(0)[3] is not None
    for config in (
        replace(SHORT, windows_days=(2, 9)),
        SHORT,
        replace(photographed, photo_month=month_number("2024-02")),
    ):
        state = kept(state).taken_up(config)
        asked = [f"data_{days}d" for days in config.windows_days]
        assert set(columns(View(state, rows), asked).row(0)) == {None}
    assert not state.windows.photo_known


def test_a_photo_that_lacks_what_had_counted_is_unknown() -> None:
    first = to_day(START.date())
    photographed = replace(SHORT, photo_month=month_number("2024-01"))
    before = lived(photographed, 33)
    assert before.windows.photo_known
    state = without(before, f"repeats/{first + 29}.", photographed)
    retrace(
        state, NOTHING, batch_of([Event("late", "a", "usage.data", START + timedelta(days=29), {"bytes": 7})], 66), {}
    )
    assert not state.windows.photo_known
    for config in (SHORT, photographed):
        state = kept(state).taken_up(config)
    assert not state.windows.photo_known
