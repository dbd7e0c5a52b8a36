"""What the simulation knows and the service has to find out: who was given which fate, when and why."""

from datetime import date

import polars as pl

from service.city.fates import FATES, NEVER, STABLE


def truth_of(people: pl.DataFrame, start: date, days: int) -> pl.DataFrame:
    """One row per subscriber.

    Columns: subscriber_id, market, fate, why, begins_on (null: nothing begins within the run), leaves (made to leave
    within the run), left_on.
    """
    whys = {STABLE: "nothing happens", **{name: fate.why for name, fate in FATES.items()}}
    within = {name: pl.col(name).is_between(0, days - 1) for name in ("begins", "leaves")}
    return people.select(
        "subscriber_id",
        "market",
        "fate",
        pl.col("fate").replace_strict(whys, return_dtype=pl.String).alias("why"),
        pl.when(within["begins"]).then(_date(start, "begins")).alias("begins_on"),
        within["leaves"].alias("leaves"),
        pl.when(within["leaves"]).then(_date(start, "leaves")).alias("left_on"),
    )


def _date(start: date, day: str) -> pl.Expr:
    # A day that never comes has no date; it is masked by the caller.
    return pl.lit(start) + pl.duration(days=pl.when(pl.col(day) < NEVER).then(day).otherwise(0))
