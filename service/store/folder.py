"""Snapshots in a folder: whole or not there, verified when read, history written once. It never changes a file.

<folder>/shard-00003/
00000000000000001234.000001/   a snapshot: cursor, and a serial where one cursor has several
manifest.json              what belongs to it, with checksums
000-roster.parquet ...
panes/15856-<checksum>.parquet usage history, shared by the snapshots that name it
"""

import io
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from service.core.panes import DamagedError
from service.ports import Snapshot, Stored
from service.store.disk import Disk
from service.store.manifest import Entry, Manifest, UnusableError, checksum, read_manifest, write_manifest

_log = logging.getLogger(__name__)

_MANIFEST = "manifest.json"
_PANES = "panes"
_PANE_PREFIX = "pane/"
_UNFINISHED = ".unfinished-"
_NAME = re.compile(r"(\d{20})\.(\d{6})")
_UNSAFE = re.compile(r"[^A-Za-z0-9_]+")


@dataclass(frozen=True, slots=True)
class _Pane:
    """Implements core.panes.Stored."""

    shard: Path
    entry: Entry
    disk: Disk

    @property
    def rows(self) -> int:
        return self.entry.rows

    def read(self) -> pl.DataFrame:
        try:
            return _frame(self.shard, self.entry, self.disk)
        except (UnusableError, OSError) as error:
            raise DamagedError(str(error)) from error

    def of_row(self, row: int) -> pl.DataFrame:
        return self.read().filter(pl.col("row") == row)


class FolderStore:
    """Implements ports.SnapshotStore on a local folder, `keep` snapshots of each shard.

    Not for two writers of one shard at once: of two, the one with the smaller `writer_epoch` in its manifest removes
    nothing.
    """

    def __init__(self, folder: Path, partitions: int, keep: int = 2, disk: Disk | None = None) -> None:
        self._folder = folder
        self._partitions = partitions
        self._keep = keep
        self._disk = disk or Disk()

    def is_empty(self) -> bool:
        """Whether no shard has a snapshot, be it usable or not."""
        shards = [self._folder / name for name in self._disk.names(self._folder)]
        return not any(_NAME.fullmatch(name) for shard in shards for name in self._disk.names(shard))

    def save(self, partition: int, snapshot: Snapshot) -> dict[str, Stored]:
        """Store a snapshot: it is there with all that belongs to it, or not at all.

        Raises: OSError where the disk does not do it; what was stored before is untouched then.
        """
        shard = self._shard(partition)
        self._disk.make_folder(shard / _PANES)
        self._remove_unfinished(shard)
        name = self._next_name(shard, int(snapshot.manifest["cursor"]))
        draft = shard / f"{_UNFINISHED}{name}"
        self._disk.make_folder(draft)
        kept = {n: self._store_pane(shard, n, pane) for n, pane in snapshot.panes.items()}
        entries = [*self._store_frames(draft, name, snapshot.frames), *(pane.entry for pane in kept.values())]
        manifest = Manifest(partition, self._partitions, snapshot.manifest, tuple(entries))
        self._disk.sync_folder(shard / _PANES)
        self._disk.write(draft / _MANIFEST, write_manifest(manifest))
        self._disk.sync_folder(draft)
        self._disk.rename(draft, shard / name)
        self._disk.sync_folder(shard)
        try:
            self._prune(partition, manifest.writer_epoch)
        except OSError as error:
            _log.warning("Shard %d is stored, but what is old could not be removed: %s", partition, error)
        return dict(kept)

    def newest(self, partition: int, not_after: int) -> Snapshot | None:
        """The newest usable snapshot whose cursor is at most `not_after`; each that is passed over is logged."""
        shard = self._shard(partition)
        for name in self._names(shard):
            if int(name.partition(".")[0]) > not_after:
                continue
            try:
                return self._load(partition, name)
            except (UnusableError, OSError) as error:
                _log.warning("Snapshot %s of shard %d is passed over: %s", name, partition, error)
        return None

    def _shard(self, partition: int) -> Path:
        return self._folder / f"shard-{partition:05d}"

    def _names(self, shard: Path) -> list[str]:
        """Names of snapshots, newest first."""
        return [name for name in reversed(self._disk.names(shard)) if _NAME.fullmatch(name)]

    def _next_name(self, shard: Path, cursor: int) -> str:
        # A day closed by the clock leaves the cursor where it is, and is worth a snapshot all the same.
        same = [int(name[21:]) for name in self._names(shard) if int(name[:20]) == cursor]
        return f"{cursor:020d}.{max(same, default=0) + 1:06d}"

    def _remove_unfinished(self, shard: Path) -> None:
        for folder in (shard, shard / _PANES):
            for name in self._disk.names(folder):
                if name.startswith(_UNFINISHED):
                    self._disk.remove(folder / name)

    def _store_frames(self, draft: Path, name: str, frames: Mapping[str, pl.DataFrame]) -> Iterator[Entry]:
        for number, (frame_name, frame) in enumerate(frames.items()):
            data = _encode(frame)
            file = f"{number:03d}-{_UNSAFE.sub('-', frame_name)}.parquet"
            self._disk.write(draft / file, data)
            yield Entry(frame_name, f"{name}/{file}", checksum(data), len(data), frame.height)

    def _store_pane(self, shard: Path, name: str, pane: pl.DataFrame | Stored) -> "_Pane":
        if isinstance(pane, _Pane) and pane.shard == shard:
            return pane
        frame = pane if isinstance(pane, pl.DataFrame) else pane.read()
        data = _encode(frame)
        entry_sum = checksum(data)
        file = f"{name}-{entry_sum[:32]}.parquet"
        entry = Entry(f"{_PANE_PREFIX}{name}", f"{_PANES}/{file}", entry_sum, len(data), frame.height)
        if not self._holds(shard, entry):
            draft = shard / _PANES / f"{_UNFINISHED}{file}"
            self._disk.write(draft, data)
            self._disk.rename(draft, shard / entry.file)
        return _Pane(shard, entry, self._disk)

    def _holds(self, shard: Path, entry: Entry) -> bool:
        """Whether the file is there, whole."""
        try:
            return checksum(self._disk.read(shard / entry.file)) == entry.sha256
        except FileNotFoundError:
            return False

    def _load(self, partition: int, name: str) -> Snapshot:
        shard = self._shard(partition)
        manifest = self._manifest(partition, name)
        panes = [entry for entry in manifest.entries if entry.name.startswith(_PANE_PREFIX)]
        frames = {e.name: _frame(shard, e, self._disk) for e in manifest.entries if e not in panes}
        return Snapshot(
            manifest.told, frames, {e.name.removeprefix(_PANE_PREFIX): _Pane(shard, e, self._disk) for e in panes}
        )

    def _manifest(self, partition: int, name: str) -> Manifest:
        try:
            data = self._disk.read(self._shard(partition) / name / _MANIFEST)
        except FileNotFoundError as error:
            raise UnusableError("it has no manifest") from error
        manifest = read_manifest(data, partition, self._partitions)
        if manifest.cursor != int(name[:20]):
            raise UnusableError(f"its manifest is of cursor {manifest.cursor}")
        return manifest

    def _prune(self, partition: int, epoch: int) -> None:
        """Remove what is older than the newest `keep` readable snapshots, and the panes that none names any more."""
        shard = self._shard(partition)
        readable: dict[str, Manifest] = {}
        for name in self._names(shard):
            try:
                readable[name] = self._manifest(partition, name)
            except (UnusableError, OSError):
                continue
        if any(manifest.writer_epoch > epoch for manifest in readable.values()):
            _log.warning("Shard %d has a newer writer; its snapshots are left as they are", partition)
            return
        oldest = list(readable)[: self._keep][-1]
        for name in self._names(shard):
            if name < oldest:
                self._disk.remove(shard / name)
        left = self._names(shard)
        if all(name in readable for name in left):
            named = {entry.file for name in left for entry in readable[name].entries}
            for file in self._disk.names(shard / _PANES):
                if f"{_PANES}/{file}" not in named:
                    self._disk.remove(shard / _PANES / file)


def _frame(shard: Path, entry: Entry, disk: Disk) -> pl.DataFrame:
    try:
        data = disk.read(shard / entry.file)
    except FileNotFoundError as error:
        raise UnusableError(f"{entry.file} is missing") from error
    if len(data) != entry.size or checksum(data) != entry.sha256:
        raise UnusableError(f"{entry.file} is damaged")
    return pl.read_parquet(io.BytesIO(data))


def _encode(frame: pl.DataFrame) -> bytes:
    """A frame as Parquet; the same values give the same bytes, in however many pieces they lie."""
    buffer = io.BytesIO()
    frame.rechunk().write_parquet(buffer, compression="zstd")
    return buffer.getvalue()
