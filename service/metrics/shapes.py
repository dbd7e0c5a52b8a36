"""What the metrics need to see of what the core makes; they lie below the core and cannot name its types."""

from collections.abc import Mapping
from typing import Protocol

import polars as pl


class Counted(Protocol):
    """Where the records of a turn ended."""

    @property
    def counted(self) -> int:
        """Records in state."""

    @property
    def late(self) -> int:
        """Records beyond their horizon."""

    @property
    def repeated(self) -> int:
        """Records that were in state already."""


class Committed(Protocol):
    """What is counted of a turn; `transitions` has one row per transition of an episode."""

    @property
    def counts(self) -> Counted:
        """Where its records ended."""

    @property
    def transitions(self) -> pl.DataFrame:
        """One row per transition of an episode: rule, kind, severity, transition, suppressed_by, orders."""

    @property
    def segments(self) -> pl.DataFrame:
        """One row for each subscriber who came into another segment: segment, market."""


class Sized(Protocol):
    """What says how much memory it holds."""

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""


class Book(Protocol):
    """Episodes, one line each; the frame is replaced when anything changes."""

    @property
    def frame(self) -> pl.DataFrame:
        """Columns row, rule, kind, severity, state, suppressed_by, money_at_risk_minor."""


class Doubting(Protocol):
    """Which markets' feeds are doubted."""

    @property
    def withheld(self) -> Mapping[int, frozenset[str]]:
        """By closed day (since 1970) the markets that were not judged on it."""


class Closed(Protocol):
    """How a day was closed."""

    @property
    def held(self) -> bool:
        """Whether more was to be published than may be without release."""


class Muting(Protocol):
    """A mute."""

    @property
    def since(self) -> int:
        """Its first day, as days since 1970."""

    @property
    def until(self) -> int:
        """Its last day; before the first where it was ended at once."""


class Measured(Protocol):
    """What is measured of a shard's state."""

    @property
    def feed(self) -> Doubting:
        """What is thought of its feed."""

    @property
    def last_close(self) -> Closed | None:
        """The last close."""

    @property
    def mutes(self) -> Mapping[str, Muting]:
        """All that were ever set, by id."""

    @property
    def subscribers(self) -> int:
        """How many are known."""

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""

    @property
    def repeats(self) -> Sized:
        """What recognises repeated records."""

    @property
    def episodes(self) -> Book:
        """Episodes, open and past."""

    @property
    def watermark_us(self) -> int | None:
        """The latest believed event time."""

    @property
    def closed_day(self) -> int | None:
        """The last closed day, as days since 1970."""

    def due_us(self, day: int) -> int:
        """The event time at which a day is due to close."""


class Judged(Protocol):
    """What is told of a rule."""

    @property
    def id(self) -> str:
        """Its name."""

    @property
    def kind(self) -> str:
        """risk, opportunity or restricted."""
