"""Exact rolling sums of closed days: per measure and window the current days and the baseline's days before them.

closed day D, window of w days:     D-3w+1 ......... D-w | D-w+1 ... D
                                    `before` (2w days)     `current`
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from service.core.measures import MEASURES, PANE
from service.core.panes import DamagedError, Panes
from service.core.sums import Sums

_GROWTH = 1.25
_FIRST_ROWS = 1024


@dataclass(frozen=True, slots=True)
class Moves:
    """The days (columns of PANE, ascending by row) that enter or leave a window when `day` closes."""

    day: int
    totals: Mapping[int, pl.DataFrame]

    def of(self, ago: int, first: int, last: int) -> pl.DataFrame:
        """The lines of the day so many days ago for the rows of [first, last)."""
        total = self.totals[self.day - ago]
        begin, end = (int(total["row"].search_sorted(row)) for row in (first, last))
        return total.slice(begin, end - begin)


class Windows:
    """Integer sums by measure, window and row; days enter and leave at each close, late records in between."""

    def __init__(self, lengths_days: Sequence[int]) -> None:
        self.lengths_days = tuple(lengths_days)
        self.incomplete: dict[int, int] = {}  # window -> a day whose usage is lost, so that its sums are not known
        self._room = 0
        lines = len(self.lengths_days)
        self._current = {measure: Sums(lines) for measure in MEASURES}
        self._before = {measure: Sums(lines) for measure in MEASURES}

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return sum(sums.nbytes for all_sums in (self._current, self._before) for sums in all_sums.values())

    @property
    def reach_days(self) -> int:
        """How many days back a closed day's sums look."""
        return 3 * max(self.lengths_days)

    def grow(self, rows: int) -> None:
        """Make room for `rows` rows; amortised."""
        if rows > self._room:
            self._room = max(rows, int(self._room * _GROWTH), _FIRST_ROWS)
            for sums in (*self._current.values(), *self._before.values()):
                sums.grow(self._room)

    def current(self, measure: str, days: int, rows: np.ndarray | slice) -> np.ndarray:
        """The sums (int64) of a window's own days, of some rows."""
        return self._current[measure].take(self.lengths_days.index(days), rows)

    def before(self, measure: str, days: int, rows: np.ndarray | slice) -> np.ndarray:
        """The sums (int64) of the twice as many days before a window's own, of some rows."""
        return self._before[measure].take(self.lengths_days.index(days), rows)

    def moves(self, day: int, panes: Panes) -> "Moves":
        """What the close of `day` brings in and out of each window; where that is lost, windows become incomplete."""
        totals = {}
        for turning in {day, *(day - times * days for days in self.lengths_days for times in (1, 3))}:
            try:
                totals[turning] = panes.total(turning)
            except DamagedError:
                totals[turning] = pl.DataFrame(schema=PANE)
                touched = [days for days in self.lengths_days if turning in {day - days, day - 3 * days}]
                self.incomplete |= dict.fromkeys(touched, turning)
        return Moves(day, totals)

    def mend(self, day: int, panes: Panes) -> None:
        """Sum again, as of the close of `day`, the windows whose lost day lies behind them."""
        for days, lost in list(self.incomplete.items()):
            if lost <= day - 3 * days:
                self.build(days, day, panes)

    def build(self, days: int, closed_day: int, panes: Panes) -> None:
        """Sum a window anew from the usage of its days; it is incomplete where one of them is lost."""
        at = self.lengths_days.index(days)
        self.incomplete.pop(days, None)
        for sums in (*self._current.values(), *self._before.values()):
            sums.clear(at)
        for day in range(closed_day - 3 * days + 1, closed_day + 1):
            try:
                total = panes.total(day)
            except DamagedError:
                self.incomplete[days] = day
            else:
                self._add(self._current if day > closed_day - days else self._before, at, total, 1)

    def close(self, moves: "Moves", first: int, last: int) -> None:
        """Move every window of the rows of [first, last) on by the day that closes."""
        for at, days in enumerate(self.lengths_days):
            self._add(self._current, at, moves.of(0, first, last), 1)
            leaving = moves.of(days, first, last)
            self._add(self._current, at, leaving, -1)
            self._add(self._before, at, leaving, 1)
            self._add(self._before, at, moves.of(3 * days, first, last), -1)

    def correct(self, day: int, piece: pl.DataFrame, closed_day: int) -> None:
        """Add late usage (columns of PANE, one line per row) of an already closed day to each window that holds it."""
        age = closed_day - day
        for at, days in enumerate(self.lengths_days):
            if age < days:
                self._add(self._current, at, piece, 1)
            elif age < 3 * days:
                self._add(self._before, at, piece, 1)

    def _add(self, sums: Mapping[str, Sums], at: int, piece: pl.DataFrame, sign: int) -> None:
        if piece.is_empty():
            return
        rows = piece["row"].to_numpy()
        for measure in MEASURES:
            sums[measure].add(at, rows, sign * piece[measure].to_numpy().astype(np.int64))

    def frame(self, rows: int) -> pl.DataFrame:
        """All sums of the first `rows` rows, columns `<measure>_<days>d` and `<measure>_<days>d_before`."""
        every = slice(0, rows)
        return pl.DataFrame(
            {
                f"{measure}_{days}d{suffix}": sums(measure, days, every)
                for measure in MEASURES
                for days in self.lengths_days
                for suffix, sums in (("", self.current), ("_before", self.before))
            }
        )

    def restore(self, frame: pl.DataFrame) -> None:
        """The inverse of `frame`; windows that it lacks stay zero, see `build`."""
        self.grow(frame.height)
        rows = np.arange(frame.height)
        for at, days in enumerate(self.lengths_days):
            if f"spend_{days}d" not in frame.columns:
                continue
            for measure in MEASURES:
                self._current[measure].add(at, rows, frame[f"{measure}_{days}d"].to_numpy())
                self._before[measure].add(at, rows, frame[f"{measure}_{days}d_before"].to_numpy())
