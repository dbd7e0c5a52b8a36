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


class Lines:
    """Records of panes by the pane's file; mapped into memory, so that only what is asked for is read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, pane: str, rows: int) -> np.ndarray | None:
        """The records of a pane of so many rows, or None where there is no whole copy."""
        try:
            found = np.load(self._path(pane), mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        return np.asarray(found) if found.dtype.names == tuple(PANE) and found.shape == (rows,) else None

    def make(self, pane: str, frame: pl.DataFrame) -> np.ndarray:
        """Copy a pane (columns of PANE, ascending by row); returns its records, in memory where no copy can be kept."""
        columns = {name: frame[name].shrink_dtype().to_numpy() for name in PANE}
        records = np.empty(frame.height, [(name, column.dtype) for name, column in columns.items()])
        for name, column in columns.items():
            records[name] = column
        try:
            self._write(self._path(pane), records)
        except OSError as error:
            _log.warning("Lookups of %s will be slow, for a copy of it cannot be kept: %s", pane, error)
            return records
        kept = self.open(pane, frame.height)
        return records if kept is None else kept

    def keep_only(self, shard: str, panes: Collection[str]) -> None:
        """Remove copies of a shard's panes other than these."""
        kept = {self._path(pane) for pane in panes}
        for path in (self._folder / shard).glob("*"):
            if path not in kept:
                path.unlink(missing_ok=True)

    def _path(self, pane: str) -> Path:
        shard, _, rest = pane.partition("/")
        return self._folder / shard / f"{Path(rest).stem}.npy"

    def _write(self, path: Path, records: np.ndarray) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".unfinished", delete=False) as file:
            try:
                np.save(file, records, allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise


def line(records: np.ndarray, row: int) -> tuple[int, ...] | None:
    """The record of a row, in the order of PANE, or None."""
    rows = records["row"]  # bisect looks at a few places of the file, where numpy's search would copy the column first
    at = bisect.bisect_left(rows, row)
    return records[at].item() if at < len(rows) and rows[at] == row else None
