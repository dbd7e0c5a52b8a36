"""What stands of several tellings of one thing: the same however the log is cut into batches.

Tellings count in the order of the log. One that is not older than any before it is current, and what it tells stands
from then on; an older one only fills in what nobody has told yet.
"""

from collections.abc import Sequence

import polars as pl


def mark_current(
    tellings: pl.DataFrame, by: Sequence[str], time: str, standing: pl.Series | None = None
) -> pl.DataFrame:
    """Tellings sorted by (`by`, seq), with `is_current`; `standing` is, line by line, the time of what stood before."""
    before = pl.col(time).cum_max().shift(1).over(by)
    if standing is not None:
        tellings = tellings.with_columns(_standing=standing)
        before = pl.max_horizontal(before, "_standing")
    ordered = tellings.sort(*by, "seq").with_columns(is_current=(pl.col(time) >= before).fill_null(value=True))
    return ordered.drop("_standing", strict=False)


def standing(name: str) -> pl.Expr:
    """Of a group of marked tellings what stands of a field."""
    told = pl.col(name).drop_nulls()
    is_current = pl.col("is_current").filter(pl.col(name).is_not_null())
    return pl.coalesce(told.filter(is_current).last(), told.first())
