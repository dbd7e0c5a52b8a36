"""What comparable subscribers did at the same time: a holiday or a fault moves a whole market, and nobody is leaving.

Comparable are subscribers of one market and tier in normal status who have a baseline; where those are fewer than 200,
of the whole market, or of the shard. What they kept of their baselines is told by the median.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from service.core.attributes import Attributes
from service.core.events import STATUSES
from service.core.measures import MEASURES
from service.core.rules import Holiday, Rulebook
from service.core.strings import StringIndex
from service.core.turn import Compared
from service.core.windows import Windows

LEAST = 200
OTHERS = "*"  # markets that nothing is known of
UNKNOWN = ""
_MONTH_DAYS = 30
_NAMED = re.compile(rf"({'|'.join(MEASURES)})_(\d+)d_(?:cohort|expected|drop_vs_cohort)")


@dataclass(slots=True)
class Cohorts:
    """What was compared at the last close, by window (voice_30d)."""

    table: Mapping[str, Compared] = field(default_factory=dict)

    def kept(self, window: str, windows: Windows, attributes: Attributes, rows: np.ndarray) -> np.ndarray:
        """What comparable ones kept of their baselines (float64, 1: all), NaN where there are too few of them."""
        compared = self.table.get(window)
        if compared is None or not rows.size:
            return np.full(rows.size, np.nan)
        markets = attributes.texts("market", rows).fill_null(UNKNOWN)
        lines = _numbered(markets, compared.ratios)
        ratios = np.array(list(compared.ratios.values()), np.float64)
        found: np.ndarray = ratios[lines, _tiers(windows.take(f"{window}_before", rows) / 2, compared.tops)]
        return found

    def shifted(self, window: str, attributes: Attributes, rows: np.ndarray) -> np.ndarray:
        """What a calendar lets one expect of the baseline (float64, 1: all)."""
        compared = self.table.get(window)
        if compared is None or not rows.size:
            return np.ones(rows.size)
        markets = attributes.texts("market", rows).fill_null(UNKNOWN)
        found: np.ndarray = np.array(list(compared.shifts.values()))[_numbered(markets, compared.shifts)]
        return found

    def expected(self, window: str, windows: Windows, attributes: Attributes, rows: np.ndarray) -> np.ndarray:
        """What calendar and comparable subscribers together let one expect of the baseline (float64, 1: all)."""
        kept = self.kept(window, windows, attributes, rows)
        return self.shifted(window, attributes, rows) * np.where(np.isnan(kept), 1.0, kept)


def compared_windows(names: Iterable[str]) -> set[tuple[str, int]]:
    """(measure, days of the window) of signals that compare with others."""
    return {(found[1], int(found[2])) for name in names if (found := _NAMED.fullmatch(name))}


def compare(
    windows: Windows, attributes: Attributes, rows: np.ndarray, rulebook: Rulebook, day: int
) -> Mapping[str, Compared]:
    """What `rows` kept of their baselines as of the close of `day`, for all that the rulebook compares."""
    wanted = sorted(compared_windows(_names(rulebook)) | _of_segments(rulebook))
    if not wanted:
        return {}
    markets = attributes.vocabularies["market"]
    normal = attributes["status"][rows] == STATUSES.index("normal")
    numbers = attributes["market"][rows]
    tops = {dimension.name: dimension.tops for dimension in rulebook.dimensions}
    table = {}
    for measure, days in wanted:
        if days not in windows.lengths_days or days in windows.incomplete:
            continue
        name = f"{measure}_{days}d"
        shifts = dict(_shifts(rulebook.holidays, measure, days, (day, markets)))
        baseline = windows.take(f"{name}_before", rows) / 2
        scaled = tuple(top * days / _MONTH_DAYS for top in tops.get(measure, ()))
        has = normal & (baseline > 0)
        own = np.array([*(shifts.get(str(text), shifts[OTHERS]) for text in markets.strings), shifts[UNKNOWN]])
        ratio = windows.take(name, rows)[has] / (baseline[has] * own[numbers[has]])
        cells = pl.DataFrame({"market": numbers[has], "tier": _tiers(baseline[has], scaled), "ratio": ratio})
        table[name] = Compared(scaled, _ratios(cells, len(scaled) + 1, markets), shifts)
    return table


def _names(rulebook: Rulebook) -> Iterator[str]:
    for rule in rulebook.rules:
        yield from rule.names
    for roll in rulebook.rolls:
        yield from roll.names
    for derived in rulebook.derived.values():
        yield from derived.names
    if rulebook.against == "cohort":
        yield from (f"{band.measure}_{band.window_days}d_cohort" for band in rulebook.bands)


def _of_segments(rulebook: Rulebook) -> set[tuple[str, int]]:
    return {(band.measure, band.window_days) for band in rulebook.bands if rulebook.against == "cohort"}


def _tiers(baseline: np.ndarray, tops: Sequence[float]) -> np.ndarray:
    """The tier of each baseline: the first whose top is not below it."""
    tiers: np.ndarray = np.searchsorted(np.asarray(tops, np.float64), baseline, side="left")
    return tiers


def _numbered(markets: pl.Series, known: Mapping[str, object]) -> np.ndarray:
    """Of each market its place among the known ones, the place of OTHERS where it is none of them."""
    places = {market: place for place, market in enumerate(known)}
    return markets.replace_strict(places, default=places[OTHERS], return_dtype=pl.Int64).to_numpy()


def _ratios(cells: pl.DataFrame, tiers: int, markets: StringIndex) -> dict[str, tuple[float | None, ...]]:
    """Per market the median ratio of each tier, or of what it is a part of where too few are in it."""
    told = (pl.len().alias("count"), pl.col("ratio").median())
    whole = _enough(cells.select(*told).row(0))
    per_market = {market: _enough(of) for market, *of in cells.group_by("market").agg(told).iter_rows()}
    per_tier = {(m, t): _enough(of) for m, t, *of in cells.group_by("market", "tier").agg(told).iter_rows()}
    found = {OTHERS: (whole,) * tiers}
    for market in sorted(per_market):
        coarse = per_market[market] or whole
        found[markets.text(market) or UNKNOWN] = tuple(per_tier.get((market, tier)) or coarse for tier in range(tiers))
    return found


def _enough(told: Sequence[float | None]) -> float | None:
    count, ratio = told
    # Where all of them stopped there is nothing to measure anybody by.
    return float(ratio) if count is not None and count >= LEAST and ratio else None


def _shifts(
    holidays: Sequence[Holiday], measure: str, days: int, at: tuple[int, StringIndex]
) -> Iterator[tuple[str, float]]:
    """Per market what its holidays let one expect of a window against the days before it."""
    day, markets = at
    concerned = [holiday for holiday in holidays if measure in holiday.shifts]
    for market in (OTHERS, UNKNOWN, *(str(text) for text in markets.strings.drop_nulls())):
        mine = [holiday for holiday in concerned if not holiday.markets or market in holiday.markets]
        now, before = (
            _mean(mine, measure, *span) for span in ((day - days + 1, day), (day - 3 * days + 1, day - days))
        )
        yield market, now / before if before > 0 else 1.0


def _mean(holidays: Sequence[Holiday], measure: str, first: int, last: int) -> float:
    """What is left of usual usage, on the mean of some days."""
    moved = sum((holiday.shifts[measure] - 1) * _overlap(holiday, first, last) for holiday in holidays)
    return 1 + moved / (last - first + 1)


def _overlap(holiday: Holiday, first: int, last: int) -> int:
    return max(0, min(holiday.last_day, last) - max(holiday.first_day, first) + 1)
