"""The manifest of a stored snapshot: what belongs to it, by which checksums, written by whom."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

FORMAT = 4


class UnusableError(Exception):
    """A snapshot that cannot be used, in words that say why."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A frame or piece of a snapshot: its name, its file below the shard's folder, what the file's bytes must be."""

    name: str
    file: str
    sha256: str
    size: int
    rows: int

    @classmethod
    def of(cls, name: str, file: str, data: bytes, rows: int) -> "Entry":
        """What bytes are to be known by."""
        return cls(name, file, checksum(data), len(data), rows)

    def is_of(self, data: bytes) -> bool:
        """Whether these are the bytes."""
        return len(data) == self.size and checksum(data) == self.sha256


@dataclass(frozen=True, slots=True)
class Manifest:
    """All of a snapshot but its frames and pieces; `told` is the manifest that the shard gave."""

    partition: int
    partitions: int
    told: Mapping[str, Any]
    frames: tuple[Entry, ...]
    pieces: tuple[Entry, ...]

    @property
    def cursor(self) -> int:
        """The offset that the snapshot stands at."""
        return int(self.told["cursor"])

    @property
    def writer_epoch(self) -> int:
        """Which of the shard's writers it is of: a later one has no smaller number."""
        return int(self.told.get("writer_epoch", 0))

    @property
    def size(self) -> int:
        """Bytes of all that belongs to it."""
        return sum(entry.size for entry in (*self.frames, *self.pieces))


def checksum(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def write_manifest(manifest: Manifest) -> bytes:
    """The manifest as JSON that carries its own checksum."""
    body = {
        "format": FORMAT,
        "partition": manifest.partition,
        "partitions": manifest.partitions,
        "cursor": manifest.cursor,
        "told": dict(manifest.told),
        "frames": [asdict(entry) for entry in manifest.frames],
        "pieces": [asdict(entry) for entry in manifest.pieces],
    }
    return json.dumps({**body, "sha256": checksum(_canonical(body))}, indent=1, sort_keys=True).encode()


def read_manifest(data: bytes, partition: int, partitions: int) -> Manifest:
    """The inverse of `write_manifest`.

    Raises: UnusableError where it is damaged, of another format, of another shard or of another partition count.
    """
    try:
        body = json.loads(data)
        given = body.pop("sha256")
        stored_format = body["format"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnusableError("its manifest is damaged") from error
    if stored_format != FORMAT:
        raise UnusableError(f"it has format {stored_format}, this release reads {FORMAT}")
    if given != checksum(_canonical(body)):
        raise UnusableError("its manifest is damaged")
    if (body["partition"], body["partitions"]) != (partition, partitions):
        raise UnusableError(
            f"it is of partition {body['partition']} of {body['partitions']}, not {partition} of {partitions}"
        )
    return Manifest(partition, partitions, body["told"], _entries(body["frames"]), _entries(body["pieces"]))


def _entries(told: Iterable[Mapping[str, Any]]) -> tuple[Entry, ...]:
    return tuple(Entry(**entry) for entry in told)


def _canonical(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
