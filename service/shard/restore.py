"""Bringing a shard back: decisions are read, windows recomputed up to the cursor, and nothing is judged again."""

import asyncio
import contextlib
import logging
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import NamedTuple

import polars as pl

from service.clock import Clock
from service.core.books import AsRecorded
from service.core.events import COMMON, Batch
from service.core.frames import from_frames, recall
from service.core.state import Aside, State, new_state
from service.core.step import retrace, retrace_end
from service.core.turn import Decisions
from service.ports import Snapshot, Truncated
from service.shard.outbox import read_decisions_from
from service.shard.world import Terms, World
from service.wire.decode import decode

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class Way:
    """How far a restore has come in the records that it reads again; safe to read from any thread."""

    clock: Clock
    first: int = 0
    at: int = 0
    last: int = 0
    began_s: float = 0.0

    def begin(self, first: int, last: int) -> None:
        """Records from `first` to before `last` are to be read."""
        self.first, self.at, self.last, self.began_s = first, first, last, self.clock.elapsed_s()

    @property
    def sentence(self) -> str | None:
        """For people; None before it is known how far it is."""
        if self.last <= self.first:
            return None
        done, total = self.at - self.first, self.last - self.first
        told = f"{done:,} of {total:,} records are read again"
        if not done:
            return told
        left_s = (self.clock.elapsed_s() - self.began_s) * (total - done) / done
        return f"{told}, about {left_s:.0f} s are left"


class Restored(NamedTuple):
    """A shard as it stood; `has_begun_late` at a log whose first records were gone: only a snapshot remembers where."""

    state: State
    has_begun_late: bool


async def restore(
    partition: int, world: World, terms: Terms, aside: Aside = nullcontext, way: Way | None = None
) -> Restored:
    """Decisions to their end, the newest snapshot not ahead of the cursor, the log's tail; `way` is kept up to date.

    Raises: Lost, Truncated, and what `aside` raises to break it off.
    """
    async with world.restoring:
        decided = await read_decisions_from(world, terms, partition, -1)
        state = await _taken_up(decided.cursor, partition, world, terms)
        # Where nothing was ever taken, nothing is missed of what was deleted before.
        has_begun = decided.cursor > 0
        usage = await _first_left(state.cursor, terms.topics.usage, (partition, world, terms), has_begun=has_begun)
        told = decided.feedback_cursor
        reports = await _first_left(told, terms.topics.feedback, (partition, world, terms), has_begun=told > 0)
        has_begun_late = not has_begun and state.cursor < usage
        state.cursor = usage
        way = way or Way(world.clock)
        way.begin(state.cursor, decided.cursor)
        await _follow_tail(state, decided, (partition, world, terms), (aside, way))
        await asyncio.to_thread(recall, state, replace(decided, feedback_cursor=reports))
    return Restored(state, has_begun_late)


async def _taken_up(cursor: int, partition: int, world: World, terms: Terms) -> State:
    """The newest snapshot as a state; nothing else keeps its frames."""
    snapshot = await asyncio.to_thread(world.store.newest, partition, cursor)
    if snapshot is not None and "taken_us" in snapshot.manifest:
        world.observer.snapshot_found(partition, int(snapshot.manifest["taken_us"]))
    return await asyncio.to_thread(_begin, snapshot, terms, partition)


def _begin(snapshot: Snapshot | None, terms: Terms, partition: int) -> State:
    if snapshot is not None:
        try:
            return from_frames(terms.config, snapshot.manifest, snapshot.frames, snapshot.stored)
        except ValueError as error:
            _LOG.warning("shard %d reads the whole log again: %s", partition, error)
    return new_state(terms.config)


async def _first_left(cursor: int, topic: str, given: tuple[int, World, Terms], *, has_begun: bool) -> int:
    """The cursor, or the first offset behind it whose record was not deleted before it was read, or read again.

    Raises: Truncated where records are missed and that is not accepted.
    """
    partition, world, terms = given
    beginning = await world.log.beginning(topic, partition)
    if cursor < beginning and has_begun:
        gap = Truncated(topic, partition, cursor, beginning)
        if not terms.accept_gaps:
            raise gap
        _LOG.error("%s: gone on without them, windows lack them", gap)
    return max(cursor, beginning)


async def _follow_tail(
    state: State, decided: Decisions, given: tuple[int, World, Terms], beside: tuple[Aside, Way]
) -> None:
    (partition, world, terms), (aside, way) = given, beside
    cuts = {day: record.cut for day, record in decided.days.items()}
    book = AsRecorded(terms.rulebook, {day: record.rulebook for day, record in decided.days.items()})
    if state.cursor < decided.cursor:
        tail = world.log.read(terms.topics.usage, partition, state.cursor, decided.cursor)
        async with contextlib.aclosing(tail) as reading:
            async for records in reading:
                batch = (await asyncio.to_thread(decode, records, terms.intake)).batch
                await asyncio.to_thread(retrace, state, book, batch, cuts, aside)
                way.at = state.cursor
    rest = Batch(pl.DataFrame(schema=COMMON), {}, max(decided.cursor, state.cursor))
    await asyncio.to_thread(retrace, state, book, rest, cuts, aside)
    await asyncio.to_thread(retrace_end, state, book, cuts, aside)
