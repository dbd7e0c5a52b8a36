"""Exact rolling sums of closed days: per measure and window its own days and those they are compared with.

closed day D, window of w days:     D-3w+1 ......... D-w | D-w+1 ... D
                                    `before` (2w days)     the window
A year ago is 364 days, so that weekdays meet weekdays. The photo is a calendar month that stands still.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl

from service.core.calendar import month_days
from service.core.measures import MEASURES, PANE
from service.core.panes import DamagedError, Panes
from service.core.sums import Sums

YEAR_DAYS = 364
OWN, BEFORE, LAST_YEAR, PHOTO = "", "_before", "_last_year", "_photo"
_GROWTH = 1.25
_FIRST_ROWS = 1024


class Span(NamedTuple):
    """Days by how long ago they were: first, first + 1, ... last - 1."""

    window_days: int
    suffix: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Moves:
    """The days (columns of PANE, ascending by row) that enter or leave a window when `day` closes."""

    day: int
    totals: Mapping[int, pl.DataFrame]

    def of(self, ago: int, first: int, last: int) -> pl.DataFrame:
        """The lines of the day so many days ago for the rows of [first, last)."""
        total = self.totals[self.day - ago]
        begin, end = np.searchsorted(total["row"].to_numpy(), (first, last)).tolist()
        return total.slice(begin, end - begin)


class Windows:
    """Integer sums by measure, window and row; days enter and leave at each close, late records in between.

    Args:
        lengths_days: of the windows, each up to 400.
        year_on_year: whether each window is summed a year ago as well.
        photo_month: the month to compare with all year (year * 12 + month - 1), or None.
    """

    def __init__(
        self, lengths_days: Sequence[int], *, year_on_year: bool = False, photo_month: int | None = None
    ) -> None:
        self.lengths_days = tuple(lengths_days)
        self.incomplete: dict[int, int] = {}  # window -> its last day that is lost, so that its sums are not known
        self.lost_days: set[int] = set()  # closed days whose usage can be read but lacks some that had counted
        self.photo_month = photo_month
        self.photo_days = range(0) if photo_month is None else month_days(photo_month)
        self.photo_known = False
        self._spans = [
            span
            for days in self.lengths_days
            for span in (Span(days, OWN, 0, days), Span(days, BEFORE, days, 3 * days))
        ]
        if year_on_year:
            self._spans += [Span(days, LAST_YEAR, YEAR_DAYS, YEAR_DAYS + days) for days in self.lengths_days]
        self._room = 0
        self._sums = {measure: Sums(len(self._spans)) for measure in MEASURES}
        self._photo = {measure: Sums(1) for measure in MEASURES}
        self._places = {
            f"{measure}_{span.window_days}d{span.suffix}": (self._sums[measure], line)
            for measure in MEASURES
            for line, span in enumerate(self._spans)
        }
        if photo_month is not None:
            self._places |= {f"{measure}{PHOTO}": (self._photo[measure], 0) for measure in MEASURES}

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return sum(sums.nbytes for sums in (*self._sums.values(), *self._photo.values()))

    @property
    def reach_days(self) -> int:
        """How many days back a closed day's sums look."""
        return max(span.last for span in self._spans)

    def grow(self, rows: int) -> None:
        """Make room for `rows` rows; amortised."""
        if rows > self._room:
            self._room = max(rows, int(self._room * _GROWTH), _FIRST_ROWS)
            for sums in (*self._sums.values(), *self._photo.values()):
                sums.grow(self._room)

    def take(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Sums (int64) of some rows: `<measure>_<days>d`, with `_before` or `_last_year`, or `<measure>_photo`."""
        sums, line = self._places[name]
        return sums.take(line, rows)

    def of_row(self, row: int) -> dict[str, int]:
        """All sums of one row, named as `take` names them."""
        lines = {sums: sums.of_row(row) for sums in (*self._sums.values(), *self._photo.values())}
        return {name: lines[sums][line] for name, (sums, line) in self._places.items()}

    def is_known(self, name: str, closed_day: int) -> bool:
        """Whether the sums of that name can be had as of the closed day."""
        if name.endswith(PHOTO):
            return self.photo_known and closed_day >= self.photo_days[-1]
        _, line = self._places[name]
        return self._spans[line].window_days not in self.incomplete

    def begin(self, closed_day: int) -> None:
        """Nothing is known of days up to `closed_day`."""
        self.photo_known = self.photo_month is not None and closed_day < self.photo_days[0]

    def clear(self, rows: np.ndarray) -> None:
        """Let nothing be known of `rows`."""
        for sums in (*self._sums.values(), *self._photo.values()):
            sums.clear_rows(rows)

    # Closed days

    def moves(self, day: int, panes: Panes) -> Moves:
        """What the close of `day` brings in and out of each window; where that is lost, windows become incomplete."""
        totals = {}
        for turning in {day - ago for span in self._spans for ago in (span.first, span.last)} | {day}:
            try:
                totals[turning] = panes.total(turning)
            except DamagedError:
                totals[turning] = pl.DataFrame(schema=PANE)
                self._mark(turning, (span for span in self._spans if day - turning in {span.first, span.last}))
        return Moves(day, totals)

    def close(self, moves: Moves, first: int, last: int) -> None:
        """Move every window of the rows of [first, last) on by the day that closes."""
        for line, span in enumerate(self._spans):
            _add(self._sums, line, moves.of(span.first, first, last), 1)
            _add(self._sums, line, moves.of(span.last, first, last), -1)
        if moves.day in self.photo_days:
            _add(self._photo, 0, moves.of(0, first, last), 1)

    def correct(self, day: int, piece: pl.DataFrame, closed_day: int) -> None:
        """Add late usage (columns of PANE, one line per row) of an already closed day to each window that holds it."""
        for line, span in enumerate(self._spans):
            if span.first <= closed_day - day < span.last:
                _add(self._sums, line, piece, 1)
        if day in self.photo_days:
            _add(self._photo, 0, piece, 1)

    # What is not there yet, or no more

    def lose(self, day: int, closed_day: int) -> None:
        """Hold for unknown, now and when it is summed anew, what contains a closed day that lacks usage."""
        self.lost_days.add(day)
        self._mark(day, (span for span in self._spans if closed_day - day < span.last))
        if day in self.photo_days:
            self.photo_known = False

    def _mark(self, lost: int, spans: Iterable[Span]) -> None:
        for days in {span.window_days for span in spans}:
            self.incomplete[days] = max(lost, self.incomplete.get(days, lost))

    def mend(self, day: int, panes: Panes) -> None:
        """Sum again, as of the close of `day`, the windows whose lost day lies behind them."""
        for days, lost in list(self.incomplete.items()):
            if lost <= day - max(span.last for span in self._spans if span.window_days == days):
                self.build(days, day, panes)

    def build(self, days: int, closed_day: int, panes: Panes) -> None:
        """Sum a window anew from the usage of its days; it is incomplete where one of them is lost."""
        self.incomplete.pop(days, None)
        for line, span in enumerate(self._spans):
            if span.window_days != days:
                continue
            for sums in self._sums.values():
                sums.clear(line)
            for day, total in self._readable(panes, range(closed_day - span.last + 1, closed_day - span.first + 1)):
                if total is None:
                    self._mark(day, [span])
                else:
                    _add(self._sums, line, total, 1)

    def build_photo(self, closed_day: int, panes: Panes) -> None:
        """Sum the photo anew; it is not known where a closed day of its month is lost, or older than what is kept."""
        for sums in self._photo.values():
            sums.clear(0)
        taken = range(self.photo_days.start, min(self.photo_days.stop, closed_day + 1))
        kept = panes.days
        self.photo_known = not taken or (bool(kept) and kept[0] <= taken[0])
        for _, total in self._readable(panes, taken):
            if total is None:
                self.photo_known = False
            else:
                _add(self._photo, 0, total, 1)

    def forget(self, before: int) -> None:
        """Nothing is asked any more of days earlier than `before`."""
        self.lost_days = {day for day in self.lost_days if day >= before}

    def _readable(self, panes: Panes, days: range) -> Iterator[tuple[int, pl.DataFrame | None]]:
        for day in days:
            try:
                yield day, None if day in self.lost_days else panes.total(day)
            except DamagedError:
                yield day, None

    # As columns

    def frame(self, rows: int) -> pl.DataFrame:
        """All sums of the first `rows` rows, named as `take` names them."""
        return pl.DataFrame({name: sums.column(line, rows) for name, (sums, line) in self._places.items()})

    def restore(self, frame: pl.DataFrame) -> None:
        """The inverse of `frame`; what it lacks stays zero, see `build`."""
        self.grow(frame.height)
        for name in self._places.keys() & set(frame.columns):
            sums, line = self._places[name]
            sums.fill(line, frame[name].to_numpy())


def _add(sums: Mapping[str, Sums], line: int, piece: pl.DataFrame, sign: int) -> None:
    if piece.is_empty():
        return
    rows = piece["row"].to_numpy()
    for measure, of_measure in sums.items():
        of_measure.add(line, rows, sign * piece[measure].to_numpy().astype(np.int64))
