"""The manifest of a stored snapshot: what belongs to it, by which checksums, written by whom."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FORMAT = 1


class UnusableError(Exception):
    """A snapshot that cannot be used, in words that say why."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One frame of a snapshot: its name, its file below the shard's folder, and what the file's bytes must be."""

    name: str
    file: str
    sha256: str
    size: int
    rows: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """All of a snapshot but its frames; `told` is the manifest that the shard gave."""

    partition: int
    partitions: int
    told: Mapping[str, Any]
    entries: tuple[Entry, ...]

    @property
    def cursor(self) -> int:
        """The offset that the snapshot stands at."""
        return int(self.told["cursor"])

    @property
    def writer_epoch(self) -> int:
        """Which of the shard's writers it is of: a later one has a greater number."""
        return int(self.told.get("writer_epoch", 0))


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
        "frames": [
            {"name": e.name, "file": e.file, "sha256": e.sha256, "size": e.size, "rows": e.rows}
            for e in manifest.entries
        ],
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
    entries = (Entry(f["name"], f["file"], f["sha256"], f["size"], f["rows"]) for f in body["frames"])
    return Manifest(partition, partitions, body["told"], tuple(entries))


def _canonical(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
