"""Every subscriber's windows as of a day, offline, by the core that runs live."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import polars as pl

from service.core.calendar import to_day
from service.core.measures import MEASURES
from service.core.state import Config, State
from service.history.files import FileError, Source, read_usage
from service.history.past import Lot, Watch, live_through


def windows_of(state: State, windows_days: Sequence[int]) -> pl.DataFrame:
    """(subscriber_id, <measure>_<days>d ...): the sums of closed days, one line per subscriber, by id."""
    rows = len(state.roster)
    sums = state.windows.frame(rows)
    names = [f"{measure}_{days}d" for days in windows_days for measure in MEASURES]
    ids = state.roster.strings.clone().alias("subscriber_id")
    return sums.select(ids, pl.col(names).cast(pl.Int64)).drop_nulls("subscriber_id").sort("subscriber_id")


def write_windows(source: Source, as_of: date, out: Path, config: Config, watch: Watch = iter) -> dict[str, int | str]:
    """Compute the windows of a usage file as of the close of a day, and write them as Parquet.

    Returns: subscribers, events (in state), repeated, late, rejected (events), ignored, rows_rejected,
    last_day (of the file's events), out.
    Raises: FileError.
    """
    usage = read_usage(source)
    try:
        past, last_day = live_through(usage.events, Lot(config), to_day(as_of), watch)
    except FileError as error:
        raise FileError(f"{source.file}: {error}") from error
    frame = windows_of(past.state, config.windows_days)
    try:
        frame.write_parquet(out)
    except OSError as error:
        raise FileError(f"{out} cannot be written: {error.strerror or error}") from error
    return {
        "subscribers": frame.height,
        **past.counts,
        "rows_rejected": usage.rejects.height,
        "last_day": str(last_day),
        "out": str(out),
    }
