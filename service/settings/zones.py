"""Time zones: a name counts where both the standard library and polars know it, since days are told by either."""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl


def is_zone(name: str) -> bool:
    """Whether a name is a time zone of the IANA database; `localtime` and `right/UTC` are files beside its zones."""
    try:
        ZoneInfo(name)
        pl.Series([0], dtype=pl.Datetime("us", "UTC")).dt.convert_time_zone(name).dt.date()
    except (ZoneInfoNotFoundError, ValueError, OSError, pl.exceptions.PolarsError):
        return False
    return True
