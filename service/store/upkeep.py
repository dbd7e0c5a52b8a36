"""What people ask of a store: what it holds, and whether all of it is as it was written."""

from collections.abc import Iterator
from dataclasses import dataclass

from service.core.panes import DamagedError
from service.store.manifest import UnusableError
from service.store.pieces import FiledPiece, StoredPane, StoredRun
from service.store.store import Store


@dataclass(frozen=True, slots=True)
class Kept:
    """A stored snapshot as its manifest tells it; only `partition` and `name` where that is not valid."""

    partition: int
    name: str
    trouble: str | None = None  # why the manifest is not valid
    cursor: int | None = None
    closed_day: int | None = None  # days since 1970
    taken_us: int | None = None
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """A snapshot that was read to its last byte, and what is wrong with it, a sentence each."""

    partition: int
    name: str
    damages: tuple[str, ...]


def kept(store: Store) -> Iterator[Kept]:
    """Every snapshot, each shard's newest first. Raises: OSError."""
    for partition in store.shards():
        for name in store.names(partition):
            try:
                manifest = store.manifest(partition, name)
            except UnusableError as error:
                yield Kept(partition, name, str(error))
                continue
            told = manifest.told
            yield Kept(
                partition, name, None, manifest.cursor, told.get("closed_day"), told.get("taken_us"), manifest.size
            )


def verify(store: Store) -> Iterator[Checked]:
    """Read every snapshot with its frames and pieces, one that several share once. Raises: OSError."""
    for partition in store.shards():
        verdicts: dict[str, str | None] = {}
        for name in store.names(partition):
            try:
                pieces = store.load(partition, name).pieces.values()
            except UnusableError as error:
                yield Checked(partition, name, (str(error),))
                continue
            stored = [piece for piece in pieces if isinstance(piece, StoredPane | StoredRun)]
            verdicts |= {piece.path: _damage(piece) for piece in stored if piece.path not in verdicts}
            found = (verdicts[piece.path] for piece in stored)
            yield Checked(partition, name, tuple(damage for damage in found if damage))


def _damage(piece: FiledPiece) -> str | None:
    try:
        piece.verified()
    except DamagedError as error:
        return str(error)
    return None
