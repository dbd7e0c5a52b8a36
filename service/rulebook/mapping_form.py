"""What a mapping is once it is read and checked: columns of a row, and the events each row tells."""

from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from typing import Literal

import polars as pl

ColumnType = Literal["integer", "number", "text", "flag", "day", "instant"]
Take = Literal["sum", "first", "last", "max", "min", "count"]

DTYPES: MappingOf[str, pl.DataType] = {
    "integer": pl.Int64(),
    "number": pl.Float64(),
    "text": pl.String(),
    "flag": pl.Boolean(),
    "day": pl.Date(),
    "instant": pl.Datetime("us", "UTC"),
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a row. In a JSON record `path` leads to it; a step ending in [] goes through a list's items.

    `form` is how an instant or a day is written where it is not ISO 8601 (a strptime pattern).
    """

    name: str
    type: ColumnType
    optional: bool = False
    path: tuple[str, ...] = ()
    take: Take | None = None
    form: str | None = None

    @property
    def dtype(self) -> pl.DataType:
        """The dtype of its values."""
        return DTYPES[self.type]


@dataclass(frozen=True, slots=True)
class Spread:
    """An aggregate told as one event a day from `first` to `last`: `field` in equal integer parts, the rest last."""

    field: str
    first: pl.Expr
    last: pl.Expr


@dataclass(frozen=True, slots=True)
class Telling:
    """One event that a row may tell: exactly one of `at` (instant), `on` (day) and `spread` says when.

    `once`: of a subscriber's rows only the earliest tells it, as far as one file or batch goes.
    """

    name: str
    type: str
    fields: tuple[tuple[str, pl.Expr], ...]
    when: pl.Expr | None = None
    at: pl.Expr | None = None
    on: pl.Expr | None = None
    spread: Spread | None = None
    time_s: int = 0  # seconds after local midnight, of `on` and `spread`
    once: bool = False


@dataclass(frozen=True, slots=True)
class Mapping:
    """How rows of an operator's file, or JSON records of its feed, become our events."""

    name: str
    zone: str
    columns: tuple[Column, ...]
    lets: tuple[tuple[str, pl.Expr], ...]
    rejects: tuple[tuple[str, pl.Expr], ...]
    subscriber: pl.Expr
    key: tuple[pl.Expr, ...]
    tellings: tuple[Telling, ...]

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """Dtypes of the columns a row has."""
        return {column.name: column.dtype for column in self.columns}
