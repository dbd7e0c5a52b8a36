"""Events of one type to typed columns, and the checks that need a whole column or more than one field."""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import polars as pl

from service.core.events import FIELDS

Check = tuple[pl.Series, str]  # flags of bad rows, and what is wrong with them

FIRST_DAY, LAST_DAY = date(1900, 1, 1), date(9999, 12, 31)
_FIRST_US, _LAST_US = 0, 7_258_118_400_000_000  # 1970 to 2199
_SHORTEST, _LONGEST = len("2013-08-31T23:59:00Z"), len("2013-08-31T23:59:00.123456789+08:00")
_DATE = len("2013-08-31")
_MONTH = len("2013-08")


def instants(values: Sequence[str | None]) -> tuple[pl.Series, Check]:
    """RFC 3339 times as Int64 microseconds UTC, null where there is none or a bad one; flags of the bad ones."""
    texts = pl.Series("occurred_us", values, pl.String)
    times = texts.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False).dt.epoch("us")
    lengths = texts.str.len_bytes()
    good = times.is_between(_FIRST_US, _LAST_US, closed="left") & lengths.is_between(_SHORTEST, _LONGEST)
    return times, (
        texts.is_not_null() & ~good.fill_null(value=False),
        "occurred_at is not an RFC 3339 time with an offset, from 1970 to 2199",
    )


def dates(name: str, values: Sequence[str | None]) -> tuple[pl.Series, Check]:
    """Dates as pl.Date, and flags of the bad ones."""
    texts = pl.Series(name, values, pl.String)
    days = texts.str.to_date("%Y-%m-%d", strict=False)
    good = days.is_between(FIRST_DAY, LAST_DAY) & (texts.str.len_bytes() == _DATE)
    return days, (
        texts.is_not_null() & ~good.fill_null(value=False),
        f"{name} is not a date such as 2013-08-31, from 1900 on",
    )


def months(name: str, values: Sequence[str | None]) -> tuple[pl.Series, Check]:
    """Months such as 2013-08 as Int32 year * 12 + month - 1, and flags of the bad ones."""
    texts = pl.Series(name, values, pl.String)
    first = (texts + "-01").str.to_date("%Y-%m-%d", strict=False)
    good = first.is_between(FIRST_DAY, LAST_DAY) & (texts.str.len_bytes() == _MONTH)
    numbers = first.dt.year() * 12 + first.dt.month().cast(pl.Int32) - 1
    return numbers, (
        texts.is_not_null() & ~good.fill_null(value=False),
        f"{name} is not a month such as 2013-08, from 1900 on",
    )


def typed_columns(event_type: str, fields: Sequence[Sequence[Any]]) -> tuple[dict[str, pl.Series], list[Check]]:
    """The columns of FIELDS[event_type], from its fields' values in their order, and flags of impossible rows."""
    columns: dict[str, pl.Series] = {}
    checks: list[Check] = []
    for (name, dtype), values in zip(FIELDS[event_type].items(), fields, strict=True):
        if dtype == pl.Date:
            columns[name], check = dates(name, values)
            checks.append(check)
        elif name == "bill_month":
            columns[name], check = months(name, values)
            checks.append(check)
        else:
            columns[name] = pl.Series(name, values, dtype)
    checks.extend(_conditions(event_type, columns))
    return columns, checks


def _conditions(event_type: str, columns: dict[str, pl.Series]) -> Iterator[Check]:
    """The same as `events.CONDITIONS` says."""
    if event_type == "usage.voice":
        neither = columns["seconds"].is_null() & columns["billed_minutes"].is_null()
        yield neither, "a call has neither seconds nor billed_minutes"
    if event_type == "charge":
        refund, amount = columns["kind"] == "refund", columns["amount_minor"]
        yield refund & (amount > 0), "a refund is above zero"
        yield ~refund & (amount < 0), "a charge that is no refund is below zero"
