"""The usage history of a shard: per local day a table of what each row used."""

from collections.abc import Iterator
from typing import Protocol

import polars as pl

from service.core.measures import MEASURES, PANE

_MOST_PIECES = 8


class DamagedError(Exception):
    """What was stored cannot be read again as it was written, in words that say what and why."""


class Stored(Protocol):
    """A piece of a day's usage (columns of PANE, one line per row, ascending) that lies outside of memory."""

    @property
    def rows(self) -> int:
        """How many lines it has."""

    def read(self) -> pl.DataFrame:
        """All of it. Raises: DamagedError."""

    def of_row(self, row: int) -> pl.DataFrame:
        """The line of one row, or none. Raises: DamagedError."""


class Panes:
    """Per day a list of frames (columns of PANE) whose sum is the day; compacted to one sorted by row when many.

    A day is open until it is closed, and stays correctable afterwards: a late record is one more piece.
    """

    def __init__(self) -> None:
        self._days: dict[int, list[pl.DataFrame]] = {}

    @property
    def days(self) -> list[int]:
        """Days that hold anything, ascending."""
        return sorted(self._days)

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return sum(int(piece.estimated_size()) for pieces in self._days.values() for piece in pieces)

    def add(self, day: int, piece: pl.DataFrame) -> None:
        """Add usage (columns of PANE) to a day."""
        pieces = self._days.setdefault(day, [])
        pieces.append(piece)
        if len(pieces) > _MOST_PIECES:
            self._days[day] = [_merge(pieces)]

    def total(self, day: int) -> pl.DataFrame:
        """The day's usage: columns of PANE, one line per row, ascending."""
        pieces = self._days.get(day)
        if not pieces:
            return pl.DataFrame(schema=PANE)
        if len(pieces) > 1 or not pieces[0]["row"].is_sorted():
            self._days[day] = pieces = [_merge(pieces)]
        return pieces[0]

    def of_row(self, row: int, first: int, last: int) -> Iterator[tuple[int, dict[str, int]]]:
        """(day, measures) of one row for each day from first to last on which it used anything."""
        for day in range(first, last + 1):
            found = [piece.filter(pl.col("row") == row).drop("row") for piece in self._days.get(day, [])]
            found = [piece for piece in found if not piece.is_empty()]
            if found:
                yield day, pl.concat(found).sum().row(0, named=True)

    def forget(self, before: int) -> None:
        """Drop days earlier than `before`."""
        for day in [day for day in self._days if day < before]:
            del self._days[day]


def _merge(pieces: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(pieces).group_by("row").agg(pl.col(list(MEASURES)).sum()).sort("row")
