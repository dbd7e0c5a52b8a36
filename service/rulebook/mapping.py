"""The mapping engine: rows of an operator's file, or JSON records of its feed, told as our events."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from service.rulebook.mapping_form import Mapping, Spread, Telling
from service.rulebook.mapping_rows import ROW, Rejects, RowsError, rows_of_frame, rows_of_records
from service.rulebook.mapping_source import load_mapping, read_mapping

__all__ = [
    "EVENTS",
    "Expanded",
    "Mapping",
    "RowsError",
    "expand",
    "expand_records",
    "expand_values",
    "load_mapping",
    "name_rows",
    "read_mapping",
]

# Events as bytes of their JSON, with what a reader needs for order and partition.
EVENTS = {
    "occurred_us": pl.Int64(),
    "subscriber_id": pl.String(),
    "type": pl.String(),
    "value": pl.Binary(),
}
REJECTS = {"row": pl.Int64(), "reason": pl.String()}
_CLOCK_CHANGE = pl.duration(hours=1)


@dataclass(frozen=True, slots=True)
class Expanded:
    """Events in order of time (columns of EVENTS, and ROW: the row that told them), and why other rows tell none."""

    events: pl.DataFrame
    rejects: pl.DataFrame


def expand(mapping: Mapping, rows: pl.DataFrame) -> Expanded:
    """The events that rows of a file tell; `rows` has the columns that the mapping names.

    Raises: RowsError where a column is missing or of a wrong type.
    """
    return _expanded(mapping, *rows_of_frame(mapping, rows))


def expand_records(mapping: Mapping, records: Sequence[bytes]) -> Expanded:
    """The events that JSON records tell."""
    return _expanded(mapping, *rows_of_records(mapping, records))


def expand_values(mapping: Mapping) -> Callable[[list[bytes]], list[list[bytes] | str]]:
    """A function from JSON records to our JSON events of each, or the reason why one is rejected.

    A record that tells nothing (a type the mapping has no event for) gives an empty list.
    """

    def tell(records: list[bytes]) -> list[list[bytes] | str]:
        expanded = expand_records(mapping, records)
        told: list[list[bytes] | str] = [[] for _ in records]
        for row, value in expanded.events.select(ROW, "value").iter_rows():
            told[row].append(value)
        for row, reason in expanded.rejects.iter_rows():
            told[row] = reason
        return told

    return tell


def name_rows(mapping: Mapping, rows: pl.DataFrame) -> pl.DataFrame:
    """(row, subscriber_id) of the rows of a file that are not rejected; `row` counts from 0.

    Raises: RowsError where a column is missing or of a wrong type.
    """
    good, rejects = rows_of_frame(mapping, rows)
    return _named(mapping, good, rejects).select(pl.col(ROW).alias("row"), subscriber_id="_subscriber")


def _expanded(mapping: Mapping, rows: pl.DataFrame, rejects: Rejects) -> Expanded:
    events = _tell(mapping, rows, rejects)
    # A rejected row tells nothing at all, also where another half of its batch had gone well.
    told = [(row, rejects[row]) for row in sorted(rejects)]
    return Expanded(events, pl.DataFrame(told, schema=REJECTS, orient="row"))


def _tell(mapping: Mapping, rows: pl.DataFrame, rejects: Rejects) -> pl.DataFrame:
    """The events of rows; where one row makes the whole fail, halves are tried until it stands alone."""
    if rows.is_empty():
        return pl.DataFrame(schema={**EVENTS, ROW: pl.Int64})
    try:
        fresh: Rejects = {}
        events = _tell_all(mapping, rows, fresh)
    except pl.exceptions.PolarsError as error:
        if rows.height == 1:
            rejects[rows[ROW].item()] = str(error).splitlines()[0]
            return pl.DataFrame(schema={**EVENTS, ROW: pl.Int64})
        half = rows.height // 2
        parts = [_tell(mapping, part, rejects) for part in (rows[:half], rows[half:])]
        return pl.concat(parts).sort("occurred_us", ROW, maintain_order=True)
    rejects |= fresh
    return events


def _tell_all(mapping: Mapping, rows: pl.DataFrame, rejects: Rejects) -> pl.DataFrame:
    rows = _named(mapping, rows, rejects)
    key = pl.concat_str([_escaped(part) for part in mapping.key], separator="/")
    rows = _with(rows.with_columns(_key=key), "_key", "the key is null", rejects)
    numbered = enumerate(mapping.tellings)
    parts = [part for number, telling in numbered for part in _events(mapping, telling, number, rows)]
    if not parts:
        return pl.DataFrame(schema={**EVENTS, ROW: pl.Int64})
    ordered = pl.concat(parts).sort("occurred_us", ROW, "_telling")
    return ordered.select(pl.col(name).cast(dtype) for name, dtype in {**EVENTS, ROW: pl.Int64()}.items())


def _named(mapping: Mapping, rows: pl.DataFrame, rejects: Rejects) -> pl.DataFrame:
    """Rows that are not rejected, with the mapping's own names and `_subscriber`."""
    for reason, when in mapping.rejects:
        hit = when.fill_null(value=False)
        rejects |= dict.fromkeys(rows.filter(hit)[ROW].to_list(), reason)
        rows = rows.filter(~hit)
    for name, let in mapping.lets:
        rows = rows.with_columns(let.alias(name))
    return _with(rows.with_columns(_subscriber=mapping.subscriber), "_subscriber", "the subscriber is null", rejects)


def _with(rows: pl.DataFrame, column: str, reason: str, rejects: Rejects) -> pl.DataFrame:
    rejects |= dict.fromkeys(rows.filter(pl.col(column).is_null())[ROW].to_list(), reason)
    return rows.filter(pl.col(column).is_not_null())


def _escaped(part: pl.Expr) -> pl.Expr:
    """A part of an id in which a slash can only be the end of the part."""
    return part.str.replace_all("%", "%25", literal=True).str.replace_all("/", "%2F", literal=True)


def _events(mapping: Mapping, telling: Telling, number: int, rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The events of one telling: columns of EVENTS, ROW and _telling, not sorted."""
    if telling.when is not None:
        rows = rows.filter(telling.when.fill_null(value=False))
    fields = {name: value.alias(name) for name, value in telling.fields}
    names = {f"_field_{name}": value.alias(f"_field_{name}") for name, value in fields.items()}
    rows = rows.with_columns(*names.values(), **_moments(telling))
    if telling.spread is not None:
        rows = _spread(rows, telling.spread)
    rows = rows.filter(pl.col("_day" if telling.at is None else "_at").is_not_null())
    if telling.at is None:
        rows = rows.with_columns(_at=_instant(mapping.zone, telling.time_s))
    rows = rows.with_columns(_at=pl.col("_at").dt.convert_time_zone("UTC"))
    if telling.once:
        rows = rows.sort("_at", ROW).unique("_subscriber", keep="first", maintain_order=True)
    if rows.is_empty():
        return
    rows = rows.with_columns(_id=_id(mapping, telling))
    yield rows.select(
        pl.col("_at").dt.epoch("us").alias("occurred_us"),
        pl.col("_subscriber").alias("subscriber_id"),
        pl.lit(telling.type).alias("type"),
        _encoded(rows, telling).alias("value"),
        ROW,
        pl.lit(number).alias("_telling"),
    )


def _moments(telling: Telling) -> dict[str, pl.Expr]:
    if telling.spread is not None:
        return {"_first": telling.spread.first, "_last": telling.spread.last}
    if telling.on is not None:
        return {"_day": telling.on}
    assert telling.at is not None  # noqa: S101 - a telling has exactly one of the three
    return {"_at": telling.at}


def _spread(rows: pl.DataFrame, spread: Spread) -> pl.DataFrame:
    """One line a day from `_first` to `_last`: equal parts, towards zero, and what is left over on the last day.

    Days without a part are left out. A span that ends before it begins is its first day alone: totals are never lost.
    """
    field = f"_field_{spread.field}"
    total, days = pl.col(field), pl.col("_days")
    rows = rows.filter(pl.col("_first").is_not_null() & pl.col("_last").is_not_null() & total.is_not_null())
    rows = rows.with_columns(_days=((pl.col("_last") - pl.col("_first")).dt.total_days() + 1).clip(lower_bound=1))
    part = total.sign() * (total.abs() // days)
    rows = rows.with_columns(_part=part, _rest=total - part * (days - 1), _nth=pl.int_ranges(0, days))
    rows = rows.explode("_nth")
    rows = rows.with_columns(
        pl.when(pl.col("_nth") == days - 1).then("_rest").otherwise("_part").alias(field),
        _day=pl.col("_first") + pl.duration(days=pl.col("_nth")),
    )
    return rows.filter(pl.col(field) != 0)


def _instant(zone: str, time_s: int) -> pl.Expr:
    """The instant of a local time of `_day`; one that a clock change leaves out is taken an hour later."""
    local = pl.col("_day").cast(pl.Datetime("us")) + pl.duration(seconds=time_s)
    later = local + _CLOCK_CHANGE
    zoned = [t.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null") for t in (local, later)]
    return pl.coalesce(zoned)


def _id(mapping: Mapping, telling: Telling) -> pl.Expr:
    parts = [pl.lit(mapping.name), pl.col("_key"), pl.lit(telling.name)]
    if telling.spread is not None:
        parts.append(pl.col("_day").dt.to_string("%Y-%m-%d"))
    return pl.concat_str(parts, separator="/")


def _encoded(rows: pl.DataFrame, telling: Telling) -> pl.Expr:
    """The event's JSON; null fields are left out."""
    fields = [name for name, _ in telling.fields]
    instant = pl.col("_at").dt.to_string("%Y-%m-%dT%H:%M:%S%.6fZ").str.replace(".000000Z", "Z", literal=True)
    event = pl.struct(
        pl.col("_id").alias("id"),
        pl.lit(telling.type).alias("type"),
        pl.col("_subscriber").alias("subscriber_id"),
        instant.alias("occurred_at"),
        *(pl.col(f"_field_{name}").alias(name) for name in fields),
    )
    line = event.struct.json_encode()
    for name in fields:
        if rows[f"_field_{name}"].null_count():
            # A quotation mark within a string is escaped, so this is found nowhere else.
            line = line.str.replace(f',"{name}":null', "", literal=True)
    return line.cast(pl.Binary)
