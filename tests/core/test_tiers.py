"""A tier is the rank of a figure among the upper bounds of a dimension."""

import numpy as np
import polars as pl
import pytest

from service.core.tiers import tier, tier_of

TOPS = (0, 30, 90)


@pytest.mark.parametrize(
    ("value", "rank"), [(-5, 1), (0, 1), (0.5, 2), (1, 2), (30, 2), (30.5, 3), (90, 3), (90.01, 4), (10**15, 4)]
)
def test_a_bound_belongs_to_the_tier_it_ends(value: float, rank: int) -> None:
    assert tier_of(np.array([value]), TOPS).tolist() == [rank]
    assert pl.select(tier(pl.lit(value, pl.Float64), TOPS)).item() == rank


def test_what_is_not_known_is_in_no_tier() -> None:
    values = pl.DataFrame({"value": [31.0, None, 0.0]})
    assert values.select(tier(pl.col("value"), TOPS)).to_series().to_list() == [3, None, 1]
    assert values.select("value", rank=tier(pl.col("value"), ()))["rank"].to_list() == [None] * 3
