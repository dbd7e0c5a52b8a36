"""A pane that lies in a store: Parquet, read and verified when asked for, and a local copy for single lines."""

import io
import logging

import polars as pl

from service.core.measures import PANE
from service.core.panes import DamagedError
from service.store.files import Files
from service.store.lines import Lines, Records
from service.store.manifest import Entry

_log = logging.getLogger(__name__)

_GROUP_ROWS = 16_384  # what a reader that wants few rows has to unpack at least


class StoredPane:
    """Implements core.panes.Stored on a pane's file; safe to ask from several threads."""

    def __init__(self, files: Files, lines: Lines, path: str, entry: Entry) -> None:
        self.path = path
        self.entry = entry
        self._files = files
        self._lines = lines
        self._records: Records | None = None

    @property
    def rows(self) -> int:
        """How many lines it has."""
        return self.entry.rows

    def read(self) -> pl.DataFrame:
        """All of it, columns of PANE; while the store is away as the local copy has it.

        Raises: DamagedError where the file is not what was stored, OSError where there is nobody to ask.
        """
        try:
            frame = self.verified()
        except OSError as error:
            records = self._lines.open(self.path, self.rows)
            if records is None:
                raise
            _log.warning("The local copy of %s is used, for the store cannot be asked: %s", self.path, error)
            return records.frame()
        if self._lines.open(self.path, self.rows) is None:
            self._lines.make(self.path, frame)
        return frame

    @property
    def is_at_hand(self) -> bool:
        """Whether its local copy is open."""
        return self._records is not None

    def line_of(self, row: int) -> tuple[int, ...] | None:
        """The line of one row in the order of PANE, or None: a few microseconds. Raises: DamagedError."""
        return (self._records or self._open()).line(row)

    def verified(self) -> pl.DataFrame:
        """All of it as its file has it. Raises: DamagedError, OSError."""
        try:
            data = self._files.get(self.path)
        except FileNotFoundError as error:
            raise DamagedError(f"{self.path} is missing") from error
        if not self.entry.is_of(data):
            raise DamagedError(f"{self.path} is damaged")
        return pl.read_parquet(io.BytesIO(data)).select(pl.col(name).cast(dtype) for name, dtype in PANE.items())

    def _open(self) -> Records:
        records = self._lines.open(self.path, self.rows)
        if records is None:
            try:
                records = self._lines.make(self.path, self.verified())
            except OSError as error:
                raise DamagedError(f"{self.path} cannot be read just now: {error}") from error
        if records.is_mapped:
            self._records = records
        return records


def encode_pane(frame: pl.DataFrame) -> bytes:
    """A pane as Parquet, each column as narrow as its values; the same values give the same bytes."""
    narrow = pl.DataFrame([frame[name].shrink_dtype() for name in PANE]).rechunk()
    buffer = io.BytesIO()
    narrow.write_parquet(buffer, compression="zstd", row_group_size=_GROUP_ROWS)
    return buffer.getvalue()
