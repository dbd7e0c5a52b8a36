"""What the billing and charging systems tell: monthly fees and closed bills, recharges, balances and quotas."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from service.city.encode import Draft, draft, month_column
from service.city.months import Columns, course_factors, is_present
from service.city.quotas import Numbers
from service.city.rhythm import MONTH_DAYS, CityDay, is_due_loosely, seconds_between, seconds_of_usage

_RECHARGE_PLAY_DAYS = 2  # people recharge about every so many days
_RECHARGE_UNIT_MINOR = 1000
_RECHARGES_PER_BALANCE = 4


@dataclass(slots=True)
class Ledger:
    """What each subscriber was charged (minor units) and surfed (bytes) this month, and charged in the month before."""

    this_month: Numbers
    last_month: Numbers
    data: Numbers

    @classmethod
    def opening(cls, people: Columns, start: date) -> "Ledger":
        """The books on the first day: what came before the run is taken as usual."""
        here = people["joins"] == 0
        usual = np.where(here, people["spend_level"], 0)
        fee = np.where(here, people["fee_minor"], 0)
        gone_by = (start.day - 1) / MONTH_DAYS
        so_far = (usual * gone_by).astype(np.int64) + (fee if start.day > 1 else 0)
        surfs = here & ~people["data_anew"]
        data = np.where(surfs, people["data_level"] * gone_by, 0).astype(np.int64)
        return cls(so_far, usual + fee, data)

    def turn_month(self) -> None:
        """Close the month."""
        self.last_month = self.this_month
        self.this_month = np.zeros_like(self.last_month)
        self.data = np.zeros_like(self.data)

    def add(self, amounts: Mapping[str, tuple[Numbers, Numbers]]) -> None:
        """Book a day's usage; a subscriber has at most one amount of a measure."""
        rows, minor = amounts["spend"]
        self.this_month[rows] += minor
        rows, volume = amounts["data"]
        self.data[rows] += volume


def billing_of_day(people: Columns, day: CityDay, ledger: Ledger, rng: np.random.Generator) -> list[Draft]:
    """A day's fees, bills, recharges, balances and quota reports; fees are booked in the ledger."""
    return [
        _fees(people, day, ledger, rng),
        *_bills(people, day, ledger, rng),
        *_recharges(people, day, rng),
        _quotas(people, day, ledger, rng),
    ]


def fees_of(people: Columns, index: int) -> Numbers:
    """Each subscriber's monthly fee on a day of the run (minor units): the smaller one from a downgrade on."""
    smaller = people["downgrades"] & (people["begins"] <= index)
    return np.where(smaller, people["fee_below_minor"], people["fee_minor"])


def _fees(people: Columns, day: CityDay, ledger: Ledger, rng: np.random.Generator) -> Draft:
    """The fee is posted on the first of the month, and on the day a line is activated."""
    due = is_present(people, day.index)
    if day.on.day != 1:
        due = due & (people["joins"] == day.index) & (day.index > 0)
    rows = np.flatnonzero(due & ~_is_off(people, day.index))
    fees = fees_of(people, day.index)[rows]
    ledger.this_month[rows] += fees
    # A line activated today exists before it is charged.
    seconds = seconds_between(4, 6, rows.size, rng)
    kind = pl.repeat("recurring", rows.size, eager=True)
    months = month_column(day.month, rows.size)
    return draft("charge", "cr", (day, rows, seconds), amount_minor=fees, kind=kind, bill_month=months)


def _is_off(people: Columns, index: int) -> Numbers:
    """Lines on which nothing moves any more: no fee is charged for them."""
    off: Numbers = people["runs_off"] & (people["begins"] <= index)
    return off


def _bills(people: Columns, day: CityDay, ledger: Ledger, rng: np.random.Generator) -> list[Draft]:
    rows = np.flatnonzero((people["bill_dom"] == day.on.day) & (ledger.last_month > 0))
    if not rows.size:
        return []
    months = month_column(day.month - 1, rows.size)
    moment = (day, rows, seconds_between(1, 4, rows.size, rng))
    return [draft("bill.closed", "b", moment, bill_month=months, total_minor=ledger.last_month[rows])]


def _recharges(people: Columns, day: CityDay, rng: np.random.Generator) -> list[Draft]:
    """Prepaid subscribers recharge in their own rhythm; at some of these the balance is told too, minutes later."""
    due = is_due_loosely(day.index, people["recharge_every"], people["recharge_phase"], _RECHARGE_PLAY_DAYS)
    rows = np.flatnonzero(due & people["prepaid"] & is_present(people, day.index))
    rows = rows[course_factors(people, "recharge", day.index, rows) > 0]
    share = people["recharge_every"][rows] / MONTH_DAYS
    units = np.rint(people["monthly_minor"][rows] * share / _RECHARGE_UNIT_MINOR)
    minor = np.maximum(units, 1).astype(np.int64) * _RECHARGE_UNIT_MINOR
    seconds = seconds_of_usage(rows.size, rng)
    told = np.flatnonzero(people["reports_balance"][rows] & (rng.integers(0, _RECHARGES_PER_BALANCE, rows.size) == 0))
    balance = minor[told] + rng.integers(0, 500, told.size)
    later = np.minimum(seconds[told] + 90, 86_399)
    nothing = np.zeros(told.size, dtype=np.int64)
    return [
        draft("recharge", "r", (day, rows, seconds), amount_minor=minor),
        draft("balance", "a", (day, rows[told], later), amount_minor=balance, arrears_minor=nothing),
    ]


def _quotas(people: Columns, day: CityDay, ledger: Ledger, rng: np.random.Generator) -> Draft:
    """Once a month, how much of the data package is used; those who overflow report it by their fate instead."""
    reports = people["reports_quota"] & (people["report_dom"] == day.on.day) & (people["data_level"] > 0)
    rows = np.flatnonzero(reports & is_present(people, day.index) & ~people["overflows"])
    total = people["quota_bytes"][rows]
    resets = pl.repeat(day.on, rows.size, dtype=pl.Date(), eager=True).dt.offset_by("1mo").dt.month_start()
    return draft(
        "quota",
        "q",
        (day, rows, seconds_between(6, 22, rows.size, rng)),
        package_id=pl.select(pl.format("P-S{}", pl.Series(rows).cast(pl.String).str.zfill(8))).to_series(),
        measure=pl.repeat("data", rows.size, eager=True),
        total=total,
        used=np.minimum(ledger.data[rows], total),
        resets_on=resets,
    )
