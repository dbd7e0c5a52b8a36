"""Which events have been counted already: (row, hash of the event's id) by the record's own day."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple, Protocol

import numpy as np
import polars as pl

from service.core.panes import DamagedError

Run = tuple[np.ndarray, np.ndarray]  # hashes (uint64, ascending), rows (int32)

RUN = {"hash": pl.UInt64, "row": pl.Int32}  # the columns of a run as a frame
_LOOSE = {"day": pl.Int32, "horizon": pl.Int32, **RUN}
_WORTHWHILE = 1 << 16  # late events that are worth a piece of their own


class Sealed(Protocol):
    """A run that lies outside of memory and never changes again."""

    def read(self) -> pl.DataFrame:
        """All of it, columns of RUN. Raises: DamagedError; OSError where it cannot be had just now."""

    def run(self) -> Run:
        """It as arrays, mapped where that can be, so that only what is asked is read. Raises: as `read`."""


class Marks(NamedTuple):
    """Of each event whether it was seen before, and whether that cannot be known any more."""

    repeated: np.ndarray
    unknown: np.ndarray


@dataclass(slots=True)
class _Bucket:
    """Events of one day that may come again equally long: runs in memory, one on offer to a store, those it has."""

    loose: list[Run] = field(default_factory=list)
    offered: Run | None = None
    sealed: list[Sealed] = field(default_factory=list)

    @property
    def in_memory(self) -> list[Run]:
        return self.loose if self.offered is None else [*self.loose, self.offered]

    def has(self, hashes: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Which of these events it holds. Raises: DamagedError, OSError."""
        seen = np.zeros(hashes.size, bool)
        for run in self.in_memory:
            seen |= _contains(run, hashes, rows)
        for sealed in self.sealed:
            seen |= _contains(sealed.run(), hashes, rows)
        return seen

    def offer(self) -> None:
        if self.offered is None and self.loose and (not self.sealed or _size(self.loose) >= _WORTHWHILE):
            self.offered = _merge(self.loose)
            self.loose = []


class Repeats:
    """Exact per subscriber up to a 64-bit hash of the id; 12 bytes an event, kept as long as late records are accepted.

    A bucket, of a day and of how long after it a record may come, holds a few sorted runs that are merged as they
    grow, so adding is cheap and asking is a binary search. Buckets older than a day are offered to a store, and lie
    there from when it has them: few records come that late.
    """

    def __init__(self) -> None:
        self._days: dict[int, dict[int, _Bucket]] = {}

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return sum(h.nbytes + r.nbytes for *_, bucket in self._buckets() for h, r in bucket.in_memory)

    def mark(self, days: np.ndarray, rows: np.ndarray, hashes: np.ndarray, horizons: np.ndarray) -> Marks:
        """Whether each event was seen before, in an earlier call or earlier in this one; all are remembered.

        `horizons` says for how many days after its own each event may come again and be known. Of a day whose events
        cannot be read any more nothing is known, nor remembered. Raises: OSError where they cannot be had just now.
        """
        # Looked up in the order in which they are kept, most are found where the one before them was.
        order = np.argsort(hashes, kind="stable")
        repeated = _later_ones(days, rows, hashes, order)
        unknown = np.zeros(days.size, bool)
        for day in np.unique(days).tolist():
            at = order[(days[order] == day) & ~repeated[order]]
            buckets = self._days.setdefault(day, {})
            seen = np.zeros(at.size, bool)
            try:
                for bucket in buckets.values():
                    seen |= bucket.has(hashes[at], rows[at])
            except DamagedError:
                unknown[days == day] = True
                continue
            repeated[at[seen]] = True
            at = at[~seen]
            for horizon in np.unique(horizons[at]).tolist():
                fresh = at[horizons[at] == horizon]
                run = hashes[fresh], rows[fresh].astype(np.int32)
                _push(buckets.setdefault(horizon, _Bucket()).loose, run)
        return Marks(repeated & ~unknown, unknown)

    def forget(self, closed_day: int) -> None:
        """Drop what can come no more once `closed_day` is closed."""
        for day, buckets in list(self._days.items()):
            for horizon in [horizon for horizon in buckets if closed_day - day >= horizon]:
                del buckets[horizon]
            if not buckets:
                del self._days[day]

    # What a store takes over

    def frame(self) -> pl.DataFrame:
        """What lies in memory only and is not on offer: columns day, horizon, hash, row."""
        parts = [
            _frame(run).select(pl.lit(day, pl.Int32).alias("day"), pl.lit(horizon, pl.Int32).alias("horizon"), *RUN)
            for day, horizon, bucket in self._buckets()
            for run in bucket.loose
        ]
        return pl.concat(parts) if parts else pl.DataFrame(schema=_LOOSE)

    def offer(self, closed_day: int) -> dict[str, pl.DataFrame | Sealed]:
        """Every piece of days before `closed_day` that a store has or is to take over: `<day>.<horizon>.<number>`."""
        offered: dict[str, pl.DataFrame | Sealed] = {}
        for day, horizon, bucket in self._buckets():
            if 0 < closed_day - day < horizon:  # older ones go with the next close
                bucket.offer()
            for number, sealed in enumerate(bucket.sealed):
                offered[f"{day}.{horizon}.{number}"] = sealed
            if bucket.offered is not None:
                offered[f"{day}.{horizon}.{len(bucket.sealed)}"] = _frame(bucket.offered)
        return offered

    def leave(self, kept: Mapping[str, Sealed]) -> None:
        """Let go of what was offered, where a store has it now; `kept` are its pieces by name."""
        for day, horizon, bucket in self._buckets():
            if bucket.offered is not None and (piece := kept.get(f"{day}.{horizon}.{len(bucket.sealed)}")) is not None:
                bucket.sealed.append(piece)
                bucket.offered = None

    @classmethod
    def of(cls, frame: pl.DataFrame, kept: Mapping[str, Sealed] = MappingProxyType({})) -> "Repeats":
        """The inverse of `frame` and `offer`."""
        repeats = cls()
        for name in sorted(kept, key=_place):
            day, horizon, _ = _place(name)
            repeats._days.setdefault(day, {}).setdefault(horizon, _Bucket()).sealed.append(kept[name])
        for (day, horizon), part in frame.sort("hash").partition_by("day", "horizon", as_dict=True).items():
            run = (part["hash"].to_numpy().copy(), part["row"].to_numpy().copy())
            repeats._days.setdefault(int(day), {}).setdefault(int(horizon), _Bucket()).loose.append(run)
        return repeats

    def _buckets(self) -> Iterator[tuple[int, int, _Bucket]]:
        for day, buckets in sorted(self._days.items()):
            for horizon, bucket in sorted(buckets.items()):
                yield day, horizon, bucket


def _place(name: str) -> tuple[int, int, int]:
    day, horizon, number = name.split(".")
    return int(day), int(horizon), int(number)


def _contains(run: Run, hashes: np.ndarray, rows: np.ndarray) -> np.ndarray:
    known_hashes, known_rows = run
    found = np.zeros(hashes.size, bool)
    at = np.searchsorted(known_hashes, hashes)
    pending = np.arange(hashes.size)
    while pending.size:
        pending = pending[at[pending] < known_hashes.size]
        pending = pending[known_hashes[at[pending]] == hashes[pending]]
        found[pending] |= known_rows[at[pending]] == rows[pending]
        pending = pending[~found[pending]]
        at[pending] += 1
    return found


def _push(runs: list[Run], run: Run) -> None:
    if run[0].size == 0:
        return
    runs.append(run)
    while len(runs) > 1 and runs[-2][0].size <= 2 * runs[-1][0].size:
        runs[-2:] = [_merge(runs[-2:])]


def _merge(runs: list[Run]) -> Run:
    return runs[0] if len(runs) == 1 else _sorted(*(np.concatenate(arrays) for arrays in zip(*runs, strict=True)))


def _later_ones(days: np.ndarray, rows: np.ndarray, hashes: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Flags of what has the day, row and hash of one before it; `order` is that of the hashes."""
    ordered = hashes[order]
    if not (ordered[1:] == ordered[:-1]).any():  # nearly always, and far sooner found out
        return np.zeros(hashes.size, bool)
    keys = pl.DataFrame({"day": days, "row": rows, "hash": hashes})
    later: np.ndarray = ~keys.select_seq(pl.struct(pl.all()).is_first_distinct()).to_series().to_numpy()
    return later


def _sorted(hashes: np.ndarray, rows: np.ndarray) -> Run:
    order = np.argsort(hashes, kind="stable")
    return hashes[order], rows[order]


def _size(runs: list[Run]) -> int:
    return sum(hashes.size for hashes, _ in runs)


def _frame(run: Run) -> pl.DataFrame:
    return pl.DataFrame(dict(zip(RUN, run, strict=True)), schema=RUN)
