"""Segments counted against what tells them apart: tiers, markets, areas, bundles, six-digit codes.

Cells of shards add up: what all of them counted is exact.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
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

Plain = dict[str, Any]


def count(state: State, rulebook: Rulebook) -> pl.DataFrame:
    """Cells (columns of CELLS) over all subscribers of a shard, as of its last closed day."""
    view = View(state, state.rows)
    segments = _PLACES[state.attributes["segment"][view.rows]]
    pieces = [_cells(_SEGMENTS, np.zeros(segments.size, np.int64), [""], segments)]
    for name in _TEXTS:
        keys = state.attributes[name][view.rows].astype(np.int64) + 1
        pieces.append(_cells(name, keys, ["", *state.attributes.vocabularies[name].strings], segments))
    moved = trends(view, rulebook)
    for dimension in rulebook.dimensions:
        codes = codes_in(view, dimension)
        tiers = np.where(codes == UNKNOWN, 0, codes - dimension.code).astype(np.int64)
        keys = ["", *map(str, codes_of(dimension))]
        if dimension.name not in _LISTED:
            pieces.append(_cells(dimension.name, tiers, keys, segments))
        pieces += _six_digits(keys, tiers, moved, segments)
    return pl.concat([*pieces, *_bundled(view, rulebook, segments)])


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


def _cells(table: str, keys: np.ndarray, names: Sequence[str], segments: np.ndarray) -> pl.DataFrame:
    """Cells of a table where row n has the key `names[keys[n]]`."""
    width = len(_ORDER)
    counts = np.bincount(keys * width + segments, minlength=len(names) * width)
    there = np.flatnonzero(counts)
    told = {
        "table": pl.repeat(table, there.size, dtype=pl.String, eager=True),
        "key": pl.Series(names, dtype=pl.String)[(there // width).astype(np.uint32)],
        "segment": np.array(_ORDER, np.int32)[there % width],
        "subscribers": counts[there],
    }
    return pl.DataFrame(told, schema_overrides=CELLS).select(list(CELLS))


def _six_digits(
    tiers: Sequence[str], places: np.ndarray, moved: Mapping[str, np.ndarray], segments: np.ndarray
) -> Iterator[pl.DataFrame]:
    """Cells of the codes that a dimension makes with each measure; `places` are those of its tiers, 0 for unknown."""
    known = (places > 0) & (segments != _ORDER.index(NOT_ELIGIBLE))
    names = [f"{tier}{{}}{trend}" for tier in tiers for trend in range(10)]
    for measure, trend in moved.items():
        keys = places[known] * 10 + trend[known]
        yield _cells(_CODES, keys, [name.format(MEASURE_CODES[measure]) for name in names], segments[known])


def _bundled(view: View, rulebook: Rulebook, segments: np.ndarray) -> Iterator[pl.DataFrame]:
    """Cells of those who hold bundles of a kind."""
    day = int(view.state.closed_days(np.zeros(1, np.int32))[0])
    held = view.state.holdings.held(day)
    hard = pl.col("hard").fill_null(value=False)
    kinds = {name: pl.col("kind").is_in(among) for name, among in rulebook.bundle_kinds.items()}
    for name, is_one in {"any": pl.lit(value=True), "hard": hard, "soft": ~hard, **kinds}.items():
        holds = np.zeros(len(view.state.roster), np.bool_)
        holds[held.filter(is_one)["row"].to_numpy()] = True
        mine = segments[holds[view.rows]]
        yield _cells(_BUNDLES, np.zeros(mine.size, np.int64), [name], mine)


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
