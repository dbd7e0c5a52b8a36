"""The tier of a figure within a dimension of segments: its rank among upper bounds, counted from one."""

from collections.abc import Sequence

import numpy as np
import polars as pl

# The figure that a dimension's tier is of: what was usual before the window, so that a drop does not move its own tier.
SOURCES = {
    "spend": "spend_30d_baseline",
    "voice": "voice_30d_baseline",
    "data": "data_30d_baseline",
    "tenure": "tenure_days",
}


def tier_of(values: np.ndarray, tops: Sequence[int]) -> np.ndarray:
    """Ranks (int8, from 1) of values that are all known: a bound belongs to the tier that it ends."""
    ranks: np.ndarray = (np.searchsorted(np.asarray(tops, np.int64), values, side="left") + 1).astype(np.int8)
    return ranks


def tier(value: pl.Expr, tops: Sequence[int]) -> pl.Expr:
    """The same of an expression, null where that is; without bounds there is no tier."""
    if not tops:
        return pl.lit(None, pl.Int8)
    bounds = pl.lit(pl.Series(tops, dtype=pl.Float64))
    ranks = bounds.search_sorted(value.cast(pl.Float64), side="left") + 1
    return pl.when(value.is_not_null()).then(ranks.cast(pl.Int8))
