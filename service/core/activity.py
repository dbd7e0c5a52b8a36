"""On which of the last days each row used anything outgoing: a bit a day, so that a late record can set its own."""

import numpy as np

_WORD = 64
_GROWTH = 1.25
_FIRST_ROWS = 1024
_ONE = np.uint64(1)
_LEAST_GAPS = 5  # fewer are no rhythm


class Activity:
    """Bits, shape (words, rows): bit 0 of the first word is the last closed day, and each close moves all of them on.

    Args:
        days: how many closed days are remembered, at least.
    """

    def __init__(self, days: int) -> None:
        self._bits = np.zeros((-(-days // _WORD), 0), np.uint64)

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return self._bits.nbytes

    def grow(self, rows: int) -> None:
        """Make room for `rows` rows; amortised."""
        words, have = self._bits.shape
        if rows > have:
            grown = np.zeros((words, max(rows, int(have * _GROWTH), _FIRST_ROWS)), np.uint64)
            grown[:, :have] = self._bits
            self._bits = grown

    def close(self, first: int, last: int, active: np.ndarray) -> None:
        """Move the rows of [first, last) on by a day, on which those of `active` were active."""
        bits = self._bits[:, first:last]
        for word in range(bits.shape[0] - 1, 0, -1):
            bits[word] = (bits[word] << _ONE) | (bits[word - 1] >> np.uint64(_WORD - 1))
        bits[0] <<= _ONE
        self._bits[0, active] |= _ONE

    def clear(self, rows: np.ndarray) -> None:
        """Let `rows` have been active on no day."""
        self._bits[:, rows] = 0

    def correct(self, ago: int, rows: np.ndarray) -> None:
        """Remember that `rows` were active so many days before the last closed one."""
        word, bit = divmod(ago, _WORD)
        if word < self._bits.shape[0]:
            self._bits[word, rows] |= _ONE << np.uint64(bit)

    def days(self, window_days: int, rows: np.ndarray) -> np.ndarray:
        """How many of the last closed days (int32) each of `rows` was active on."""
        counts = np.zeros(rows.size, np.int32)
        whole, rest = divmod(window_days, _WORD)
        for word in range(whole):
            counts += np.bitwise_count(self._bits[word, rows]).astype(np.int32)
        if rest:
            mask = (_ONE << np.uint64(rest)) - _ONE
            counts += np.bitwise_count(self._bits[whole, rows] & mask).astype(np.int32)
        return counts

    def gaps(self, window_days: int, rows: np.ndarray) -> np.ndarray:
        """Mean days (float64) between the active days of each of `rows` in a window; NaN where they have too few."""
        counts = self.days(window_days, rows)
        latest, earliest = (np.full(rows.size, -1, np.int32) for _ in range(2))
        whole, rest = divmod(window_days, _WORD)
        for word in range(whole + (rest > 0)):
            bits = self._bits[word, rows]
            if word == whole:
                bits = bits & ((_ONE << np.uint64(rest)) - _ONE)
            some = bits != 0
            lowest = np.bitwise_count((bits & -bits) - _ONE).astype(np.int32)
            latest = np.where(some & (latest < 0), word * _WORD + lowest, latest)
            earliest = np.where(some, word * _WORD + _length(bits) - 1, earliest)
        gaps = np.full(rows.size, np.nan)
        np.divide(earliest - latest, counts - 1, out=gaps, where=counts > _LEAST_GAPS)
        return gaps

    def words(self, rows: int) -> list[np.ndarray]:
        """The bits of the first `rows` rows, word by word (uint64)."""
        return [word[:rows].copy() for word in self._bits]

    def restore(self, words: list[np.ndarray]) -> None:
        """The inverse of `words`; days that those do not tell of were not active."""
        self.grow(words[0].size if words else 0)
        for word, told in zip(self._bits, words, strict=False):
            word[: told.size] = told


def _length(bits: np.ndarray) -> np.ndarray:
    """How many bits each number has from its first that is set (int32)."""
    for shift in (1, 2, 4, 8, 16, 32):
        bits = bits | (bits >> np.uint64(shift))
    lengths: np.ndarray = np.bitwise_count(bits).astype(np.int32)
    return lengths
