"""Rows for a mapping: JSON records flattened by its paths, and file columns brought to its types; bad rows are told."""

import sys
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Mapping as MappingOf
from datetime import UTC, datetime
from typing import Any

import msgspec
import polars as pl

from service.rulebook.mapping_form import Column, Mapping
from service.rulebook.problems import suggest

ROW = "_row"  # the row's place among those that were read
_RFC_3339 = "%+"
_TAKES: MappingOf[str, Callable[[Sequence[Any]], Any]] = {
    "sum": sum,
    "first": lambda values: values[0],
    "last": lambda values: values[-1],
    "max": max,
    "min": min,
    "count": len,
}
_EXPECTED = {
    "integer": "a whole number",
    "number": "a number",
    "text": "text",
    "flag": "true or false",
    "day": "a day such as 2013-06-30",
    "instant": "an instant such as 2013-06-30T23:59:00Z",
}
# The dtype in which a JSON value is first held, and the Python types it may have.
_RAW: MappingOf[str, tuple[pl.DataType, frozenset[type]]] = {
    "integer": (pl.Int64(), frozenset((int,))),
    "number": (pl.Float64(), frozenset((int, float))),
    "text": (pl.String(), frozenset((str,))),
    "flag": (pl.Boolean(), frozenset((bool,))),
    "day": (pl.String(), frozenset((str,))),
    "instant": (pl.String(), frozenset((str,))),
}
_FIRST_INSTANT, _LAST_INSTANT = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_INTEGER_LIMIT = 2**63
_NUMBER_LIMIT = int(sys.float_info.max)
_MOST_SHOWN = 60  # characters of a value that is none

Rejects = dict[int, str]


class RowsError(Exception):
    """Rows that cannot be read at all, in one sentence."""


def rows_of_records(mapping: Mapping, records: Sequence[bytes]) -> tuple[pl.DataFrame, Rejects]:
    """JSON records as rows (the mapping's columns and ROW), and why others are none."""
    rejects: Rejects = {}
    places: list[int] = []
    told: list[dict[str, Any]] = []
    for at, record in enumerate(records):
        try:
            value = msgspec.json.decode(record)
        except (ValueError, RecursionError) as error:  # bad JSON, bad text; nesting without end
            rejects[at] = f"the record is no JSON: {_told(error)}"
            continue
        if isinstance(value, dict):
            places.append(at)
            told.append(value)
        else:
            rejects[at] = "the record is no JSON object"
    faults: Rejects = {}
    frame = pl.DataFrame([_series(column, told, faults) for column in mapping.columns])
    rows, more = rows_of_frame(mapping, frame)
    rejects |= {places[at]: reason for at, reason in (more | faults).items()}
    rows = rows.filter(~pl.col(ROW).is_in(list(faults)))
    return rows.with_columns(pl.Series(ROW, places, pl.Int64).gather(rows[ROW])), rejects


def _told(error: ValueError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return "text is not UTF-8" if isinstance(error, UnicodeError) else str(error)


def rows_of_frame(mapping: Mapping, frame: pl.DataFrame) -> tuple[pl.DataFrame, Rejects]:
    """A file's columns as rows (the mapping's columns and ROW), and why others are none.

    Raises: RowsError where a column is missing or of a type that cannot be meant.
    """
    texts = _texts(mapping, frame)
    rows = texts.select(_column(mapping, column, texts) for column in mapping.columns)
    instants = [column.name for column in mapping.columns if column.type == "instant"]
    believable = pl.col(instants).is_between(_FIRST_INSTANT, _LAST_INSTANT)
    rows = rows.with_columns(pl.when(believable).then(pl.col(instants))) if instants else rows
    rejects: Rejects = {}
    for column in mapping.columns:
        broken = rows[column.name].is_null()
        if not broken.any():
            continue
        if column.name in frame.columns:
            given = frame[column.name]
            for at in (broken & given.is_not_null()).arg_true().to_list():
                rejects.setdefault(at, _misfit(column, given[at]))
        if not column.optional:
            for at in broken.arg_true().to_list():
                rejects.setdefault(at, f"there is no {'.'.join(column.path)}")
    rows = rows.with_row_index(ROW).with_columns(pl.col(ROW).cast(pl.Int64))
    return rows.filter(~pl.col(ROW).is_in(list(rejects))), rejects


def _texts(mapping: Mapping, frame: pl.DataFrame) -> pl.DataFrame:
    """A file in which text is no longer held as bytes; what is not UTF-8 becomes null."""
    held = [column.name for column in mapping.columns if column.type == "text"]
    held = [name for name in held if frame.schema.get(name) == pl.Binary]
    try:
        return frame.with_columns(pl.col(held).cast(pl.String))
    except pl.exceptions.ComputeError:
        return frame.with_columns(pl.Series(name, list(map(_text, frame[name])), pl.String) for name in held)


def _text(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _column(mapping: Mapping, column: Column, frame: pl.DataFrame) -> pl.Expr:
    """A file's column as the mapping's type; what does not fit becomes null."""
    name = column.name
    if name not in frame.columns:
        if column.optional:
            return pl.lit(None, column.dtype).alias(name)
        raise RowsError(f"there is no column {name}{suggest(name, frame.columns)}")
    given = frame.schema[name]
    if given == pl.String:
        return _parsed(mapping, column)
    if isinstance(given, pl.Datetime) and column.type == "instant":
        zoned = pl.col(name) if given.time_zone else _zoned(pl.col(name), mapping.zone)
        return zoned.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    fits = given.is_numeric() if column.type in ("integer", "number") else given == column.dtype
    if column.type != "text" and not fits and given != pl.Null:
        raise RowsError(f"column {name} is {given}, expected {_EXPECTED[column.type]}")
    if given.is_nested():
        raise RowsError(f"column {name} is {given}, expected {_EXPECTED[column.type]}")
    if column.type == "integer" and given.is_float():
        # 3.0 is a whole number, 3.5 is none: it is not cut off but told.
        whole = pl.when(pl.col(name) == pl.col(name).round()).then(pl.col(name))
        return whole.cast(pl.Int64, strict=False).alias(name)
    return pl.col(name).cast(column.dtype, strict=False)


def _zoned(local: pl.Expr, zone: str) -> pl.Expr:
    """The instants of local times: the first of two, null for one that a clock change leaves out."""
    return local.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")


def _parsed(mapping: Mapping, column: Column) -> pl.Expr:
    text = pl.col(column.name)
    match column.type:
        case "instant" if column.form is not None and "%z" not in column.form:
            local = text.str.to_datetime(column.form, time_unit="us", strict=False)
            return _zoned(local, mapping.zone).dt.convert_time_zone("UTC")
        case "instant":
            return text.str.to_datetime(column.form or _RFC_3339, time_unit="us", time_zone="UTC", strict=False)
        case "day":
            return text.str.to_date(column.form or "%Y-%m-%d", strict=False)
        case "flag":
            flags = {"true": True, "false": False}
            return text.str.to_lowercase().replace_strict(flags, default=None, return_dtype=pl.Boolean)
        case "integer" | "number":
            return text.str.strip_chars().cast(column.dtype, strict=False)
        case "text":
            return text


def _misfit(column: Column, value: object) -> str:
    shown = repr(value) if len(repr(value)) <= _MOST_SHOWN else repr(value)[:_MOST_SHOWN] + "..."
    return f"{'.'.join(column.path)} is {shown}, expected {_EXPECTED[column.type]}"


def _series(column: Column, records: Sequence[MappingOf[str, Any]], faults: Rejects) -> pl.Series:
    """A column of JSON records as it is held first; values of another kind are null, and faults."""
    dtype, allowed = _RAW[column.type]
    if len(column.path) == 1 and column.take is None:
        name = column.path[0]
        values = [record.get(name) for record in records]
    else:
        values = [_taken(column, record) for record in records]
    if set(map(type, values)) <= allowed | {type(None)}:
        try:
            return pl.Series(column.name, values, dtype)
        except (OverflowError, TypeError, pl.exceptions.PolarsError):
            pass  # a number beyond 64 bits: it is looked for below
    for at, value in enumerate(values):
        if value is not None and not _fits(column, value, allowed):
            faults.setdefault(at, _misfit(column, value))
            values[at] = None
    return pl.Series(column.name, [int(v) if isinstance(v, float) and dtype.is_integer() else v for v in values], dtype)


def _fits(column: Column, value: object, allowed: frozenset[type]) -> bool:
    if column.type == "integer" and isinstance(value, float):
        return value.is_integer() and abs(value) < _INTEGER_LIMIT
    if column.type == "integer" and type(value) is int:
        return -_INTEGER_LIMIT <= value < _INTEGER_LIMIT
    if column.type == "number" and type(value) is int:
        return -_NUMBER_LIMIT <= value <= _NUMBER_LIMIT
    return type(value) in allowed


def _taken(column: Column, record: MappingOf[str, Any]) -> object:
    """The value that a path leads to; through a list, what is taken of its items' values."""
    found = [value for value in _walk(record, column.path) if value is not None]
    if column.take is None:
        return found[0] if found else None
    allowed = _RAW[column.type][1]
    if column.take == "count" or all(type(value) in allowed for value in found):
        # An empty list has nothing in it; a list that is not there says nothing.
        if not found:
            return 0 if column.take in ("sum", "count") and _has_list(record, column.path) else None
        return _TAKES[column.take](found)
    return next(value for value in found if type(value) not in allowed)


def _walk(value: object, path: Sequence[str]) -> Iterator[object]:
    if not path:
        yield value
    elif isinstance(value, dict):
        inner = value.get(path[0].removesuffix("[]"))
        if not path[0].endswith("[]"):
            yield from _walk(inner, path[1:])
        elif isinstance(inner, list):
            for item in inner:
                yield from _walk(item, path[1:])


def _has_list(record: MappingOf[str, Any], path: Sequence[str]) -> bool:
    at: object = record
    for step in path:
        at = at.get(step.removesuffix("[]")) if isinstance(at, dict) else None
        if step.endswith("[]"):
            return isinstance(at, list)
    return False
