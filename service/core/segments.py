"""The segment of every subscriber on a closed day: lost, warned, up, declining or stable, by spend, voice and data."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from service.core.attributes import UNKNOWN_DAY
from service.core.calendar import month_of, to_date, to_day
from service.core.events import STATUSES
from service.core.rules import Rulebook, SegmentBands
from service.core.signals import View, columns
from service.core.state import State

NOT_ELIGIBLE, STABLE, DECLINING, LOST = 0, 1, 3, 5
_UP, _WARNED = 2, 4  # tens digit; the unit is the measure's rank
_LOST_STATUSES = ("pre_cancelled", "cancelled")
_FULL_MONTHS = 2
_MONTH_DAYS = 30


def assign(state: State, rulebook: Rulebook, rows: np.ndarray, day: int) -> None:
    """Set the segments of distinct rows as of `day`, which they have just closed: now, before, and since when."""
    bands, unknown = rulebook.bands, state.windows.incomplete
    if not bands or rows.size == 0 or any(band.window_days in unknown for band in bands):
        return
    codes = _codes(View(state, rows), bands, day)
    attributes = state.attributes
    news = codes != attributes["segment"][rows]
    changed = rows[news]
    if changed.size:
        attributes.writable("segment_before")[changed] = attributes["segment"][changed]
        attributes.writable("segment")[changed] = codes[news]
        attributes.writable("segment_since")[changed] = day


def _codes(view: View, bands: Sequence[SegmentBands], day: int) -> np.ndarray:
    codes = np.full(view.rows.size, STABLE, np.int8)
    trends = [_trend(view, band) for band in bands]
    # The weakest claim is written first: declining, then up, then warned; within a trend the last measure first.
    for trend in trends:
        codes[trend == DECLINING] = DECLINING
    for level in (_UP, _WARNED):
        for rank, trend in reversed(list(enumerate(trends, start=1))):
            codes[trend == level] = level * 10 + rank
    codes[~_eligible(view, day)] = NOT_ELIGIBLE
    status = view.state.attributes["status"][view.rows]
    codes[np.isin(status, [STATUSES.index(name) for name in _LOST_STATUSES])] = LOST
    return codes


def _trend(view: View, band: SegmentBands) -> np.ndarray:
    windows = view.state.windows
    now = windows.take(f"{band.measure}_{band.window_days}d", view.rows)
    before = windows.take(f"{band.measure}_{band.window_days}d_before", view.rows) / 2
    has = before > 0
    ratio = np.divide(now, before, out=np.ones(now.size), where=has) - 1
    trend = np.full(now.size, STABLE, np.int8)
    trend[ratio < -band.stable] = DECLINING
    trend[ratio <= -band.warned] = _WARNED
    trend[(ratio > band.stable) | (~has & (now >= max(band.up_floor, 1)))] = _UP
    return trend


def _eligible(view: View, day: int) -> np.ndarray:
    """Activated at least two full months before, charged in this one, in normal status."""
    attributes = view.state.attributes
    activated = attributes["activated_on"][view.rows]
    since = np.where(activated == UNKNOWN_DAY, attributes["first_seen"][view.rows], activated)
    month = month_of(day) - _FULL_MONTHS
    latest = to_day(to_date(day).replace(year=month // 12, month=month % 12 + 1, day=1))
    month_long = min(view.state.windows.lengths_days, key=lambda days: abs(days - _MONTH_DAYS))
    charged = columns(view, ["fee_month"])["fee_month"].to_numpy() > 0
    charged |= view.state.windows.take(f"spend_{month_long}d", view.rows) > 0
    normal = attributes["status"][view.rows] == STATUSES.index("normal")
    eligible: np.ndarray = (since < latest) & charged & normal
    return eligible


def tally(state: State) -> pl.DataFrame:
    """Subscribers by segment code and market."""
    rows = state.rows
    codes = pl.Series("segment", state.attributes["segment"][rows].astype(np.int32))
    frame = pl.DataFrame([codes, state.attributes.texts("market", rows)])
    return frame.group_by("segment", "market").len("subscribers").sort("segment", "market")
