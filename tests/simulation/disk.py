"""Where snapshots lie: an object store in memory under the real Store, which fails, is damaged, sees writers die."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from service.ports import Snapshot, StoredPiece
from service.store.copies import Copies
from service.store.files import File, Files
from service.store.store import Store, shard_of
from tests.doubles.files import PowerCut
from tests.simulation.chance import Chance

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Disk:
    """Bytes by path, seen by all processes; `failing` and `deadly` are shares of writes, `away` of reads."""

    def __init__(self, chance: Chance, now_us: Callable[[], int]) -> None:
        self.files: dict[str, tuple[bytes, datetime]] = {}
        self.chance = chance
        self.failing = self.deadly = self.away = 0.0
        self._now_us = now_us

    def now(self) -> datetime:
        return _EPOCH + timedelta(microseconds=self._now_us())

    def damage(self) -> str | None:
        """Spoil a frame or manifest of some snapshot; nothing that would leave days unknown."""
        of_snapshots = sorted(path for path in self.files if "/panes/" not in path and "/repeats/" not in path)
        if not of_snapshots:
            return None
        path = self.chance.choice(of_snapshots)
        data, modified = self.files[path]
        at = self.chance.randrange(len(data))
        self.files[path] = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], modified
        return path


class SimulatedFiles(Files):
    """One process's way to the disk; `die` ends that process in the middle of a write."""

    def __init__(self, disk: Disk, die: Callable[[], None]) -> None:
        super().__init__("memory://disk")
        self._disk = disk
        self._die = die

    def put(self, path: str, data: bytes) -> None:
        if self._disk.chance.happens(self._disk.failing):
            raise OSError(28, "no space left on device")
        if self._disk.chance.happens(self._disk.deadly):
            self._die()
            raise PowerCut
        self._disk.files[path] = data, self._disk.now()

    def get(self, path: str) -> bytes:
        self._reach()
        if path not in self._disk.files:
            raise FileNotFoundError(path)
        return self._disk.files[path][0]

    def list(self, prefix: str | None = None) -> list[File]:
        self._reach()
        below = "" if prefix is None else f"{prefix}/"
        files = sorted(self._disk.files.items())
        return [File(path, len(data), at) for path, (data, at) in files if path.startswith(below)]

    def delete(self, paths: Sequence[str]) -> None:
        for path in paths:
            self._reach()
            self._disk.files.pop(path, None)

    def _reach(self) -> None:
        if self._disk.chance.happens(self._disk.away):
            raise OSError("the store does not answer")


class MemoryCopies(Copies):
    """Local copies of one process, which end with it."""

    keeps = True

    def __init__(self) -> None:
        self._kept: dict[str, np.ndarray] = {}

    def keep_only(self, shard: str, pieces: Collection[str]) -> None:
        self._kept = {piece: kept for piece, kept in self._kept.items() if piece in pieces or shard not in piece}

    def _load(self, piece: str) -> np.ndarray | None:
        return self._kept.get(piece)

    def _save(self, piece: str, array: np.ndarray) -> None:
        self._kept[piece] = array


class WatchedStore:
    """ports.SnapshotStore: the real one, and a sentence to `blame` where a snapshot is ahead of what is committed."""

    def __init__(self, store: Store, committed: Callable[[int], int], blame: Callable[[str], None]) -> None:
        self._store = store
        self._committed = committed
        self._blame = blame

    def save(self, partition: int, snapshot: Snapshot) -> Mapping[str, StoredPiece]:
        self._check(partition, snapshot, "is written")
        return self._store.save(partition, snapshot)

    def newest(self, partition: int, not_after: int) -> Snapshot | None:
        found = self._store.newest(partition, not_after)
        if found is not None:
            self._check(partition, found, "is used")
        return found

    def held_bytes(self, partition: int) -> int:
        return self._store.held_bytes(partition)

    def _check(self, partition: int, snapshot: Snapshot, what: str) -> None:
        cursor, committed = int(snapshot.manifest["cursor"]), self._committed(partition)
        if cursor > committed:
            self._blame(f"a snapshot of {shard_of(partition)} {what} at {cursor}, committed is {committed}")
