"""From the two real usage files to daily usage per subscriber, as the note that comes with the data says.

Written a second time and apart from the service, so that the two can be compared: nothing here is shared with it.
"""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

MEASURES = ("spend", "voice", "voice_seconds", "voice_in", "data", "sms", "recharge", "outgoing")
NEVER = pl.lit(pl.Series([1276, 1307, 1338])).implode()  # days since 2010-01-01 at the ends of the three months
UNKNOWN_LIFETIME = 15_000  # a longer one counts from 1970


@dataclass(frozen=True, slots=True)
class Told:
    """What a file tells.

    `usage` has (subscriber, day, *MEASURES), a row per subscriber and day with any; `people` has (subscriber,
    first_seen, activated_on, told_on, cancelled_on, all days, all but the first null where not known; `told_on` is when
    the activation is told). `last` is the last day;
    `consents` says whether all consented to be contacted (else of none it is known); `fee` is everybody's monthly fee,
    None where it is not known.
    """

    usage: pl.DataFrame
    people: pl.DataFrame
    last: date
    consents: bool
    fee: int | None = None


def prepaid_monthly(file: Path) -> Told:
    """One row per subscriber and month: totals are spread over the days up to the last active one."""
    rows = _dated(pl.read_parquet(file))
    pieces = [
        _spread(rows, pl.col("out_minutes") * 60).select(
            "subscriber", "day", voice_seconds="share", voice=_billed("share"), outgoing=1
        ),
        _spread(rows, pl.col("sms_out")).select("subscriber", "day", sms="share", outgoing=1),
        _spread(rows, pl.col("data_mb") * 1_000_000).select("subscriber", "day", data="share", outgoing=1),
        _spread(rows, pl.col("spend") * 100).select("subscriber", "day", spend="share"),
        _signs_of_life(rows).select("subscriber", day="last_active", outgoing=1),
        _recharges(rows).select("subscriber", day="recharged_on", recharge=_whole(pl.col("reload_sum") * 100)),
    ]
    people = (
        rows.sort("subscriber", "month")
        .group_by("subscriber", maintain_order=True)
        .agg(
            first_seen=pl.col("first_day").first(),
            activated_on=pl.col("activated_on").drop_nulls().first(),
            told_on=pl.col("first_day").filter(pl.col("activated_on").is_not_null()).first(),
        )
        .with_columns(cancelled_on=pl.lit(None, pl.Date))
    )
    last = rows["month_end"].max()
    assert isinstance(last, date)
    return Told(_daily(pieces), people, last, consents=True, fee=0)


def postpaid_daily(file: Path) -> Told:
    """One row per subscriber and day: a day's calls are one call, its sessions one session, its messages one record."""
    rows = pl.read_parquet(file).with_columns(subscriber=pl.col("user_id").cast(pl.String), day="date")
    seconds = _whole(pl.col("minutes") * 60)
    pieces = [
        rows.filter(pl.col("calls") > 0)
        .with_columns(seconds=seconds)
        .select("subscriber", "day", voice_seconds="seconds", voice=_billed("seconds"), outgoing=1),
        rows.filter(pl.col("sessions") > 0).select(
            "subscriber", "day", data=_whole(pl.col("mb") * 1_000_000), outgoing=1
        ),
        rows.filter(pl.col("sms") > 0).select("subscriber", "day", sms=pl.col("sms").cast(pl.Int64), outgoing=1),
    ]
    people = rows.group_by("subscriber").agg(
        first_seen=pl.col("day").min(),
        activated_on=pl.col("reg_date").first(),
        told_on=pl.col("day").min(),
        # The end is told by the row of its own day.
        cancelled_on=pl.col("churn_date").filter(pl.col("churn_date") == pl.col("day")).first(),
    )
    last = rows["day"].max()
    assert isinstance(last, date)
    return Told(_daily(pieces), people.sort("subscriber"), last, consents=False)


def labels(file: Path, column: str) -> dict[str, bool]:
    """Who left, by subscriber: the flag of the monthly file, which says the same in all rows of a subscriber."""
    rows = pl.read_parquet(file, columns=["id", column]).unique()
    assert rows["id"].n_unique() == rows.height
    return {str(subscriber): bool(flag) for subscriber, flag in rows.iter_rows()}


def _dated(rows: pl.DataFrame) -> pl.DataFrame:
    """With each row's subscriber, month and days; last_active and recharged_on null where never."""
    ago = pl.duration(days=pl.col("lifetime_days"))
    return (
        rows.with_columns(subscriber=pl.col("id").cast(pl.String), month_start=pl.date("year", "month", 1))
        .with_columns(month_end=pl.col("month_start").dt.month_end())
        .with_columns(
            activated_on=pl.when(pl.col("lifetime_days") <= UNKNOWN_LIFETIME).then(pl.col("month_end") - ago),
            last_active=_back("days_silent"),
            recharged_on=_back("days_since_reload"),
        )
        .with_columns(first_day=pl.max_horizontal("month_start", "activated_on"))
        # Last activity before the row's days, though it has totals: all of them stand on the first day.
        .with_columns(last_day=pl.max_horizontal("first_day", "last_active"))
    )


def _back(days: str) -> pl.Expr:
    """The day so many before the month's end, null for never."""
    return pl.when(~pl.col(days).is_in(NEVER)).then(pl.col("month_end") - pl.duration(days=pl.col(days)))


def _whole(value: pl.Expr) -> pl.Expr:
    return value.round(mode="half_to_even").cast(pl.Int64)


def _billed(seconds: str) -> pl.Expr:
    """Billed minutes of one call: every minute begun."""
    return (pl.col(seconds) + 59) // 60


def _spread(rows: pl.DataFrame, total: pl.Expr) -> pl.DataFrame:
    """(subscriber, day, share): a month's total in equal whole shares, what is left over on the last; none of zero."""
    days = pl.date_ranges("first_day", "last_day")
    return (
        rows.with_columns(total=_whole(total), day=days)
        .with_columns(count=pl.col("day").list.len().cast(pl.Int64))
        # Toward zero, so that the shares of a refund are refunds.
        .with_columns(equal=pl.col("total").sign() * (pl.col("total").abs() // pl.col("count")))
        .explode("day")
        .with_columns(
            share=pl.when(pl.col("day") == pl.col("last_day"))
            .then(pl.col("total") - pl.col("equal") * (pl.col("count") - 1))
            .otherwise("equal")
        )
        .filter(pl.col("share") != 0)
    )


def _signs_of_life(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of who was active in the month though all totals are zero: one call of zero seconds on the last day."""
    nothing = (
        (pl.col("out_minutes") == 0) & (pl.col("sms_out") == 0) & (pl.col("data_mb") == 0) & (pl.col("spend") == 0)
    )
    return rows.filter(nothing & (pl.col("last_active") >= pl.col("first_day")))


def _recharges(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with a recharge in their own month; one dated outside it has no day that can be believed."""
    return rows.filter(pl.col("recharged_on").is_between("month_start", "month_end") & (pl.col("reload_sum") != 0))


def _daily(pieces: list[pl.DataFrame]) -> pl.DataFrame:
    none = [pl.lit(0, pl.Int64).alias(name) for name in MEASURES]
    keys = ("subscriber", "day")
    whole = [
        piece.with_columns(lacking for lacking in none if lacking.meta.output_name() not in piece.columns).select(
            *keys, pl.col(MEASURES).cast(pl.Int64)
        )
        for piece in pieces
    ]
    return pl.concat(whole).group_by(keys).agg(pl.col(MEASURES).sum()).sort(keys)
