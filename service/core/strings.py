"""A set of strings numbered in order of arrival, found again by whole columns at a time."""

import numpy as np
import polars as pl

from service.core.hashing import hash64, hash64_of

ABSENT = -1
_FIRST_SLOTS = 1024
_MOST_CHUNKS = 32
_FULL = 0.7  # of the slots; with more in them the ways to a free one grow long


class StringIndex:
    """Strings <-> dense numbers, exact, without a Python object per string.

    An open-addressing table of numbers beside a column of the strings and one of their hashes. Equal hashes are settled
    by comparing the strings themselves, so a collision costs time and never an answer. A string that is released leaves
    its number, and a slot that leads to it, to the next one.
    """

    def __init__(self) -> None:
        self._strings = pl.Series("strings", [], pl.String)
        self._hashes = np.empty(_FIRST_SLOTS // 2, np.uint64)
        self._slots = np.full(_FIRST_SLOTS, ABSENT, np.int32)
        self._taken = 0  # slots, those that lead to who is there no more counted
        self._free = np.empty(0, np.int32)  # numbers, ascending

    @classmethod
    def of(cls, strings: pl.Series) -> "StringIndex":
        """An index that numbers distinct `strings` from 0 on; numbers of null are free."""
        index = cls()
        index._append(strings, hash64(strings.fill_null("")))
        index._free = strings.is_null().arg_true().to_numpy().astype(np.int32)
        index._place_all()
        return index

    def __len__(self) -> int:
        """How many numbers there are, free ones counted."""
        return len(self._strings)

    @property
    def count(self) -> int:
        """How many strings there are."""
        return len(self._strings) - self._free.size

    @property
    def strings(self) -> pl.Series:
        """All strings, in the order of their numbers; null where one is free."""
        return self._strings

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return int(self._strings.estimated_size()) + self._hashes.nbytes + self._slots.nbytes

    def take(self, numbers: np.ndarray) -> pl.Series:
        """The strings of `numbers`; ABSENT becomes null."""
        found = pl.Series(numbers.astype(np.uint32))  # the type by which columns are indexed without any detour
        if numbers.size and numbers.min() < 0:
            found = found.set(pl.Series(numbers < 0), None)
        return self._strings[found]

    def named(self, numbers: np.ndarray) -> np.ndarray:
        """Those of `numbers` that are not free."""
        return numbers[~np.isin(numbers, self._free)] if self._free.size else numbers

    def text(self, number: int) -> str | None:
        """The string of one number; None for ABSENT."""
        return None if number < 0 else str(self._strings[number])

    def number(self, text: str) -> int:
        """The number of one string, ABSENT where unknown."""
        try:
            hashed = hash64_of(text)
        except UnicodeEncodeError:  # a lone surrogate, which no string here has
            return ABSENT
        mask = len(self._slots) - 1
        slot = hashed & mask
        while (number := int(self._slots[slot])) >= 0:
            if int(self._hashes[number]) == hashed and self._strings[number] == text:
                return number
            slot = (slot + 1) & mask
        return ABSENT

    def intern(self, values: pl.Series, hashes: np.ndarray | None = None) -> np.ndarray:
        """Numbers (int32) of `values`, which have no nulls; unknown ones are added. `hashes` may be known already."""
        hashes = hash64(values) if hashes is None else hashes
        numbers = self._probe(values, hashes)
        absent = np.flatnonzero(numbers == ABSENT)
        if absent.size:
            missing = values[absent.astype(np.uint32)]
            first = missing.arg_unique().sort().to_numpy()
            self._add(missing[first], hashes[absent[first]])
            numbers[absent] = self._probe(missing, hashes[absent])
        return numbers

    def release(self, numbers: np.ndarray) -> None:
        """Let go of the strings of `numbers` (int32), which are given to the next that come, the least first."""
        self._strings = self._strings.scatter(numbers, [None] * numbers.size)
        self._hashes[numbers] = 0
        self._free = np.union1d(self._free, numbers)

    def _probe(self, values: pl.Series, hashes: np.ndarray) -> np.ndarray:
        numbers = np.full(len(values), ABSENT, np.int32)
        slots = (hashes & np.uint64(len(self._slots) - 1)).astype(np.int64)
        pending = np.arange(len(values))
        while pending.size:
            pending, found = self._next_alike(pending, hashes, slots)
            same = (self.take(found) == values[pending.astype(np.uint32)]).fill_null(value=False).to_numpy()
            numbers[pending[same]] = found[same]
            pending = pending[~same]  # which met another string of their hash
            slots[pending] = (slots[pending] + 1) & (len(self._slots) - 1)
        return numbers

    def _next_alike(self, pending: np.ndarray, hashes: np.ndarray, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which of the pending meet a number of their hash from their slots on, and that number; slots are moved on."""
        met, numbers = [pending[:0]], [self._slots[:0]]
        while pending.size:
            candidates = self._slots[slots[pending]]
            taken = candidates >= 0
            pending, candidates = pending[taken], candidates[taken]
            alike = self._hashes[candidates] == hashes[pending]
            met.append(pending[alike])
            numbers.append(candidates[alike])
            pending = pending[~alike]
            slots[pending] = (slots[pending] + 1) & (len(self._slots) - 1)
        return np.concatenate(met), np.concatenate(numbers)

    def _add(self, fresh: pl.Series, hashes: np.ndarray) -> None:
        again, first = self._free[: len(fresh)], len(self._strings)
        if again.size:
            self._free = self._free[again.size :]
            self._strings = self._strings.scatter(again, fresh.head(again.size))
            self._hashes[again] = hashes[: again.size]
        self._append(fresh.slice(again.size), hashes[again.size :])
        self._taken += len(fresh)
        if self._taken > len(self._slots) * _FULL:
            self._place_all()
        else:
            self._place(np.concatenate([again, np.arange(first, len(self._strings), dtype=np.int32)]))

    def _append(self, fresh: pl.Series, hashes: np.ndarray) -> None:
        first, total = len(self._strings), len(self._strings) + len(fresh)
        self._strings.append(fresh.rename("strings"))
        if self._strings.n_chunks() > _MOST_CHUNKS:
            self._strings = self._strings.rechunk()
        if total > len(self._hashes):
            self._hashes = np.concatenate([self._hashes[:first], np.empty(total, np.uint64)])
        self._hashes[first:total] = hashes

    def _place_all(self) -> None:
        """Slots anew, for who is there."""
        numbers = self.named(np.arange(len(self._strings), dtype=np.int32))
        self._taken = numbers.size
        if self._taken > len(self._slots) * _FULL:
            self._slots = np.empty(1 << int(self._taken / _FULL).bit_length(), np.int32)
        self._slots[:] = ABSENT
        self._place(numbers)

    def _place(self, numbers: np.ndarray) -> None:
        mask = len(self._slots) - 1
        slots = (self._hashes[numbers] & np.uint64(mask)).astype(np.int64)
        while numbers.size:
            free = self._slots[slots] < 0
            # Of several that want one slot the first wins; the others go on to the next.
            _, winners = np.unique(slots[free], return_index=True)
            placed = np.flatnonzero(free)[winners]
            self._slots[slots[placed]] = numbers[placed]
            left = np.ones(numbers.size, bool)
            left[placed] = False
            numbers, slots = numbers[left], (slots[left] + 1) & mask
