"""Sums over windows of whole days by a plain group_by, and the same for every day at once by running sums."""

from collections.abc import Mapping
from datetime import date, timedelta

import polars as pl

from tests.oracle.rules import COMPARED, LEAST_COMPARED
from tests.oracle.usage import MEASURES, Told

WINDOWS = (1, 7, 14, 30, 60, 90)


def sums_as_of(told: Told, day: date) -> pl.DataFrame:
    """(subscriber, {measure}_{w}d ...): one row per subscriber seen by `day`, sums over the w days up to it."""
    sums = told.usage.group_by("subscriber").agg(
        pl.col(measure)
        .filter(pl.col("day").is_between(day - timedelta(days=w - 1), day))
        .sum()
        .alias(f"{measure}_{w}d")
        for measure in MEASURES
        for w in WINDOWS
    )
    seen = told.people.filter(pl.col("first_seen") <= day).select("subscriber")
    return seen.join(sums, on="subscriber", how="left").fill_null(0).sort("subscriber")


def signals(told: Told, shards: Mapping[str, int] | None = None) -> pl.DataFrame:
    """A row per subscriber and day from the first seen on: all that the rules ask of these files, as of that day.

    `shards`: where each subscriber is, who are compared with those of their own; without it all are together.
    """
    first = told.people.select(pl.col("first_seen").min()).item()
    days = pl.DataFrame({"day": pl.date_range(first, told.last, eager=True)})
    grid = (
        told.people.join(days, how="cross")
        .join(told.usage, on=["subscriber", "day"], how="left")
        .with_columns(pl.col(MEASURES).fill_null(0))
        .sort("subscriber", "day")
    )
    grid = grid.with_columns(active=(pl.col("outgoing") > 0).cast(pl.Int64)).with_columns(
        active_so_far=pl.col("active").cum_sum().over("subscriber"),
        last_recharge=pl.when(pl.col("recharge") > 0).then("day").forward_fill().over("subscriber"),
        last_outgoing=pl.when(pl.col("outgoing") > 0).then("day").forward_fill().over("subscriber"),
        **{f"{measure}_so_far": pl.col(measure).cum_sum().over("subscriber") for measure in MEASURES},
    )
    thirty = [expression for measure in MEASURES for expression in _thirty_days(measure)]
    told_of = (
        grid.with_columns(
            *thirty,
            spend_90d=_sum_of("spend", 0, 90),
            recharge_90d=_sum_of("recharge", 0, 90),
            active_days_30d=_sum_of("active", 0, 30).cast(pl.Int32),
            active_days_90d=_sum_of("active", 0, 90).cast(pl.Int32),
        )
        .with_columns(
            *(_drop(measure) for measure in MEASURES),
            days_silent=_days_between(pl.coalesce("last_outgoing", "first_seen"), pl.col("day")),
            monthly_value=pl.col("spend_90d") // 3,
            # Told at midnight, within the grace of the day before, which may lie before the activation itself.
            tenure_days=pl.when(pl.col("told_on") - pl.duration(days=1) <= pl.col("day")).then(
                _days_between(pl.col("activated_on"), pl.col("day")).clip(lower_bound=0)
            ),
            # A cancellation at noon counts at the close of its day.
            status=pl.when(pl.col("cancelled_on") <= pl.col("day"))
            .then(pl.lit("cancelled"))
            .otherwise(pl.lit("normal")),
            days_unlinked=pl.lit(None, pl.Int32),  # no feed of bundles
            days_known=_days_between(pl.col("first_seen"), pl.col("day")),
            days_since_recharge=_days_between(pl.col("last_recharge"), pl.col("day")),
            fee=pl.lit(told.fee, pl.Int64),
        )
        .with_columns(*_rhythm())
        .filter(pl.col("day") >= pl.col("first_seen"))
    )
    shard = pl.lit(0) if shards is None else pl.col("subscriber").replace_strict(shards)
    return _beside_others(told_of.with_columns(shard=shard)).drop("shard")


def _beside_others(people: pl.DataFrame) -> pl.DataFrame:
    """With what comparable ones of the shard kept of their baselines on the day, and the drop against it.

    Neither file tells a market: comparable are those of one tier, or, where they are too few, all of the shard.
    """
    for measure, tops in COMPARED.items():
        window, baseline = pl.col(f"{measure}_30d"), pl.col(f"{measure}_30d_baseline")
        tier = pl.sum_horizontal((baseline > top).cast(pl.Int32) for top in tops)
        people = people.with_columns(tier=tier)
        compared = people.filter((pl.col("status") == "normal") & (baseline > 0)).with_columns(ratio=window / baseline)
        for keys, name in ((["shard", "day"], "of_shard"), (["shard", "day", "tier"], "of_tier")):
            median = compared.group_by(keys).agg(count=pl.len(), ratio=pl.col("ratio").median())
            # Where half of them stopped altogether nobody can be measured by them.
            enough = median.filter((pl.col("count") >= LEAST_COMPARED) & (pl.col("ratio") != 0))
            told = enough.select(*keys, pl.col("ratio").alias(name))
            people = people.join(told, on=keys, how="left", maintain_order="left")
        kept = pl.coalesce("of_tier", "of_shard")
        expected = baseline * kept.fill_null(1.0)
        people = people.with_columns(
            kept.alias(f"{measure}_30d_cohort"),
            pl.when(expected > 0).then(1 - window / expected).alias(f"{measure}_30d_drop_vs_cohort"),
        ).drop("tier", "of_shard", "of_tier")
    return people


def _sum_of(measure: str, ago: int, days: int) -> pl.Expr:
    """Sum over `days` days of which the last is `ago` days ago."""

    def before(shift: int) -> pl.Expr:
        return pl.col(f"{measure}_so_far").shift(shift, fill_value=0).over("subscriber")

    return before(ago) - before(ago + days)


def _thirty_days(measure: str) -> list[pl.Expr]:
    return [
        _sum_of(measure, 0, 30).alias(f"{measure}_30d"),
        (_sum_of(measure, 30, 60) / 2).alias(f"{measure}_30d_baseline"),
    ]


def _drop(measure: str) -> pl.Expr:
    """How far the window fell below its baseline, null without one."""
    baseline = pl.col(f"{measure}_30d_baseline")
    return pl.when(baseline > 0).then(1 - pl.col(f"{measure}_30d") / baseline).alias(f"{measure}_30d_drop")


def _rhythm() -> list[pl.Expr]:
    """Mean days between days of use over the last thirty, before the silence, of newcomers over those known; and how
    many such gaps the silence is long.
    """
    known, active = pl.col("days_known") + 1, pl.col("active_days_30d")
    before = pl.when(known < 30).then(known).otherwise(30) - pl.col("days_silent")
    is_known = (active > 0) & (known >= 14)
    return [
        pl.when(is_known).then(before / active).alias("own_gap_days"),
        pl.when(is_known).then(pl.col("days_silent") * active / before).alias("silent_gaps"),
    ]


def _days_between(first: pl.Expr, last: pl.Expr) -> pl.Expr:
    return (last - first).dt.total_days().cast(pl.Int32)
