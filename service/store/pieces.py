"""Pieces that lie in a store as Parquet, read and verified when asked for; local copies serve who needs only a part."""

import io
import logging
from collections.abc import Mapping

import polars as pl

from service.core.frames import REPEATS_PREFIX
from service.core.measures import PANE
from service.core.panes import DamagedError
from service.core.repeats import RUN, Run
from service.store.copies import Copies, Records
from service.store.files import Files
from service.store.manifest import Entry

_log = logging.getLogger(__name__)

_GROUP_ROWS = 16_384  # what a reader that wants few rows has to unpack at least


class FiledPiece:
    """A piece's file, and what its bytes must be; safe to ask from several threads."""

    folder: str  # within the shard's
    schema: Mapping[str, type[pl.DataType]]

    def __init__(self, files: Files, copies: Copies, path: str, entry: Entry) -> None:
        self.path = path
        self.entry = entry
        self._files = files
        self._copies = copies

    def verified(self) -> pl.DataFrame:
        """All of it as its file has it. Raises: DamagedError, OSError."""
        try:
            data = self._files.get(self.path)
        except FileNotFoundError as error:
            shard = self.path.partition("/")[0]
            if not self._files.list(shard):
                raise gone(self._files, shard) from error
            raise DamagedError(f"{self.path} is missing") from error
        if not self.entry.is_of(data):
            raise DamagedError(f"{self.path} is damaged")
        return pl.read_parquet(io.BytesIO(data)).select(pl.col(name).cast(kind) for name, kind in self.schema.items())


class StoredPane(FiledPiece):
    """Implements core.panes.Stored."""

    folder = "panes"
    schema = PANE
    _records: Records | None = None

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
            records = self._copies.open(self.path, self.rows)
            if records is None:
                raise
            _log.warning("The local copy of %s is used, for the store cannot be asked: %s", self.path, error)
            return records.frame()
        if self._copies.keeps and self._copies.open(self.path, self.rows) is None:
            self._copies.make(self.path, frame)
        return frame

    def copy(self, frame: pl.DataFrame) -> None:
        """Make a local copy of what is known to be in it."""
        if self._copies.keeps:
            self._copies.make(self.path, frame)

    @property
    def is_at_hand(self) -> bool:
        """Whether its local copy is open."""
        return self._records is not None

    def line_of(self, row: int) -> tuple[int, ...] | None:
        """The line of one row in the order of PANE, or None: a few microseconds. Raises: DamagedError."""
        return (self._records or self._open()).line(row)

    def _open(self) -> Records:
        records = self._copies.open(self.path, self.rows)
        if records is None:
            try:
                records = self._copies.make(self.path, self.verified())
            except OSError as error:
                raise DamagedError(f"{self.path} cannot be read just now: {error}") from error
        if records.is_mapped:
            self._records = records
        return records


class StoredRun(FiledPiece):
    """Implements core.repeats.Sealed."""

    folder = "repeats"
    schema = RUN
    _run: Run | None = None

    def read(self) -> pl.DataFrame:
        """All of it, columns of RUN. Raises: DamagedError, OSError."""
        return self.verified()

    def copy(self, frame: pl.DataFrame) -> None:
        """Make a local copy of what is known to be in it."""
        if self._copies.keeps:
            self._copies.make_run(self.path, frame)

    def run(self) -> Run:
        """It as arrays, mapped from the local copy once there is one. Raises: DamagedError, OSError."""
        if self._run is not None:
            return self._run
        self._run = self._copies.open_run(self.path, self.entry.rows)
        return self._run or self._copies.make_run(self.path, self.verified())


def gone(files: Files, shard: str) -> OSError:
    """Damage leaves something of a shard, a folder that is not mounted nothing at all."""
    return OSError(f"{files.place} holds nothing of {shard}: it may not be mounted")


def kind_of(name: str) -> type[StoredPane | StoredRun]:
    """What a piece of a snapshot is, by its name."""
    return StoredRun if name.startswith(REPEATS_PREFIX) else StoredPane


def encode(frame: pl.DataFrame, kind: type[FiledPiece]) -> bytes:
    """A piece as Parquet, each column as narrow as its values; the same values give the same bytes."""
    narrow = pl.DataFrame([frame[name].shrink_dtype() for name in kind.schema]).rechunk()
    buffer = io.BytesIO()
    narrow.write_parquet(buffer, compression="zstd", row_group_size=_GROUP_ROWS)
    return buffer.getvalue()
