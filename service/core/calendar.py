"""Local calendar days of the operator's zone, as days since 1970, and the instants at which they end."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

EPOCH = date(1970, 1, 1)
DAY_US = 86_400_000_000


def local_days(times_us: np.ndarray, zone: str) -> np.ndarray:
    """Days since 1970 (int32) on which instants (UTC microseconds) fall in `zone`; exact over its clock changes."""
    if zone == "UTC":
        return (times_us // DAY_US).astype(np.int32)
    times = pl.Series(times_us).cast(pl.Datetime("us", "UTC")).dt.convert_time_zone(zone)
    return times.dt.date().cast(pl.Int32).to_numpy()


def day_at(time_us: int, zone: str) -> int:
    """The day since 1970 on which one instant (UTC microseconds) falls in `zone`."""
    return int(local_days(np.array([time_us]), zone)[0])


def day_end_us(day: int, zone: str) -> int:
    """The instant (UTC microseconds) at which a local day ends, which is when the next one starts."""
    following = EPOCH + timedelta(days=day + 1)
    start = datetime(following.year, following.month, following.day, tzinfo=ZoneInfo(zone))
    return round(start.timestamp()) * 1_000_000


def to_date(day: int) -> date:
    """The calendar date of a day number."""
    return EPOCH + timedelta(days=day)


def to_day(value: date) -> int:
    """The day number of a calendar date."""
    return (value - EPOCH).days


def month_of(day: int) -> int:
    """The month a day lies in, as year * 12 + month - 1."""
    value = to_date(day)
    return value.year * 12 + value.month - 1


def month_days(month: int) -> range:
    """The day numbers of a month."""
    first, following = (date(number // 12, number % 12 + 1, 1) for number in (month, month + 1))
    return range(to_day(first), to_day(following))


def month_number(text: str) -> int:
    """The inverse of `month_text`."""
    year, _, month = text.partition("-")
    return int(year) * 12 + int(month) - 1


def month_text(month: int) -> str:
    """A month number as people write it, 2013-06."""
    return f"{month // 12:04d}-{month % 12 + 1:02d}"
