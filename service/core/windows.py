"""Exact rolling sums of closed days: per measure and window the current days and the baseline's days before them.

closed day D, window of w days:     D-3w+1 ......... D-w | D-w+1 ... D
                                    `before` (2w days)     `current`
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from service.core.measures import MEASURES
from service.core.panes import Panes

_GROWTH = 1.5
_FIRST_ROWS = 1024


class Windows:
    """Integer sums, shape (measures, windows, rows); days enter and leave at each close, late records in between."""

    def __init__(self, lengths_days: Sequence[int]) -> None:
        self.lengths_days = tuple(lengths_days)
        shape = (len(MEASURES), len(self.lengths_days), 0)
        self._current = np.zeros(shape, np.int64)
        self._before = np.zeros(shape, np.int64)

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return self._current.nbytes + self._before.nbytes

    @property
    def reach_days(self) -> int:
        """How many days back a closed day's sums look."""
        return 3 * max(self.lengths_days)

    def grow(self, rows: int) -> None:
        """Make room for `rows` rows; amortised."""
        have = self._current.shape[2]
        if rows > have:
            more = max(rows, int(have * _GROWTH), _FIRST_ROWS) - have
            self._current = np.pad(self._current, ((0, 0), (0, 0), (0, more)))
            self._before = np.pad(self._before, ((0, 0), (0, 0), (0, more)))

    def current(self, measure: str, days: int) -> np.ndarray:
        """The sums (int64, one per row) of a window's own days."""
        return self._current[self._at(measure, days)]  # type: ignore[no-any-return]  # numpy types an index as Any

    def before(self, measure: str, days: int) -> np.ndarray:
        """The sums (int64, one per row) of the twice as many days before a window's own."""
        return self._before[self._at(measure, days)]  # type: ignore[no-any-return]  # numpy types an index as Any

    def close(self, day: int, panes: Panes) -> None:
        """Move every window on by the day that closes."""
        for at, days in enumerate(self.lengths_days):
            self._add(self._current, at, panes.total(day), 1)
            leaving = panes.total(day - days)
            self._add(self._current, at, leaving, -1)
            self._add(self._before, at, leaving, 1)
            self._add(self._before, at, panes.total(day - 3 * days), -1)

    def correct(self, day: int, piece: pl.DataFrame, closed_day: int) -> None:
        """Add late usage (columns of PANE, one line per row) of an already closed day to each window that holds it."""
        age = closed_day - day
        for at, days in enumerate(self.lengths_days):
            if age < days:
                self._add(self._current, at, piece, 1)
            elif age < 3 * days:
                self._add(self._before, at, piece, 1)

    def _add(self, sums: np.ndarray, at: int, piece: pl.DataFrame, sign: int) -> None:
        if piece.is_empty():
            return
        rows = piece["row"].to_numpy()
        for number, measure in enumerate(MEASURES):
            sums[number, at, rows] += sign * piece[measure].to_numpy()

    def _at(self, measure: str, days: int) -> tuple[int, int]:
        return list(MEASURES).index(measure), self.lengths_days.index(days)

    def frame(self, rows: int) -> pl.DataFrame:
        """All sums of the first `rows` rows, columns `<measure>_<days>d` and `<measure>_<days>d_before`."""
        return pl.DataFrame(
            {
                f"{measure}_{days}d{suffix}": sums[number, at, :rows].copy()
                for number, measure in enumerate(MEASURES)
                for at, days in enumerate(self.lengths_days)
                for suffix, sums in (("", self._current), ("_before", self._before))
            }
        )

    def restore(self, frame: pl.DataFrame) -> None:
        """The inverse of `frame`."""
        self.grow(frame.height)
        for number, measure in enumerate(MEASURES):
            for at, days in enumerate(self.lengths_days):
                self._current[number, at, : frame.height] = frame[f"{measure}_{days}d"].to_numpy()
                self._before[number, at, : frame.height] = frame[f"{measure}_{days}d_before"].to_numpy()
