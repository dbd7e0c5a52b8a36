"""Which events have been counted already: (row, hash of the event's id) by the record's own day."""

from collections.abc import Iterator

import numpy as np
import polars as pl

_Run = tuple[np.ndarray, np.ndarray]  # hashes (uint64, ascending), rows (int32)


class Repeats:
    """Exact per subscriber up to a 64-bit hash of the id; 12 bytes an event, kept as long as late records are accepted.

    Each bucket, of a day and of how long after it a record may come, holds a few sorted runs that are merged as they
    grow, so adding is cheap and asking is a binary search.
    """

    def __init__(self) -> None:
        self._days: dict[int, dict[int, list[_Run]]] = {}

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return sum(h.nbytes + r.nbytes for _, _, (h, r) in self._runs())

    def mark(self, days: np.ndarray, rows: np.ndarray, hashes: np.ndarray, horizons: np.ndarray) -> np.ndarray:
        """True where an event was seen before, in an earlier call or earlier in this one; all are remembered.

        `horizons` says for how many days after its own each event may come again and be known.
        """
        keys = pl.DataFrame({"day": days, "row": rows, "hash": hashes})
        repeated: np.ndarray = ~keys.select(pl.struct(pl.all()).is_first_distinct()).to_series().to_numpy()
        for day in np.unique(days).tolist():
            at = np.flatnonzero((days == day) & ~repeated)
            buckets = self._days.setdefault(day, {})
            seen = np.zeros(at.size, bool)
            for runs in buckets.values():
                for run in runs:
                    seen |= _contains(run, hashes[at], rows[at])
            repeated[at[seen]] = True
            at = at[~seen]
            for horizon in np.unique(horizons[at]).tolist():
                fresh = at[horizons[at] == horizon]
                order = np.argsort(hashes[fresh], kind="stable")
                run = (hashes[fresh][order], rows[fresh][order].astype(np.int32))
                _push(buckets.setdefault(horizon, []), run)
        return repeated

    def forget(self, closed_day: int) -> None:
        """Drop what can come no more once `closed_day` is closed."""
        for day, buckets in list(self._days.items()):
            for horizon in [horizon for horizon in buckets if closed_day - day >= horizon]:
                del buckets[horizon]
            if not buckets:
                del self._days[day]

    def frame(self) -> pl.DataFrame:
        """Everything as columns day, horizon, row, hash."""
        parts = [
            pl.DataFrame(
                {
                    "day": np.full(hashes.size, day, np.int32),
                    "horizon": np.full(hashes.size, horizon, np.int32),
                    "row": rows,
                    "hash": hashes,
                }
            )
            for day, horizon, (hashes, rows) in self._runs()
        ]
        schema = {"day": pl.Int32, "horizon": pl.Int32, "row": pl.Int32, "hash": pl.UInt64}
        return pl.concat(parts) if parts else pl.DataFrame(schema=schema)

    @classmethod
    def of(cls, frame: pl.DataFrame) -> "Repeats":
        """The inverse of `frame`."""
        repeats = cls()
        for (day, horizon), part in frame.sort("hash").partition_by("day", "horizon", as_dict=True).items():
            run = (part["hash"].to_numpy().copy(), part["row"].to_numpy().copy())
            repeats._days.setdefault(int(day), {})[int(horizon)] = [run]
        return repeats

    def _runs(self) -> Iterator[tuple[int, int, _Run]]:
        for day, buckets in sorted(self._days.items()):
            for horizon, runs in sorted(buckets.items()):
                for run in runs:
                    yield day, horizon, run


def _contains(run: _Run, hashes: np.ndarray, rows: np.ndarray) -> np.ndarray:
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


def _push(runs: list[_Run], run: _Run) -> None:
    if run[0].size == 0:
        return
    runs.append(run)
    while len(runs) > 1 and runs[-2][0].size <= 2 * runs[-1][0].size:
        (hashes_2, rows_2), (hashes_1, rows_1) = runs.pop(), runs.pop()
        hashes, rows = np.concatenate([hashes_1, hashes_2]), np.concatenate([rows_1, rows_2])
        order = np.argsort(hashes, kind="stable")
        runs.append((hashes[order], rows[order]))
