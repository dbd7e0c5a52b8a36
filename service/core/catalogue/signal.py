"""One signal: what people and the type check of rules need to know of it, and the terms that all of them share."""

from collections.abc import Mapping
from typing import NamedTuple

import polars as pl

from service.core.attributes import UNKNOWN_AMOUNT, UNKNOWN_DAY
from service.core.state import DEFAULT_WINDOWS_DAYS

I8, I32, I64, F64, STR, BOOL = pl.Int8(), pl.Int32(), pl.Int64(), pl.Float64(), pl.String(), pl.Boolean()

ROW, DAY = "_row", "_day"  # raw columns: the row, and the closed day that everything is as of
TODAY = pl.col(DAY)

# Units whose figures are never below zero; money and shares may be.
_COUNTED = frozenset({"days", "minutes", "seconds", "bytes", "messages", "events", "bundles", "complaints", "times"})
_BILLS, _RANK, _CODE = "bills", "rank", "code"


class Signal(NamedTuple):
    """What people and the type check of rules need to know of a signal."""

    dtype: pl.DataType
    unit: str
    meaning: str
    null_when: str = "never"
    among: tuple[str, ...] = ()  # all the values there can be, where that is a closed set
    may_pass: bool = False  # what counts down to a day may have that behind it

    @property
    def domain(self) -> pl.DataType:
        """The type with the closed set, so that a rule cannot compare with what never is."""
        return pl.Enum(self.among) if self.among else self.dtype

    @property
    def least(self) -> float | None:
        """What no value is below; None: no bound."""
        return None if self.may_pass else _LEAST.get(self.unit)

    @property
    def most(self) -> float | None:
        """What no value is above; None: no bound."""
        return _MOST.get(self.unit)


_LEAST: Mapping[str, float] = {**dict.fromkeys(_COUNTED, 0), _BILLS: 0, _CODE: 0, "factor": 0, _RANK: 1, "share": 0}
_MOST: Mapping[str, float] = {"ratio": 1, "share": 1, _BILLS: 3, _CODE: 99}

Made = Mapping[str, tuple[Signal, pl.Expr]]


class Terms(NamedTuple):
    """Which windows there are, what else than the days before they are compared with, and the tiers' upper bounds."""

    windows_days: tuple[int, ...] = DEFAULT_WINDOWS_DAYS
    year_on_year: bool = False
    photo_month: int | None = None
    minor_digits: int = 2
    tops: tuple[tuple[str, tuple[int, ...]], ...] = ()


DEFAULT_TERMS = Terms()


def nearest(windows_days: tuple[int, ...], days: int) -> int:
    """The window that stands for one of so many days: itself, or the one that is next to it in length."""
    return min(windows_days, key=lambda one: (abs(one - days), one))


def known_day(name: str) -> pl.Expr:
    """A day that is null where it is not known."""
    return pl.when(pl.col(name) != UNKNOWN_DAY).then(pl.col(name))


def days_since(day: pl.Expr) -> pl.Expr:
    """Days from a day to the closed one; what was told of the open day already is of today."""
    return (TODAY - day).clip(lower_bound=0)


def known_amount(name: str) -> pl.Expr:
    """An amount that is null where it is not known."""
    return pl.when(pl.col(name) != UNKNOWN_AMOUNT).then(pl.col(name))


def flag(name: str) -> pl.Expr:
    """Yes or no, null where nobody told."""
    return pl.when(pl.col(name) >= 0).then(pl.col(name) == 1)


def drop(now: pl.Expr, baseline: pl.Expr) -> pl.Expr:
    """How far something fell below its baseline, as a share of it, all of it at most; null without a positive one."""
    return pl.when(baseline > 0).then((1 - now / baseline).clip(upper_bound=1))
