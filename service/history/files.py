"""Usage files as events: Parquet, CSV and lines of JSON through a mapping, or our own event JSON as it is."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import polars as pl

from service.rulebook.mapping import EVENTS, Expanded, Mapping, RowsError, expand, expand_records
from service.rulebook.problems import suggest

_BLOCK = 1 << 25  # bytes of lines that are taken apart at a time
_LINES = (".ndjson", ".jsonl")
_ENDINGS = (".parquet", ".csv", *_LINES)


class FileError(Exception):
    """A file that cannot be used, in one sentence that names it and the remedy."""


@dataclass(frozen=True, slots=True)
class Source:
    """A usage file, and the mapping that tells its rows; without one it holds our own events, a JSON object a line."""

    file: Path
    mapping: Mapping | None


@dataclass(frozen=True, slots=True)
class UsageFile:
    """Events of a file (columns of EVENTS), and the rows (from 0 on) that tell none, with their reasons.

    Mapped events are in order of time. Our own are in the order of the file, and a line that cannot be read is among
    them with nulls beside its bytes.
    """

    events: pl.DataFrame
    rejects: pl.DataFrame


class _Glance(msgspec.Struct):
    """What order and key need of an event; everything is checked later."""

    occurred_at: str | None = None
    subscriber_id: str | None = None
    type: str | None = None


def read_usage(source: Source) -> UsageFile:
    """The events of a usage file.

    Raises: FileError.
    """
    file, mapping = source.file, source.mapping
    ending = _ending(file)
    if mapping is None:
        if ending not in _LINES:
            raise FileError(f"{file} holds rows, not our events: name the mapping that tells them, with --mapping")
        return UsageFile(_own_events(file), pl.DataFrame(schema={"row": pl.Int64, "reason": pl.String}))
    try:
        expanded = _expanded(file, ending, mapping)
    except RowsError as error:
        raise FileError(f"{file} does not fit the mapping {mapping.name}: {error}") from error
    return UsageFile(expanded.events.select(list(EVENTS)), expanded.rejects)


def read_rows(file: Path) -> pl.DataFrame:
    """The rows of a Parquet or CSV file; all columns of a CSV file are text.

    Raises: FileError.
    """
    ending = _ending(file)
    try:
        if ending == ".parquet":
            return pl.read_parquet(file)
        if ending == ".csv":
            return pl.read_csv(file, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise FileError(f"{file} cannot be read as {ending[1:]}: {str(error).splitlines()[0]}") from error
    raise FileError(f"{file} holds lines of JSON where a table is wanted: give a .parquet or .csv file")


def _ending(file: Path) -> str:
    ending = file.suffix.lower()
    if ending not in _ENDINGS:
        raise FileError(
            f"{file} has an ending that says nothing of its form: rename it to one of {', '.join(_ENDINGS)}"
        )
    try:
        there = file.is_file()
    except OSError as error:
        raise FileError(f"{file} cannot be read: {error.strerror}") from error
    if not there:
        near = suggest(file.name, (path.name for path in file.parent.glob("*"))) if file.parent.is_dir() else ""
        raise FileError(f"there is no file {file}{near}")
    return ending


def _expanded(file: Path, ending: str, mapping: Mapping) -> Expanded:
    if ending in _LINES:
        return expand_records(mapping, [line for block in _blocks(file) for line in block])
    return expand(mapping, read_rows(file))


def _blocks(file: Path) -> Iterator[list[bytes]]:
    """The lines of a file that are not empty, some at a time: as objects they take several times their size."""
    try:
        with file.open("rb") as opened:
            while lines := opened.readlines(_BLOCK):
                yield [line.removesuffix(b"\n") for line in lines if line.strip()]
    except OSError as error:
        raise FileError(f"{file} cannot be read: {error.strerror}") from error


def _own_events(file: Path) -> pl.DataFrame:
    return pl.concat([pl.DataFrame(schema=EVENTS), *(_glanced(lines) for lines in _blocks(file))])


def _glanced(lines: list[bytes]) -> pl.DataFrame:
    decoder = msgspec.json.Decoder(_Glance)
    seen: list[_Glance] = []
    for line in lines:
        try:
            seen.append(decoder.decode(line))
        except (ValueError, RecursionError):  # bad JSON, bad text; nesting without end
            seen.append(_Glance())
    columns = {
        "at": [one.occurred_at for one in seen],
        "subscriber_id": [one.subscriber_id for one in seen],
        "type": [one.type for one in seen],
    }
    frame = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
    at = pl.col("at").str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
    values = pl.Series("value", lines, pl.Binary)
    return frame.with_columns(values, at.dt.epoch("us").alias("occurred_us")).select(list(EVENTS))
