"""Stores in a folder, and the shards that they bring back."""

from pathlib import Path

from service.core.frames import from_frames
from service.core.state import Config, State
from service.store.copies import Copies
from service.store.files import Files
from service.store.store import Store


def store_in(folder: Path, shards: int) -> Store:
    return Store(Files(str(folder)), Copies(folder / "cache"), shards)


def restored(store: Store, partition: int, config: Config) -> State:
    snapshot = store.newest(partition, 0)
    assert snapshot is not None
    return from_frames(config, snapshot.manifest, snapshot.frames, snapshot.stored)
