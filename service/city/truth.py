"""What the simulation knows and the service has to find out: what was planned for whom, when, and why."""

from datetime import date

import polars as pl

from service.city.fates import FATES, NEVER, STABLE
from service.city.profile import TIERED, Profile


def truth_of(profile: Profile, people: pl.DataFrame, start: date, days: int) -> pl.DataFrame:
    """One row per subscriber.

    Columns: subscriber_id, market, segment and its code (null: the profile gives none), spend_tier, voice_tier,
    data_tier, tenure_tier (places in the profile's tables, from 0), fate, why, begins_on (null: nothing begins within
    the run), leaves (what makes them leave has begun within the run), left_on (null: not within the run).
    """
    whys = {STABLE: "nothing happens", **{name: fate.why for name, fate in FATES.items()}}
    codes = {name: part.code for name, part in profile.segments.items()}
    begun, gone = (pl.col(name).is_between(0, days - 1) for name in ("begins", "leaves"))
    return people.select(
        "subscriber_id",
        "market",
        "segment",
        pl.col("segment").replace_strict(codes, return_dtype=pl.Int32).alias("code"),
        *(pl.col(f"{name}_tier").cast(pl.Int32) for name in TIERED),
        "fate",
        pl.col("fate").replace_strict(whys, return_dtype=pl.String).alias("why"),
        pl.when(begun).then(_date(start, "begins")).alias("begins_on"),
        (begun & (pl.col("leaves") < NEVER)).alias("leaves"),
        pl.when(gone).then(_date(start, "leaves")).alias("left_on"),
    )


def _date(start: date, day: str) -> pl.Expr:
    # A day that never comes has no date; it is masked by the caller.
    return pl.lit(start) + pl.duration(days=pl.when(pl.col(day) < NEVER).then(day).otherwise(0))
