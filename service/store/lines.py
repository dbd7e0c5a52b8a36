"""Local copies of panes in which one subscriber's line is found in microseconds: only a cache, made again at need.

<folder>/shard-00003/15856-0-<checksum>.npy    records of PANE's columns, each as narrow as its values, by row
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


class Lines:
    """Records of panes by the pane's file; mapped into memory, so that only what is asked for is read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, pane: str, rows: int) -> Records | None:
        """The records of a pane of so many rows, or None where there is no whole copy."""
        try:
            found = np.load(self._path(pane), mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        return Records(np.asarray(found)) if found.dtype.names == tuple(PANE) and found.shape == (rows,) else None

    def make(self, pane: str, frame: pl.DataFrame) -> Records:
        """Copy a pane (columns of PANE, ascending by row); returns its records, in memory where no copy can be kept."""
        columns = {name: frame[name].shrink_dtype().to_numpy() for name in PANE}
        array = np.empty(frame.height, np.dtype([(name, column.dtype) for name, column in columns.items()], align=True))
        for name, column in columns.items():
            array[name] = column
        try:
            self._write(self._path(pane), array)
        except OSError as error:
            _log.warning("Lookups of %s will be slow, for a copy of it cannot be kept: %s", pane, error)
            return Records(array)
        return self.open(pane, frame.height) or Records(array)

    def keep_only(self, shard: str, panes: Collection[str]) -> None:
        """Remove copies of a shard's panes other than these."""
        kept = {self._path(pane) for pane in panes}
        for path in (self._folder / shard).glob("*"):
            if path not in kept:
                path.unlink(missing_ok=True)

    def _path(self, pane: str) -> Path:
        shard, _, rest = pane.partition("/")
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
