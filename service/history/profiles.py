"""A table of who the subscribers are, told as profile and consent events."""

from datetime import date
from pathlib import Path

import polars as pl

from service.core.events import CHANNELS, FIELDS
from service.history.files import FileError, read_rows
from service.rulebook.mapping import EVENTS, Expanded, Mapping, RowsError, expand
from service.rulebook.mapping_form import Column, ColumnType, Telling
from service.rulebook.problems import suggest

_PROFILE = FIELDS["subscriber.profile"]
_CONSENTS = {f"consent_{channel}": channel for channel in CHANNELS}
_TYPES: dict[type[pl.DataType], ColumnType] = {pl.String: "text", pl.Int64: "integer", pl.Date: "day"}


def read_profile_rows(file: Path) -> pl.DataFrame:
    """The table itself, Parquet or CSV, with none but known columns.

    These are subscriber_id, any field of a profile event, and consent_call, consent_sms, consent_manager.
    Raises: FileError.
    """
    rows = read_rows(file)
    known = ["subscriber_id", *_PROFILE, *_CONSENTS]
    for name in rows.columns:
        if name not in known:
            raise FileError(f"{file}: there is no profile column {name}{suggest(name, known)}; drop or rename it")
    if "subscriber_id" not in rows.columns:
        raise FileError(f"{file} has no column subscriber_id")
    return rows


def tell_profiles(rows: pl.DataFrame, file: Path, day: date, zone: str) -> Expanded:
    """Rows of a table as events at the start of local `day` (columns of EVENTS), and why rows tell none.

    `file` is where they are from. Raises: FileError.
    """
    try:
        told = expand(_mapping(rows.columns, day, zone), rows)
    except RowsError as error:
        raise FileError(f"{file}: {error}") from error
    return Expanded(told.events.select(list(EVENTS)), told.rejects)


def _mapping(names: list[str], day: date, zone: str) -> Mapping:
    fields = [name for name in names if name in _PROFILE]
    columns = [
        Column("subscriber_id", "text"),
        *(Column(name, _TYPES[_PROFILE[name].base_type()], optional=True) for name in fields),
        *(Column(name, "flag", optional=True) for name in _CONSENTS if name in names),
    ]
    on = pl.lit(day)
    consents = [
        Telling(
            name=name,
            type="consent.changed",
            fields=(("channel", pl.lit(channel)), ("granted", pl.col(name))),
            when=pl.col(name).is_not_null(),
            on=on,
        )
        for name, channel in _CONSENTS.items()
        if name in names
    ]
    profile = Telling("profile", "subscriber.profile", tuple((name, pl.col(name)) for name in fields), on=on)
    subscriber = pl.col("subscriber_id")
    return Mapping("profiles", zone, _paths(columns), (), (), subscriber, (subscriber,), (profile, *consents))


def _paths(columns: list[Column]) -> tuple[Column, ...]:
    """A column's path is what faults call it."""
    return tuple(Column(c.name, c.type, c.optional, (c.name,)) for c in columns)
