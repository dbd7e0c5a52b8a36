"""The segment of every subscriber on a closed day: lost, warned, up, declining or stable, by spend, voice and data."""

import numpy as np
import polars as pl

from service.core.attributes import UNKNOWN_DAY
from service.core.calendar import day_end_us, month_of, to_date, to_day
from service.core.events import STATUSES
from service.core.rules import Rulebook, SegmentBands
from service.core.signals import View, columns
from service.core.state import State
from service.core.tiers import UNKNOWN, codes_in, month_of_windows
from service.core.turn import SEGMENT_CHANGES

NOT_ELIGIBLE, STABLE, UP, DECLINING, WARNED, LOST = 0, 1, 2, 3, 4, 5  # trends, and segments without a measure
SEGMENTS = {
    STABLE: "stable",
    21: "up in spend",
    22: "up in voice",
    23: "up in data",
    DECLINING: "declining, not warned",
    41: "warned in spend",
    42: "warned in voice",
    43: "warned in data",
    LOST: "lost",
}
# The two digits of a measure in six-digit codes; a package is 50 and a social circle 60, whose trends no feed tells.
MEASURE_CODES = {"spend": 10, "voice": 20, "data": 30, "sms": 40}
_DECIDING = ("spend", "voice", "data")  # the others have trends, and no segments
_LOST_STATUSES = ("pre_cancelled", "cancelled")
_FULL_MONTHS = 2
_TOGETHER = 1 << 15  # rows whose columns stay in the processor's cache
_CODE = 1000  # a dimension's code stands before three digits


def assign(state: State, rulebook: Rulebook, rows: np.ndarray, day: int) -> None:
    """Set the segments of distinct rows as of `day`, which they have just closed: now, before, and since when."""
    bands, unknown = rulebook.bands, state.windows.incomplete
    if not bands or rows.size == 0 or any(band.window_days in unknown for band in bands):
        return
    segments = _segments(View(state, rows), rulebook, day)
    attributes = state.attributes
    news = segments != attributes["segment"][rows]
    changed = rows[news]
    if changed.size:
        attributes.writable("segment_before")[changed] = attributes["segment"][changed]
        attributes.writable("segment_before_since")[changed] = attributes["segment_since"][changed]
        attributes.writable("segment")[changed] = segments[news]
        attributes.writable("segment_since")[changed] = day


def changes(state: State, rulebook: Rulebook, day: int) -> pl.DataFrame:
    """Who came into another segment at the last close, that of `day`: columns of SEGMENT_CHANGES, by row.

    They are the same whenever they are asked for, until the next day closes.
    """
    rows = state.rows
    rows = rows[state.attributes["segment_since"][rows] == day]
    pieces = [rows[first : first + _TOGETHER] for first in range(0, rows.size, _TOGETHER)]
    return pl.concat([pl.DataFrame(schema=SEGMENT_CHANGES), *(_changes(state, rulebook, some, day) for some in pieces)])


def trends(view: View, rulebook: Rulebook) -> dict[str, np.ndarray]:
    """By measure, as far as its window is known, the trend of each row (int32); of the lost it is LOST in all."""
    lost = _are_lost(view)
    return {
        band.measure: np.where(lost, LOST, _trend(view, band, against=rulebook.against)).astype(np.int32)
        for band in rulebook.bands
        if band.window_days not in view.state.windows.incomplete
    }


def six_digits(view: View, rulebook: Rulebook) -> np.ndarray:
    """Per row (int32, a line each) the code of every dimension with every measure; 0 for what is not known.

    <dimension tier, 3 digits><measure, 2 digits><trend, 1 digit>. Who is not eligible has none.
    """
    dimensions = [codes_in(view, dimension) for dimension in rulebook.dimensions]
    moved = [MEASURE_CODES[measure] * 10 + trend for measure, trend in trends(view, rulebook).items()]
    counted = view.state.attributes["segment"][view.rows] != NOT_ELIGIBLE
    made = [np.where(counted & (tier != UNKNOWN), tier * _CODE + of, 0) for tier in dimensions for of in moved]
    return np.stack(made, axis=1).astype(np.int32) if made else np.empty((view.rows.size, 0), np.int32)


def tally(state: State) -> pl.DataFrame:
    """Subscribers by segment code and market."""
    rows = state.rows
    codes = pl.Series("segment", state.attributes["segment"][rows].astype(np.int32))
    frame = pl.DataFrame([codes, state.attributes.texts("market", rows)])
    return frame.group_by("segment", "market").len("subscribers").sort("segment", "market")


def _changes(state: State, rulebook: Rulebook, rows: np.ndarray, day: int) -> pl.DataFrame:
    attributes = state.attributes
    since = pl.Series(attributes["segment_before_since"][rows])
    told = {
        "subscriber_id": state.roster.take(rows),
        "day": pl.repeat(day, rows.size, dtype=pl.Int32, eager=True),
        "segment": attributes["segment"][rows],
        "before": attributes["segment_before"][rows],
        "before_since": since.set(since == UNKNOWN_DAY, None),
        "market": attributes.texts("market", rows),
        "codes": _listed(six_digits(View(state, rows), rulebook)),
        "changed_us": pl.repeat(day_end_us(day, state.config.zone), rows.size, dtype=pl.Int64, eager=True),
    }
    return pl.DataFrame(told).select(pl.col(name).cast(dtype) for name, dtype in SEGMENT_CHANGES.items())


def _segments(view: View, rulebook: Rulebook, day: int) -> np.ndarray:
    segments = np.full(view.rows.size, STABLE, np.int8)
    deciding = [band for band in rulebook.bands if band.measure in _DECIDING]
    moved = [(MEASURE_CODES[band.measure] // 10, _trend(view, band, against=rulebook.against)) for band in deciding]
    # The weakest claim is written first: declining, then up, then warned; within a trend the last measure first.
    for _, trend in moved:
        segments[trend == DECLINING] = DECLINING
    for level in (UP, WARNED):
        for digit, trend in reversed(moved):
            segments[trend == level] = level * 10 + digit
    segments[~_are_eligible(view, day)] = NOT_ELIGIBLE
    segments[_are_lost(view)] = LOST
    return segments


def _trend(view: View, band: SegmentBands, *, against: str) -> np.ndarray:
    windows, name = view.state.windows, f"{band.measure}_{band.window_days}d"
    now = windows.take(name, view.rows)
    before = windows.take(f"{name}_before", view.rows) / 2
    has = before > 0
    if against == "cohort":
        before = before * view.state.cohorts.expected(name, windows, view.state.attributes, view.rows)
    ratio = np.divide(now, before, out=np.ones(now.size), where=has & (before > 0)) - 1
    trend = np.full(now.size, STABLE, np.int8)
    trend[ratio < -band.stable] = DECLINING
    trend[ratio <= -band.warned] = WARNED
    trend[(ratio > band.stable) | (~has & (now >= max(band.up_floor, 1)))] = UP
    return trend


def _are_lost(view: View) -> np.ndarray:
    """By the account's status, and nothing else."""
    status = view.state.attributes["status"][view.rows]
    return np.isin(status, [STATUSES.index(name) for name in _LOST_STATUSES])


def _are_eligible(view: View, day: int) -> np.ndarray:
    """Activated at least two full months before, charged in this one, in normal status."""
    attributes = view.state.attributes
    activated = attributes["activated_on"][view.rows]
    since = np.where(activated == UNKNOWN_DAY, attributes["first_seen"][view.rows], activated)
    month = month_of(day) - _FULL_MONTHS
    latest = to_day(to_date(day).replace(year=month // 12, month=month % 12 + 1, day=1))
    charged = columns(view, ["fee_month"])["fee_month"].to_numpy() > 0
    charged |= view.state.windows.take(f"spend_{month_of_windows(view.state.windows.lengths_days)}d", view.rows) > 0
    normal = attributes["status"][view.rows] == STATUSES.index("normal")
    eligible: np.ndarray = (since < latest) & charged & normal
    return eligible


def _listed(codes: np.ndarray) -> pl.Series:
    """Codes as a list for each line, without those that are not known."""
    if not codes.shape[1]:
        return pl.Series([[]], dtype=pl.List(pl.Int32)).new_from_index(0, codes.shape[0])
    lists = pl.Series(codes).arr.to_list()
    return lists.to_frame("codes").select(pl.col("codes").list.eval(pl.element().filter(pl.element() > 0)))["codes"]
