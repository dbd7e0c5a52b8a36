"""Keeping snapshots of a shard: often enough to bound its tail, beside its turns, always at a committed cursor."""

import asyncio
import logging
from collections.abc import Mapping

from service.core.departure import release_lost
from service.core.frames import leave, meta, pieces_of, to_frames
from service.core.state import State
from service.ports import Snapshot, StoredPiece
from service.shard.display import Display
from service.shard.world import Terms, World, growing

_LOG = logging.getLogger(__name__)


class Snapshots:
    """When one is due, and the one that is being written."""

    def __init__(self, partition: int, world: World, terms: Terms, display: Display) -> None:
        self._partition = partition
        self._world = world
        self._terms = terms
        self._display = display
        self._cursor = self._epoch = 0
        self._records = 0
        self._taken_s = 0.0
        self._failures = 0
        self._again_s = 0.0  # where the last one failed: when the next may be tried
        self._writing: asyncio.Task[None] | None = None
        self._kept: Mapping[str, StoredPiece] = {}

    def open(self, state: State, writer_epoch: int) -> None:
        """Begin with a state that was just restored; later lives have no smaller epochs."""
        self._epoch = writer_epoch
        self._begin(state)

    def _begin(self, state: State) -> None:
        self._cursor, self._records, self._taken_s = state.cursor, 0, self._world.clock.elapsed_s()

    def note(self, records: int) -> None:
        """So many records were taken into state."""
        self._records += records

    def is_due(self, state: State) -> bool:
        """Whether enough has changed, or what has changed is old enough."""
        if self._writing is not None and not self._writing.done():
            return False
        if self._failures:
            return self._world.clock.elapsed_s() >= self._again_s
        if state.cursor == self._cursor:
            return False
        elapsed_s = self._world.clock.elapsed_s() - self._taken_s
        return self._records >= self._terms.snapshot_records or elapsed_s >= self._terms.snapshot_interval_s

    def settle(self, state: State) -> None:
        """Let go of what the store has now; to be called between steps, which read pieces with the lock open."""
        if self._kept:
            with self._display.stepping():
                leave(state, self._kept)
            self._kept = {}

    async def begin_keeping(self, state: State) -> None:
        """Copy the state, all of which is committed, and write it while the shard goes on."""
        self.settle(state)
        taken_us = self._world.clock.now_us()
        snapshot = await asyncio.to_thread(self._copy, state, taken_us)
        self._begin(state)
        self._writing = asyncio.create_task(self._write(snapshot, taken_us))

    async def keep(self, state: State) -> None:
        """Write one now, unless nothing has changed."""
        await self.finish()
        if self._failures or state.cursor != self._cursor:
            await self.begin_keeping(state)

    async def finish(self) -> None:
        """Wait for the one that is being written."""
        if self._writing is not None:
            await self._writing

    def _copy(self, state: State, taken_us: int) -> Snapshot:
        with self._display.stepping():
            if lost := release_lost(state):
                _LOG.info("shard %d forgets %d subscribers of whom nothing was heard for long", self._partition, lost)
            said = {
                "taken_us": taken_us,
                "writer_epoch": self._epoch,
                "rulebook": self._terms.rulebook.on(state.closed_day or 0).hash,
            }
            manifest = meta(state) | said
            pieces = pieces_of(state)
            return Snapshot(manifest, to_frames(state), pieces)

    async def _write(self, snapshot: Snapshot, taken_us: int) -> None:
        observer, began_s = self._world.observer, self._world.clock.elapsed_s()
        try:
            self._kept = await asyncio.to_thread(self._world.store.save, self._partition, snapshot)
        except OSError as error:  # the next one may find room; the log still holds what this one would have
            back_off_s = growing(self._terms.most_back_off_s, self._failures, self._terms.snapshot_interval_s)
            self._failures += 1
            self._again_s = self._world.clock.elapsed_s() + back_off_s
            _LOG.error("shard %d keeps no snapshot, tries again in %.0f s: %s", self._partition, back_off_s, error)
            observer.snapshot_failed()
            return
        self._failures = 0
        size = sum(int(frame.estimated_size()) for frame in snapshot.frames.values())
        observer.snapshot_saved(self._partition, self._world.clock.elapsed_s() - began_s, size, taken_us)
