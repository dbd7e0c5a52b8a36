"""Local copies of pieces in which a part is found in microseconds: only a cache, made again at need.

<folder>/shard-00003/15856-0-<checksum>.npy    a pane: records of PANE's columns, each as narrow as its values, by row
                   15856-7-0-<checksum>.npy  repeats: all hashes, ascending, then all rows
"""

import bisect
import logging
import os
import tempfile
from collections.abc import Collection
from pathlib import Path

import numpy as np
import polars as pl

from service.core.measures import PANE
from service.core.repeats import RUN, Run

_log = logging.getLogger(__name__)


class Records:
    """Usage of a pane, one record per row, ascending."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        # Plain integers out of a few places of the file: several times faster than numpy's own search for one.
        self._rows = array["row"].data

    @property
    def is_mapped(self) -> bool:
        """Whether it lies in a file, so that holding it takes no memory of ours."""
        return isinstance(self._array.base, np.memmap)

    def line(self, row: int) -> tuple[int, ...] | None:
        """The record of a row, in the order of PANE, or None."""
        at = bisect.bisect_left(self._rows, row)
        return self._array.item(at) if at < len(self._rows) and self._rows[at] == row else None

    def frame(self) -> pl.DataFrame:
        """All of it as columns of PANE."""
        return pl.DataFrame([pl.Series(name, self._array[name], dtype) for name, dtype in PANE.items()])


class Copies:
    """Copies by the file of the piece; mapped into memory, so that only what is asked for is read.

    Who reads every piece once, and whole, `keeps` none.
    """

    def __init__(self, folder: Path, *, keeps: bool = True) -> None:
        self._folder = folder
        self.keeps = keeps  # whether what is read as a whole is copied, too

    def open(self, pane: str, rows: int) -> Records | None:
        """The records of a pane of so many rows, or None where there is no whole copy."""
        found = self._load(pane)
        if found is None or found.dtype.names != tuple(PANE) or found.shape != (rows,):
            return None
        return Records(found)

    def make(self, pane: str, frame: pl.DataFrame) -> Records:
        """Copy a pane (columns of PANE, ascending by row); returns its records, in memory where no copy can be kept."""
        columns = {name: frame[name].shrink_dtype().to_numpy() for name in PANE}
        array = np.empty(frame.height, np.dtype([(name, column.dtype) for name, column in columns.items()], align=True))
        for name, column in columns.items():
            array[name] = column
        self._save(pane, array)
        return self.open(pane, frame.height) or Records(array)

    def open_run(self, piece: str, count: int) -> Run | None:
        """A run of so many repeats, or None where there is no whole copy."""
        found = self._load(piece)
        return None if found is None or found.dtype != _run_dtype(count) or found.shape != (1,) else _run_of(found)

    def make_run(self, piece: str, frame: pl.DataFrame) -> Run:
        """Copy repeats (columns of RUN); returns them, in memory where no copy can be kept."""
        array = np.empty(1, _run_dtype(frame.height))
        for name in RUN:
            array[name] = frame[name].to_numpy()
        self._save(piece, array)
        return self.open_run(piece, frame.height) or _run_of(array)

    def keep_only(self, shard: str, pieces: Collection[str]) -> None:
        """Remove copies of a shard's pieces other than these."""
        kept = {self._path(piece) for piece in pieces}
        for path in (self._folder / shard).glob("*"):
            if path not in kept:
                path.unlink(missing_ok=True)

    def _load(self, piece: str) -> np.ndarray | None:
        try:
            return np.asarray(np.load(self._path(piece), mmap_mode="r", allow_pickle=False))
        except (OSError, ValueError, EOFError):
            return None

    def _save(self, piece: str, array: np.ndarray) -> None:
        try:
            self._write(self._path(piece), array)
        except OSError as error:
            _log.warning("Looking into %s will be slow, for a copy of it cannot be kept: %s", piece, error)

    def _path(self, piece: str) -> Path:
        shard, _, rest = piece.partition("/")
        return self._folder / shard / f"{Path(rest).stem}.npy"

    def _write(self, path: Path, array: np.ndarray) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".unfinished", delete=False) as file:
            try:
                np.save(file, array, allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise


def _run_dtype(count: int) -> np.dtype:
    return np.dtype([("hash", np.uint64, (count,)), ("row", np.int32, (count,))])


def _run_of(array: np.ndarray) -> Run:
    return array["hash"][0], array["row"][0]
