"""Snapshots of shards: files first and the manifest last, so that one is there exactly when its manifest is.

<place>/shard-00003/
00000000000000001234.000001-9f3c1a/   a snapshot: cursor, a serial where one cursor has several, its writing's mark
000-roster.parquet ...
manifest.json              what belongs to it, with checksums
panes/15856-0-<checksum>.parquet      usage history, written once, shared by the snapshots that name it
repeats/15856-7-0-<checksum>.parquet  what was counted of a day that may come 7 days late, likewise
"""

import contextlib
import io
import logging
import re
import secrets
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from service.core.frames import Piece
from service.ports import Snapshot
from service.store.copies import Copies
from service.store.files import File, Files
from service.store.manifest import Entry, Manifest, UnusableError, checksum, read_manifest, write_manifest
from service.store.pieces import FiledPiece, StoredPane, StoredRun, encode, gone, kind_of

_log = logging.getLogger(__name__)

_MANIFEST = "manifest.json"
_SHARED = (StoredPane.folder, StoredRun.folder)  # of what several snapshots name
_SHARD = re.compile(r"shard-(\d{5})")
_NAME = re.compile(r"(\d{20}\.\d{6})-[0-9a-f]{6}")
_UNSAFE = re.compile(r"[^A-Za-z0-9_]+")


class Store:
    """Implements ports.SnapshotStore, `keep` snapshots of each of `partitions` shards.

    `copies` are local ones of pieces; every snapshot must say what `terms` say of the keys that they name. Of two
    writers of one shard the one with the smaller `writer_epoch` removes nothing.
    """

    def __init__(
        self, files: Files, copies: Copies, partitions: int, keep: int = 3, terms: Mapping[str, Any] | None = None
    ) -> None:
        self._files = files
        self._copies = copies
        self._partitions = partitions
        self._keep = keep
        self._terms = terms or {}
        self._seen: set[int] = set()  # partitions of which something lay here

    def is_empty(self) -> bool:
        """Whether no shard has a snapshot, be it usable or not. Raises: OSError."""
        return not any(file.path.endswith(f"/{_MANIFEST}") for file in self._files.list())

    def save(self, partition: int, snapshot: Snapshot) -> Mapping[str, StoredPane | StoredRun]:
        """Store a snapshot: it is there with all that belongs to it, or not at all; returns its pieces by name.

        Raises: OSError where the store does not do it; what was stored before is untouched then.
        """
        name = self._next_name(partition, int(snapshot.manifest["cursor"]))
        pieces = {called: self._store_piece(partition, called, piece) for called, piece in snapshot.pieces.items()}
        frames = [
            self._store_frame(partition, f"{name}/{number:03d}-{_safe(frame_name)}.parquet", frame_name, frame)
            for number, (frame_name, frame) in enumerate(snapshot.frames.items())
        ]
        entries = (replace(piece.entry, name=called) for called, piece in pieces.items())
        manifest = Manifest(partition, self._partitions, snapshot.manifest, tuple(frames), tuple(entries))
        self._files.put(f"{shard_of(partition)}/{name}/{_MANIFEST}", write_manifest(manifest))
        try:
            self.prune(partition, newest=name)
        except OSError as error:
            _log.warning("Shard %d is stored, but what is old could not be removed: %s", partition, error)
        return pieces

    def newest(self, partition: int, not_after: int) -> Snapshot | None:
        """The newest usable snapshot whose cursor is at most `not_after`; each that is passed over is logged.

        Raises: OSError where the store cannot be asked, which is not the same as having none.
        """
        for name in self.names(partition):
            if int(name.partition(".")[0]) > not_after:
                continue
            try:
                self._check_terms(self.manifest(partition, name))
                return self.load(partition, name)
            except UnusableError as error:
                _log.warning("Snapshot %s of shard %d is passed over: %s", name, partition, error)
        return None

    def _check_terms(self, manifest: Manifest) -> None:
        """Whether a snapshot is of the terms that its reader lives by. Raises: UnusableError."""
        for key, ours in self._terms.items():
            if manifest.told.get(key) != ours:
                raise UnusableError(f"its {key} is {manifest.told.get(key)}, that of the settings {ours}")

    def held_bytes(self, partition: int) -> int:
        """See ports.SnapshotStore."""
        for name in self.names(partition):
            with contextlib.suppress(UnusableError):
                return int(self.manifest(partition, name).told.get("held_bytes", 0))
        return 0

    def shards(self) -> list[int]:
        """Every partition that anything is stored of. Raises: OSError."""
        found = (_SHARD.fullmatch(file.path.partition("/")[0]) for file in self._files.list())
        return sorted({int(match[1]) for match in found if match})

    def names(self, partition: int) -> list[str]:
        """Names of a shard's snapshots, usable or not, newest first. Raises: OSError."""
        return _names(self._list(partition))

    def _list(self, partition: int) -> list[File]:
        """A shard's files. Raises: OSError where there are none any more: else a new beginning would hide the rest."""
        files = self._files.list(shard_of(partition))
        if files:
            self._seen.add(partition)
        elif partition in self._seen:
            raise gone(self._files, shard_of(partition))
        return files

    def load(self, partition: int, name: str) -> Snapshot:
        """A snapshot by its name, its frames read and verified, its pieces not. Raises: UnusableError, OSError."""
        manifest = self.manifest(partition, name)
        frames = {entry.name: self._frame(partition, entry) for entry in manifest.frames}
        return Snapshot(manifest.told, frames, {entry.name: self._piece(partition, entry) for entry in manifest.pieces})

    def manifest(self, partition: int, name: str) -> Manifest:
        """What a snapshot says of itself. Raises: UnusableError, OSError."""
        manifest = read_manifest(self._get(partition, f"{name}/{_MANIFEST}"), partition, self._partitions)
        if manifest.cursor != int(name[:20]):
            raise UnusableError(f"its manifest is of cursor {manifest.cursor}")
        return manifest

    def prune(self, partition: int, newest: str | None = None) -> int:
        """Remove what is older than `keep` readable snapshots up to `newest`, and pieces that none names any more.

        Nothing where a snapshot has a later writer than `newest`. Returns: files removed. Raises: OSError.
        """
        files = self._list(partition)
        readable = self._readable(partition, _names(files))
        counted = [name for name in readable if newest is None or name <= newest]
        if not counted:
            return 0
        ours = readable[counted[0]].writer_epoch
        if any(manifest.writer_epoch > ours for manifest in readable.values()):
            _log.warning("Shard %d has a newer writer; its snapshots are left as they are", partition)
            return 0
        oldest = counted[: self._keep][-1]
        gone = [file.path for file in files if _is_older(file.path, oldest)]
        left = [name for name in _names(files) if not _is_older(f"{shard_of(partition)}/{name}/", oldest)]
        if all(name in readable for name in left):
            # What is younger may belong to a snapshot that somebody is just storing.
            since = next(file.modified for file in files if file.path.endswith(f"/{oldest}/{_MANIFEST}"))
            named = {f"{shard_of(partition)}/{piece.file}" for name in left for piece in readable[name].pieces}
            pieces = {file.path for file in files if _is_shared(file.path) and file.modified <= since}
            gone += sorted(pieces - named)
            self._files.sweep(shard_of(partition), since)
            self._copies.keep_only(shard_of(partition), named)
        # Without its manifest a snapshot is no longer there, however much of it is left.
        self._files.delete(sorted(gone, key=lambda path: not path.endswith(f"/{_MANIFEST}")))
        return len(gone)

    def _readable(self, partition: int, names: list[str]) -> dict[str, Manifest]:
        readable = {}
        for name in names:
            try:
                readable[name] = self.manifest(partition, name)
            except UnusableError:
                continue
        return readable

    def _next_name(self, partition: int, cursor: int) -> str:
        # A day closed by the clock leaves the cursor where it is, and is worth a snapshot all the same.
        folders = {file.path.split("/")[1] for file in self._list(partition)}
        same = [int(name[21:27]) for name in folders if _NAME.fullmatch(name) and int(name[:20]) == cursor]
        return f"{cursor:020d}.{max(same, default=0) + 1:06d}-{secrets.token_hex(3)}"

    def _store_frame(self, partition: int, file: str, name: str, frame: pl.DataFrame) -> Entry:
        data = _encode(frame)
        self._files.put(f"{shard_of(partition)}/{file}", data)
        return Entry.of(name, file, data, frame.height)

    def _store_piece(self, partition: int, name: str, piece: Piece) -> StoredPane | StoredRun:
        if isinstance(piece, StoredPane | StoredRun) and piece.path.startswith(f"{shard_of(partition)}/"):
            return piece
        kind = kind_of(name)
        frame = piece if isinstance(piece, pl.DataFrame) else piece.read()
        data = encode(frame, kind)
        file = f"{kind.folder}/{_safe(name.rpartition('/')[2])}-{checksum(data)[:32]}.parquet"
        stored = self._piece(partition, Entry.of(name, file, data, frame.height))
        if not self._holds(stored):
            self._files.put(stored.path, data)
        stored.copy(frame)
        return stored

    def _holds(self, piece: FiledPiece) -> bool:
        """Whether the file is there, whole."""
        try:
            return piece.entry.is_of(self._files.get(piece.path))
        except FileNotFoundError:
            return False

    def _piece(self, partition: int, entry: Entry) -> StoredPane | StoredRun:
        return kind_of(entry.name)(self._files, self._copies, f"{shard_of(partition)}/{entry.file}", entry)

    def _frame(self, partition: int, entry: Entry) -> pl.DataFrame:
        data = self._get(partition, entry.file)
        if not entry.is_of(data):
            raise UnusableError(f"{entry.file} is damaged")
        return pl.read_parquet(io.BytesIO(data))

    def _get(self, partition: int, file: str) -> bytes:
        try:
            return self._files.get(f"{shard_of(partition)}/{file}")
        except FileNotFoundError as error:
            raise UnusableError(f"{file} is missing") from error
        except OSError as error:
            if self._files.folder is None:
                raise  # it is away, and comes back
            raise UnusableError(f"{file} cannot be read: {error}") from error


def shard_of(partition: int) -> str:
    """The folder of a shard."""
    return f"shard-{partition:05d}"


def _names(files: list[File]) -> list[str]:
    """Names of the snapshots among a shard's files, newest first."""
    found = {Path(file.path).parts[1] for file in files if file.path.endswith(f"/{_MANIFEST}")}
    return sorted((name for name in found if _NAME.fullmatch(name)), reverse=True)


def _is_older(path: str, name: str) -> bool:
    """Whether a file belongs to a snapshot, finished or not, before another; not if only its writing's mark differs."""
    match = _NAME.fullmatch(path.split("/")[1])
    return match is not None and match[1] < name[:27]


def _is_shared(path: str) -> bool:
    return path.split("/")[1] in _SHARED


def _safe(name: str) -> str:
    return _UNSAFE.sub("-", name)


def _encode(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.rechunk().write_parquet(buffer, compression="zstd")
    return buffer.getvalue()
