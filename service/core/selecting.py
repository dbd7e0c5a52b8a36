"""polars' select and with_columns for frames of any size: a turn of few records is made of many small ones."""

from collections.abc import Iterable

import polars as pl

_FEW = 8192  # rows that one thread is through with before others would have woken up

Expressions = pl.Expr | str | Iterable[pl.Expr | str]


def select(frame: pl.DataFrame, *columns: Expressions, **named: pl.Expr) -> pl.DataFrame:
    """As `frame.select`."""
    chosen = frame.select_seq if frame.height < _FEW else frame.select
    return chosen(*columns, **named)


def with_columns(frame: pl.DataFrame, *columns: Expressions, **named: pl.Expr) -> pl.DataFrame:
    """As `frame.with_columns`."""
    added = frame.with_columns_seq if frame.height < _FEW else frame.with_columns
    return added(*columns, **named)
