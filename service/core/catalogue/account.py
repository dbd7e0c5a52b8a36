"""Signals of the account: bills and fees by bill month, recharges, balance, quota, and what a subscriber is worth."""

import polars as pl

from service.core.catalogue.signal import (
    F64,
    I32,
    I64,
    STR,
    Made,
    Signal,
    Terms,
    days_since,
    drop,
    known_amount,
    known_day,
    nearest,
)
from service.core.holdings import QUOTAS

_MONTH_DAYS, _QUARTER_DAYS = 30, 90
_BILL_BASELINE = pl.col("bills_before_last") / 2
_QUOTA_UNITS = {"voice": "minutes", "data": "bytes", "sms": "messages"}

# Most valuable, most growable, low value, below zero, as the trade has it. A mid or high value is 100 a month.
VALUE_CLASSES = ("MVC", "MGC", "LVC", "BZ")
_HIGH_VALUE = 100
_GROWING = 1.1  # beyond the band in which spend is stable

BILLS: Made = {
    "bill_last": (Signal(I64, "minor", "the latest closed bill", "no bill is known"), pl.col("bill_last")),
    "bill_before_last": (
        Signal(I64, "minor", "the closed bill before the latest", "fewer than two bills are known"),
        pl.col("bill_before_last"),
    ),
    "bill_baseline": (
        Signal(F64, "minor", "the two bills before the latest, halved", "fewer than three bills are known"),
        _BILL_BASELINE,
    ),
    "bill_drop": (
        Signal(F64, "ratio", "how far the latest bill fell below its baseline", "there is no positive baseline"),
        drop(pl.col("bill_last"), _BILL_BASELINE),
    ),
    "bills_known": (Signal(I32, "bills", "closed bills that are known, three at most"), pl.col("bills").fill_null(0)),
    "fee_month": (
        Signal(I64, "minor", "recurring fees charged for the bill month of the closed day"),
        pl.col("fee_month").fill_null(0),
    ),
    "fee_last_month": (
        Signal(I64, "minor", "recurring fees charged for the bill month before"),
        pl.col("fee_last_month").fill_null(0),
    ),
    "fee": (Signal(I64, "minor", "monthly fee of the plan", "unknown"), known_amount("fee_minor")),
}

BALANCES: Made = {
    "recharge_last": (
        Signal(I64, "minor", "what was recharged on the last day with a recharge", "no recharge is known"),
        pl.col("recharge_last"),
    ),
    "days_since_recharge": (
        Signal(I32, "days", "days since the last recharge", "no recharge is known"),
        days_since(pl.col("recharge_day")),
    ),
    "recharge_gap_days": (
        Signal(F64, "days", "median of the last five gaps between recharge days", "fewer than five gaps are known"),
        pl.col("recharge_gap_days"),
    ),
    "balance": (Signal(I64, "minor", "account balance", "never told"), known_amount("balance_minor")),
    "arrears": (Signal(I64, "minor", "arrears", "never told"), known_amount("arrears_minor")),
    "days_in_arrears": (
        Signal(I32, "days", "days since arrears were told of first", "there are none"),
        days_since(known_day("arrears_since")),
    ),
    **{
        f"quota_{measure}_left": (
            Signal(F64, "share", f"what is left of all {measure} packages together", "no quota of now is known"),
            pl.col(f"quota_{measure}_left"),
        )
        for measure in QUOTAS
    },
    **{
        f"quota_{measure}_over": (
            Signal(I64, _QUOTA_UNITS[measure], f"{measure} used beyond its packages", "no quota of now is known"),
            pl.col(f"quota_{measure}_over"),
        )
        for measure in QUOTAS
    },
}  # fmt: skip


def value(terms: Terms) -> Made:
    """What a subscriber brings, and is likely to."""
    # Without a window of three months the longest shorter one stands for it.
    days = max((d for d in terms.windows_days if d <= _QUARTER_DAYS), default=min(terms.windows_days))
    month = nearest(terms.windows_days, _MONTH_DAYS)
    spend = pl.col(f"spend_{days}d") * _QUARTER_DAYS // days
    quarter = pl.coalesce("bills_sum", spend).clip(lower_bound=0)
    monthly = Signal(I64, "minor", "mean of the last three bills, else a third of the spend of 90 days")
    yearly = Signal(I64, "minor", "a year's value: the three months behind monthly_value times four")
    return {
        "monthly_value": (monthly, quarter // 3),
        "money_at_risk": (yearly, quarter * 4),
        "value_class": (
            Signal(
                STR,
                "",
                f"MVC (most valuable): a monthly_value of {_HIGH_VALUE} of the currency or more; BZ (below zero): of "
                f"nothing; MGC (most growable): spend_{month}d is more than {_GROWING - 1:.0%} above its baseline; "
                "LVC (low value): the rest",
                among=VALUE_CLASSES,
            ),
            _value_class(quarter // 3, f"spend_{month}d", _HIGH_VALUE * 10**terms.minor_digits),
        ),
    }


def _value_class(monthly: pl.Expr, spend: str, high_minor: int) -> pl.Expr:
    usual = pl.col(f"{spend}_before") / 2
    grows = (usual > 0) & (pl.col(spend) > usual * _GROWING)
    best, growing, low, nothing = (pl.lit(name) for name in VALUE_CLASSES)
    lesser = pl.when(monthly <= 0).then(nothing).when(grows).then(growing).otherwise(low)
    known = pl.when(monthly >= high_minor).then(best).otherwise(lesser)
    return pl.when(monthly.is_not_null()).then(known)
