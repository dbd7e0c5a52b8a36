"""Daily aggregates of usage in Parquet files, more than memory holds: dealt out to shards on disk, checked, in order.

files ──► deal: one folder a partition ──► settle: checked, ids numbered, in order of days ──► one day at a time
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from service.core.calendar import to_date
from service.core.measures import MEASURES, PANE
from service.history.files import FileError
from service.rulebook.problems import suggest
from service.wire.decode import Intake
from service.wire.partitioning import partitions_of

_ID, _DAY = "subscriber_id", "day"
_KEYS: Mapping[str, pl.DataType] = {_ID: pl.String(), _DAY: pl.Date()}
_MAY_BE_NEGATIVE = ("spend", "recharge")  # refunds and reversals are taken off
_HOME = "home"
_IDS, _LINES = "ids.parquet", "lines.parquet"


@dataclass(frozen=True, slots=True)
class Settled:
    """The checked lines of one partition in its folder: ids, and per day who used what, by the number of the id."""

    folder: Path
    days: tuple[int, ...]  # with any line, ascending
    lines: int

    def ids(self) -> pl.Series:
        """All subscribers, ascending; their places are the numbers of `of_day`."""
        return pl.read_parquet(self.folder / _IDS)[_ID]

    def of_day(self, day: int, rows: np.ndarray) -> pl.DataFrame:
        """A day's usage (columns of PANE, ascending by row), where number n stands for row `rows[n]`."""
        lines = pl.scan_parquet(self.folder / _LINES).filter(pl.col(_DAY) == day).collect()
        told = lines.with_columns(row=pl.Series(rows[lines["row"].to_numpy()]))
        return told.select(
            pl.col(name).cast(dtype) if name in told.columns else pl.lit(0, dtype).alias(name)
            for name, dtype in PANE.items()
        ).sort("row")


def scan_aggregates(file: Path) -> pl.LazyFrame:
    """The lines of a Parquet file, of all in a folder, or of all that a pattern such as `days/*.parquet` names.

    Columns: subscriber_id, day (Int32, days since 1970), and the measures that are told, Int64; null is 0.
    Raises: FileError.
    """
    files = _files(file)
    if not files:
        raise FileError(f"{file} names no Parquet file")
    try:
        lines = pl.scan_parquet(files, hive_partitioning=False)
        schema = lines.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable(file, error) from error
    _check_columns(file, schema)
    measures = [pl.col(name).cast(pl.Int64).fill_null(0) for name in MEASURES if name in schema]
    return lines.select(pl.col(_ID), pl.col(_DAY).cast(pl.Int32), *measures)


def deal(lines: pl.LazyFrame, file: Path, folder: Path, intake: Intake) -> dict[int, Path]:
    """Write lines with a subscriber_id into a folder for each partition that has any; returns these by partition.

    `file` is where they are from. Raises: FileError.
    """

    def homes(ids: pl.Series) -> pl.Series:
        keys = ids.fill_null("").cast(pl.Binary).to_list()
        return pl.Series(partitions_of(keys, intake.partitions, intake.partitioner))

    home = pl.col(_ID).cast(pl.String).map_batches(homes, return_dtype=pl.Int64, is_elementwise=True)
    folder.mkdir()
    try:
        lines.with_columns(home.alias(_HOME)).sink_parquet(
            pl.PartitionBy(folder, key=_HOME, include_key=False), compression="lz4", maintain_order=False, mkdir=True
        )
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable(file, error) from error
    return {int(path.name.removeprefix(f"{_HOME}=")): path for path in sorted(folder.iterdir())}


def settle(dealt: Path, file: Path, today: int) -> Settled:
    """Check and order the lines of one partition; `today` is the last day that can have been.

    Raises: FileError, in a sentence that begins with `file`.
    """
    lines = pl.read_parquet(dealt / "*.parquet")
    _check_lines(file, lines, today)
    ids = lines[_ID].unique().sort()
    numbers = pl.LazyFrame({_ID: ids, "row": np.arange(len(ids), dtype=np.int32)})
    ordered = lines.lazy().join(numbers, on=_ID).drop(_ID).sort(_DAY, "row").collect()
    days, rows = ordered[_DAY], ordered["row"]
    again = (days == days.shift(1)) & (rows == rows.shift(1))
    if again.any():
        twice = to_date(days.filter(again).item(0))
        raise FileError(f"{file} has two lines of one subscriber on {twice}: add them up first")
    ids.to_frame().write_parquet(dealt / _IDS)
    ordered.write_parquet(dealt / _LINES, compression="lz4")
    return Settled(dealt, tuple(days.unique().sort().to_list()), ordered.height)


def _files(file: Path) -> list[Path]:
    if file.is_dir():
        return sorted(file.glob("*.parquet"))
    return [file] if file.exists() else sorted(file.parent.glob(file.name))


def _check_columns(file: Path, schema: pl.Schema) -> None:
    for name, dtype in _KEYS.items():
        if name not in schema:
            raise FileError(f"{file} has no column {name}: aggregates have subscriber_id, day and measures")
        if schema[name] != dtype:
            raise FileError(f"{file}: {name} is {schema[name]} and has to be {dtype}")
    told = [name for name in schema if name not in _KEYS]
    for name in told:
        if name not in MEASURES:
            raise FileError(f"{file}: there is no measure {name}{suggest(name, MEASURES)}; drop or rename it")
        if not schema[name].is_integer():
            raise FileError(f"{file}: {name} is {schema[name]} and has to be whole numbers of {MEASURES[name][0]}")
    if not told:
        raise FileError(f"{file} tells no measure; there are {', '.join(MEASURES)}")


def _check_lines(file: Path, lines: pl.DataFrame, today: int) -> None:
    if (lines[_ID].fill_null("") == "").any():
        raise FileError(f"{file} has lines without a subscriber_id")
    if lines[_DAY].has_nulls():
        raise FileError(f"{file} has lines without a day")
    last = lines.select(pl.max(_DAY)).item()
    if last > today:
        raise FileError(f"{file} has lines of {to_date(last)}, a day yet to come")
    for name in _never_negative(lines.columns):
        below = lines.filter(pl.col(name) < 0)
        if below.height:
            raise FileError(f"{file}: {name} is below zero on {to_date(below[_DAY].item(0))}, which cannot be")


def _never_negative(columns: list[str]) -> Iterator[str]:
    return (name for name in columns if name in MEASURES and name not in _MAY_BE_NEGATIVE)


def _unreadable(file: Path, error: Exception) -> FileError:
    return FileError(f"{file} cannot be read as Parquet: {str(error).splitlines()[0]}")
