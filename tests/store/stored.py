"""Snapshots to store, and questions about what lies in a store."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from polars.testing import assert_frame_equal

from service.core.measures import MEASURES, PANE
from service.core.repeats import RUN
from service.ports import Piece, Snapshot
from service.store.copies import Copies
from service.store.files import Files
from service.store.store import Store

FAR = 10**12
AT = 3


def pane(*rows: int, seed: int = 0) -> pl.DataFrame:
    """Usage of some rows, ascending."""
    drawn = np.random.default_rng(seed)
    columns = {name: drawn.integers(-5, 10 ** (2 + at), len(rows)) for at, name in enumerate(MEASURES)}
    return pl.DataFrame({"row": np.array(rows, np.int32), **columns}, schema=PANE)


PANES: dict[str, Piece] = {"15800.0": pane(0, 2, seed=1), "15801.0": pane(1, 2, 9, seed=2)}


def run(*hashes: int) -> pl.DataFrame:
    """Repeats of hashes, ascending, each of its own row."""
    return pl.DataFrame({"hash": hashes, "row": range(len(hashes))}, schema=RUN)


def snapshot(cursor: int, pieces: dict[str, Piece] | None = None, **told: Any) -> Snapshot:
    """One with frames of every sort, other than any of another cursor."""
    said = {"cursor": cursor, "writer_epoch": 0, "claims": [[2**64 - 1, 5]], "zone": "UTC", "taken_us": 7, **told}
    frames = {
        "roster": pl.DataFrame({"subscriber_id": ["a", "日本", str(cursor)]}),
        "table/bundles": pl.DataFrame({"row": [1], "ends": pl.Series([None], dtype=pl.Date)}),
        "repeats": pl.DataFrame({"hash": pl.Series([2**64 - 1], dtype=pl.UInt64)}),
        "empty": pl.DataFrame(schema={"row": pl.Int32, "text": pl.String}),
    }
    return Snapshot(said, frames, PANES | (pieces or {}))


def store_at(place: str, folder: Path, files: Files | None = None, partitions: int = 8, keep: int = 3) -> Store:
    """A store as a process that has just started has it."""
    return Store(files or Files(place), Copies(folder / "lines"), partitions, keep, {"zone": "UTC"})


def assert_same(found: Snapshot | None, stored: Snapshot) -> None:
    assert found is not None
    assert found.manifest == stored.manifest
    assert found.frames.keys() == stored.frames.keys()
    for name, frame in stored.frames.items():
        assert_frame_equal(found.frames[name], frame)
    assert found.pieces.keys() == stored.pieces.keys()
    for name, piece in stored.pieces.items():
        assert_frame_equal(read(found.pieces[name]), read(piece))


def read(piece: Piece) -> pl.DataFrame:
    return piece if isinstance(piece, pl.DataFrame) else piece.read()


def cursor_of(found: Snapshot | None) -> int | None:
    return None if found is None else int(found.manifest["cursor"])


def paths(place: str, holding: str = "") -> list[str]:
    return [file.path for file in Files(place).list("shard-00003") if holding in file.path]


def cursors(place: str) -> list[int]:
    """Of the snapshots that are there, oldest first."""
    return [int(path.split("/")[1][:20]) for path in paths(place, "manifest.json")]


def flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
