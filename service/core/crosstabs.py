"""Segments counted against what tells them apart: tiers, markets, areas, bundles, six-digit codes.

Cells of shards add up: what all of them counted is exact.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from service.core.rules import Dimension, Rulebook
from service.core.segments import MEASURE_CODES, NOT_ELIGIBLE, SEGMENTS, trends
from service.core.signals import View
from service.core.state import State
from service.core.tiers import UNKNOWN, codes_in, codes_of, label_of

# One row for each key of a table and each segment that anybody is in; "" is the key of what is not known.
CELLS = {"table": pl.String(), "key": pl.String(), "segment": pl.Int32(), "subscribers": pl.Int64()}
BUNDLED = ("any", "hard", "soft")
_SEGMENTS, _BUNDLES, _CODES = "segments", "bundles", "codes"
_TEXTS = ("market", "area", "device_generation")
_LISTED = {"market": "market", "device": "device_generation"}  # dimensions whose values are texts of an attribute
_ORDER = (NOT_ELIGIBLE, *SEGMENTS)
_PLACES = np.array([_ORDER.index(code) if code in _ORDER else 0 for code in range(max(_ORDER) + 1)])

_TOGETHER = 1 << 15  # rows whose columns stay in the processor's cache

Plain = dict[str, Any]


def count(state: State, rulebook: Rulebook) -> pl.DataFrame:
    """Cells (columns of CELLS) over all subscribers of a shard, as of its last closed day."""
    counting, held = _Counting(), _held(state, rulebook)
    rows = state.rows
    for first in range(0, max(rows.size, 1), _TOGETHER):
        _count_some(View(state, rows[first : first + _TOGETHER]), rulebook, held, counting)
    return counting.cells()


def add_up(cells: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Cells of several shards as one."""
    every = pl.concat([pl.DataFrame(schema=CELLS), *cells])
    keys = [name for name in CELLS if name != "subscribers"]
    return every.group_by(keys).agg(pl.col("subscribers").sum()).sort(keys)


def tabulate(cells: pl.DataFrame, rulebook: Rulebook, minor_digits: int) -> Plain:
    """Counts and shares in plain values.

    Shares are per hundred of those who are in a segment (`of_segment_pct`) and of those in a tier (`of_tier_pct`). Who
    is not eligible is counted once and in no share.
    """
    numbers: dict[str, dict[str, dict[int, int]]] = {}
    for table, key, segment, subscribers in cells.select(list(CELLS)).iter_rows():
        numbers.setdefault(table, {}).setdefault(key, {})[segment] = subscribers
    totals = numbers.get(_SEGMENTS, {}).get("", {})
    of_all = {code: totals.get(code, 0) for code in SEGMENTS}
    counted = sum(of_all.values())
    return {
        "subscribers": counted + totals.get(NOT_ELIGIBLE, 0),
        "not_eligible": totals.get(NOT_ELIGIBLE, 0),
        "segments": {
            str(code): {"name": name, "subscribers": of_all[code], "share_pct": _percent(of_all[code], counted)}
            for code, name in SEGMENTS.items()
        },
        "dimensions": {
            **{one.name: _tiers(one, numbers, of_all, minor_digits) for one in rulebook.dimensions},
            "area": _of_texts(numbers.get("area", {}), of_all),
        },
        "bundles": {
            name: _line(numbers.get(_BUNDLES, {}).get(name, {}), of_all) for name in (*BUNDLED, *rulebook.bundle_kinds)
        },
        "codes": {key: sum(of.values()) for key, of in sorted(numbers.get(_CODES, {}).items())},
    }


class _Counting:
    """Counts by table, of the keys of it and the segments."""

    def __init__(self) -> None:
        self._names: dict[str, tuple[str, Sequence[str]]] = {}
        self._counts: dict[str, np.ndarray] = {}

    def add(self, table: str, names: Sequence[str], keys: np.ndarray, segments: np.ndarray, part: str = "") -> None:
        """Count rows, of which the n-th has the key `names[keys[n]]`; a table may come in parts of other names."""
        made = np.bincount(keys * len(_ORDER) + segments, minlength=len(names) * len(_ORDER))
        self._names[f"{table}/{part}"] = table, names
        self._counts[f"{table}/{part}"] = self._counts.get(f"{table}/{part}", 0) + made

    def cells(self) -> pl.DataFrame:
        """What was counted, columns of CELLS."""
        return pl.concat([pl.DataFrame(schema=CELLS), *(self._cells_of(part) for part in self._names)])

    def _cells_of(self, part: str) -> pl.DataFrame:
        (table, names), counts = self._names[part], self._counts[part]
        there = np.flatnonzero(counts)
        told = {
            "table": pl.repeat(table, there.size, dtype=pl.String, eager=True),
            "key": pl.Series(names, dtype=pl.String)[(there // len(_ORDER)).astype(np.uint32)],
            "segment": np.array(_ORDER, np.int32)[there % len(_ORDER)],
            "subscribers": counts[there],
        }
        return pl.DataFrame(told, schema_overrides=CELLS).select(list(CELLS))


def _count_some(view: View, rulebook: Rulebook, held: Mapping[str, np.ndarray], counting: _Counting) -> None:
    attributes = view.state.attributes
    segments = _PLACES[attributes["segment"][view.rows]]
    counting.add(_SEGMENTS, [""], np.zeros(segments.size, np.int64), segments)
    for name in _TEXTS:
        keys = attributes[name][view.rows].astype(np.int64) + 1
        counting.add(name, ["", *attributes.vocabularies[name].strings], keys, segments)
    for name, holds in held.items():
        mine = segments[holds[view.rows]]
        counting.add(_BUNDLES, [name], np.zeros(mine.size, np.int64), mine, name)
    moved, counted = trends(view, rulebook), segments != _ORDER.index(NOT_ELIGIBLE)
    for dimension in rulebook.dimensions:
        codes, named = codes_in(view, dimension), [str(code) for code in codes_of(dimension)]
        tiers = np.where(codes == UNKNOWN, 0, codes - dimension.code).astype(np.int64)
        if dimension.name not in _LISTED:
            counting.add(dimension.name, ["", *named], tiers, segments)
        known = counted & (tiers > 0)
        for measure, trend in moved.items():
            names = [f"{tier}{MEASURE_CODES[measure]}{digit}" for tier in ("", *named) for digit in range(10)]
            keys = tiers[known] * 10 + trend[known]
            counting.add(_CODES, names, keys, segments[known], f"{dimension.name}/{measure}")


def _held(state: State, rulebook: Rulebook) -> dict[str, np.ndarray]:
    """By name of a kind of bundle whether each row holds one at the end of the last closed day."""
    day = int(state.closed_days(np.zeros(1, np.int32))[0])
    bundles = state.holdings.held(day)
    hard = pl.col("hard").fill_null(value=False)
    kinds = {name: pl.col("kind").is_in(among) for name, among in rulebook.bundle_kinds.items()}
    held = {}
    for name, is_one in {"any": pl.lit(value=True), "hard": hard, "soft": ~hard, **kinds}.items():
        held[name] = np.zeros(len(state.roster), np.bool_)
        held[name][bundles.filter(is_one)["row"].to_numpy()] = True
    return held


def _tiers(
    dimension: Dimension,
    numbers: Mapping[str, Mapping[str, Mapping[int, int]]],
    of_all: Mapping[int, int],
    minor_digits: int,
) -> list[Plain]:
    if dimension.name in _LISTED:
        return _of_texts(numbers.get(_LISTED[dimension.name], {}), of_all, dimension)
    table = numbers.get(dimension.name, {})
    known = [
        {
            "code": code,
            "label": label_of(dimension, code, minor_digits),
            "segments": _line(table.get(str(code)), of_all),
        }
        for code in codes_of(dimension)
    ]
    return known + _unknown(table, of_all)


def _of_texts(
    table: Mapping[str, Mapping[int, int]], of_all: Mapping[int, int], dimension: Dimension | None = None
) -> list[Plain]:
    """Lines of a table by text: those of a list in its order, others by name."""
    listed = () if dimension is None else dimension.values
    others = sorted(key for key in table if key and key not in listed)
    known = [
        {
            "code": dimension.code + 1 + listed.index(key) if dimension is not None and key in listed else None,
            "label": key,
            "segments": _line(table.get(key), of_all),
        }
        for key in (*listed, *others)
    ]
    return known + _unknown(table, of_all)


def _unknown(table: Mapping[str, Mapping[int, int]], of_all: Mapping[int, int]) -> list[Plain]:
    return [{"code": None, "label": None, "segments": _line(table[""], of_all)}] if "" in table else []


def _line(of: Mapping[int, int] | None, of_all: Mapping[int, int]) -> Plain:
    """By segment, and `total` of them: how many, which part of the segment, and which of the tier."""
    mine = {code: (of or {}).get(code, 0) for code in of_all}
    tier, every = sum(mine.values()), sum(of_all.values())
    lines = [(str(code), number, of_all[code]) for code, number in mine.items()]
    return {
        name: {
            "subscribers": number,
            "of_segment_pct": _percent(number, whole),
            "of_tier_pct": _percent(number, tier),
        }
        for name, number, whole in (*lines, ("total", tier, every))
    }


def _percent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 4) if whole else None
