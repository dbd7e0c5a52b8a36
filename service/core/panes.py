"""The usage history of a shard: per local day a table of what each row used, in memory or lying in a store."""

from collections.abc import Iterator, Mapping
from typing import Protocol

import polars as pl

from service.core.measures import MEASURES, PANE
from service.core.tables import ByRow

_MOST_ALIKE = 4  # pieces of about a size
_LARGE = 10_000  # rows that are worth making narrow at once
_MEASURES = list(MEASURES)
_COLUMNS = [pl.col(name).cast(dtype) for name, dtype in PANE.items()]


class DamagedError(Exception):
    """What was stored cannot be read again as it was written, in words that say what and why."""


class Stored(Protocol):
    """A piece of a day's usage (columns of PANE, one line per row, ascending) that lies outside of memory."""

    @property
    def rows(self) -> int:
        """How many lines it has."""

    def read(self) -> pl.DataFrame:
        """All of it. Raises: DamagedError; OSError where it cannot be had just now."""

    @property
    def is_at_hand(self) -> bool:
        """Whether `line_of` takes no longer than a look into memory."""

    def line_of(self, row: int) -> tuple[int, ...] | None:
        """The line of one row, in the order of PANE, or None. Raises: DamagedError."""


class Panes:
    """Per day pieces whose sum is the day.

    Loose pieces lie in memory: open days, and what came late. Once a day is closed it is offered to a store as one
    piece (named `<day>.<number>`), and lies there from when the store has it. A day stays correctable: what comes late
    is loose again, and is offered in its turn when it can get no more.
    """

    def __init__(self) -> None:
        self._loose: dict[int, list[ByRow]] = {}
        self._offered: dict[int, ByRow] = {}
        self._stored: dict[int, list[Stored]] = {}

    @property
    def days(self) -> list[int]:
        """Days that hold anything, ascending."""
        return sorted(self._loose.keys() | self._offered.keys() | self._stored.keys())

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        loose = [piece for pieces in self._loose.values() for piece in pieces]
        return sum(int(piece.frame.estimated_size()) for piece in (*loose, *self._offered.values()))

    def add(self, day: int, piece: pl.DataFrame) -> None:
        """Add usage (columns of PANE, one line per row, ascending) to a day."""
        pieces = self._loose.setdefault(day, [])
        pieces.append(ByRow.of(piece if piece.height < _LARGE else _narrow(piece)))
        # Each is merged with its like only: what has grown large is not copied for every few small ones that come.
        while (alike := _alike(pieces)) >= _MOST_ALIKE:
            pieces[-alike:] = [_together(pieces[-alike:])]

    def total(self, day: int) -> pl.DataFrame:
        """The day's usage: columns of PANE, one line per row, ascending. Raises: DamagedError."""
        stored = [piece.read() for piece in self._stored.get(day, ())]
        rest = [self._offered[day].frame] if day in self._offered else []
        pieces = [*stored, *rest, *([self._loose_of(day).frame] if day in self._loose else [])]
        if len(pieces) == 1:
            return pieces[0]
        return _merge(pieces) if pieces else pl.DataFrame(schema=PANE)

    def are_at_hand(self, first: int, last: int) -> bool:
        """Whether `of_row` of these days takes no longer than a look into memory."""
        for day, pieces in self._stored.items():
            if first <= day <= last and not all(piece.is_at_hand for piece in pieces):
                return False
        return True

    def of_row(self, row: int, first: int, last: int) -> Iterator[tuple[int, dict[str, int] | None]]:
        """(day, measures) of one row for each day from first to last on which it used anything; None: not readable."""
        for day in range(first, last + 1):
            in_memory = [*self._loose.get(day, ()), *([self._offered[day]] if day in self._offered else ())]
            lines = [piece.frame.row(at) for piece in in_memory for at in piece.places(row)]
            try:
                lines += [line for piece in self._stored.get(day, ()) if (line := piece.line_of(row)) is not None]
            except DamagedError:
                yield day, None
                continue
            if lines:
                _, *sums = lines[0] if len(lines) == 1 else map(sum, zip(*lines, strict=True))
                yield day, dict(zip(_MEASURES, sums, strict=True))

    def forget(self, before: int) -> None:
        """Drop days earlier than `before`."""
        for pieces in (self._loose, self._offered, self._stored):
            for day in [day for day in pieces if day < before]:
                del pieces[day]

    # What a store takes over

    def loose(self) -> dict[int, pl.DataFrame]:
        """What lies in memory only and is not on offer, one frame a day."""
        return {day: self._loose_of(day).frame for day in sorted(self._loose)}

    def offer(self, closed_day: int, final_day: int) -> dict[str, pl.DataFrame | Stored]:
        """Every piece that a store has or is to take over, by name.

        Days up to `closed_day` are offered once; what came late to them again when they are not after `final_day`.
        """
        for day in [day for day in self._loose if day <= closed_day and day not in self._offered]:
            if day <= final_day or day not in self._stored:
                self._offered[day] = self._loose_of(day)
                del self._loose[day]
        offered: dict[str, pl.DataFrame | Stored] = {}
        for day in self.days:
            stored = self._stored.get(day, [])
            offered |= {f"{day}.{number}": piece for number, piece in enumerate(stored)}
            if day in self._offered:
                offered[f"{day}.{len(stored)}"] = self._offered[day].frame
        return offered

    def leave(self, kept: Mapping[str, Stored]) -> None:
        """Let go of what was offered, where a store has it now; `kept` are its pieces by name."""
        for day, pieces in _by_day(kept).items():
            if day in self._offered and len(pieces) > len(self._stored.get(day, ())):
                del self._offered[day]
                self._stored[day] = pieces

    def restore(self, kept: Mapping[str, Stored], loose: Mapping[int, pl.DataFrame]) -> None:
        """The inverse of `offer` and `loose`."""
        self._stored = _by_day(kept)
        self._loose = {day: [ByRow.of(frame)] for day, frame in loose.items()}

    def _loose_of(self, day: int) -> ByRow:
        pieces = self._loose[day]
        if len(pieces) > 1:
            self._loose[day] = pieces = [_together(pieces)]
        return pieces[0]


def _by_day(kept: Mapping[str, Stored]) -> dict[int, list[Stored]]:
    days: dict[int, list[Stored]] = {}
    for name in sorted(kept, key=_place):
        days.setdefault(_place(name)[0], []).append(kept[name])
    return days


def _place(name: str) -> tuple[int, int]:
    day, _, number = name.partition(".")
    return int(day), int(number)


def _alike(pieces: list[ByRow]) -> int:
    """How many of the last pieces have less than twice the lines of the very last."""
    larger = (n for n, piece in enumerate(reversed(pieces)) if len(piece.rows) >= 2 * len(pieces[-1].rows))
    return next(larger, len(pieces))


def _together(pieces: list[ByRow]) -> ByRow:
    return ByRow.of(_merge([piece.frame for piece in pieces]))


def _merge(pieces: list[pl.DataFrame]) -> pl.DataFrame:
    """The sum of pieces, one line per row, each measure in the narrowest integers that hold it."""
    stacked = pl.concat([piece.select(_COLUMNS) for piece in pieces])
    return _narrow(stacked.group_by("row").agg(pl.col(_MEASURES).sum()).sort("row"))


def _narrow(piece: pl.DataFrame) -> pl.DataFrame:
    return piece.with_columns(piece[measure].shrink_dtype() for measure in _MEASURES)
