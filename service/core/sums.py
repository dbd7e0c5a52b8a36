"""Exact integers of many rows in as little memory as their values allow."""

import numpy as np

_NARROW, _WIDE = np.dtype(np.int32), np.dtype(np.int64)
_LIMITS = np.iinfo(_NARROW)


class Sums:
    """Integers, shape (lines, rows): no memory until one differs from zero, 4 bytes each until one needs 8."""

    def __init__(self, lines: int) -> None:
        self._lines = lines
        self._room = 0
        self._values: np.ndarray | None = None

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return 0 if self._values is None else self._values.nbytes

    def grow(self, room: int) -> None:
        """Make room for so many rows, all zero."""
        self._room = room
        if self._values is not None:
            former = self._values
            self._values = np.zeros((self._lines, room), former.dtype)
            self._values[:, : former.shape[1]] = former

    def take(self, line: int, rows: np.ndarray) -> np.ndarray:
        """Values (int64) of some rows of a line."""
        if self._values is None:
            return np.zeros(rows.size, np.int64)
        values: np.ndarray = self._values[line, rows].astype(np.int64)
        return values

    def of_row(self, row: int) -> list[int]:
        """One value of each line."""
        values: list[int] = [0] * self._lines if self._values is None else self._values[:, row].tolist()
        return values

    def column(self, line: int, rows: int) -> np.ndarray:
        """The first `rows` values of a line, as narrow as they lie (int32 or int64)."""
        if self._values is None:
            return np.zeros(rows, _NARROW)
        return self._values[line, :rows].copy()

    def fill(self, line: int, values: np.ndarray) -> None:
        """The inverse of `column`, on a line that is zero."""
        if values.any():
            self._with_room_for(values)[line, : values.size] = values

    def clear(self, line: int) -> None:
        """Set a line to zero."""
        if self._values is not None:
            self._values[line] = 0

    def clear_rows(self, rows: np.ndarray) -> None:
        """Set rows to zero in all lines."""
        if self._values is not None:
            self._values[:, rows] = 0

    def add(self, line: int, rows: np.ndarray, amounts: np.ndarray) -> None:
        """Add amounts (integers) to distinct rows of a line."""
        if self._values is None and not amounts.any():
            return
        sums = self.take(line, rows) + amounts
        self._with_room_for(sums)[line, rows] = sums

    def _with_room_for(self, values: np.ndarray) -> np.ndarray:
        """All values, in integers that hold these as well."""
        if self._values is None:
            self._values = np.zeros((self._lines, self._room), _NARROW)
        if values.size and self._values.dtype == _NARROW and (values.max() > _LIMITS.max or values.min() < _LIMITS.min):
            self._values = self._values.astype(_WIDE)
        return self._values
