"""Bringing a shard back: decisions are read, windows recomputed up to the cursor, and nothing is judged again."""

import asyncio
import contextlib
import logging
from contextlib import nullcontext
from dataclasses import dataclass

import polars as pl

from service.core.events import COMMON, Batch
from service.core.frames import from_frames, recall
from service.core.state import Aside, State, new_state
from service.core.step import retrace, retrace_end
from service.ports import Snapshot, Truncated
from service.shard.outbox import read_decisions_from
from service.shard.world import Terms, World
from service.wire.decisions import Decisions
from service.wire.decode import decode

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class Progress:
    """How far a restore has come, in usage records."""

    done: int = 0
    total: int = 0
    has_begun_late: bool = False  # at a log whose first records were gone: only a snapshot can remember where


async def restore(partition: int, world: World, terms: Terms, progress: Progress, aside: Aside = nullcontext) -> State:
    """Decisions to their end, the newest snapshot not ahead of the cursor, the log's tail.

    Raises: Lost, Truncated, and what `aside` raises to break it off.
    """
    async with world.restoring:
        decided = await read_decisions_from(world, terms, partition, -1)
        state = await _taken_up(decided.cursor, partition, world, terms)
        beginning = await world.log.beginning(terms.topics.usage, partition)
        progress.has_begun_late = not decided.cursor and state.cursor < beginning
        if state.cursor < beginning:
            if decided.cursor:  # else nothing was ever taken, and nothing is missed
                _mind_the_gap(Truncated(terms.topics.usage, partition, state.cursor, beginning), terms)
            state.cursor = beginning
        await _follow_tail(state, decided, (partition, world, terms), progress, aside)
        contacts, days = decided.contacts, decided.days
        await asyncio.to_thread(recall, state, decided.episodes, contacts, days, decided.feedback_cursor)
    return state


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


def _mind_the_gap(gap: Truncated, terms: Terms) -> None:
    """Records between the state and the log's beginning were deleted before they were read, or read again.

    Raises: Truncated where that is not accepted.
    """
    if not terms.accept_gaps:
        raise gap
    _LOG.error("%s: gone on without them, windows lack them", gap)


async def _follow_tail(
    state: State, decided: Decisions, given: tuple[int, World, Terms], progress: Progress, aside: Aside
) -> None:
    partition, world, terms = given
    cuts = {day: record.cut for day, record in decided.days.items()}
    start = state.cursor
    progress.total = decided.cursor - start
    if start < decided.cursor:
        # Nothing was ever taken before the beginning, so that is where an empty state starts.
        tail = world.log.read(terms.topics.usage, partition, start or -1, decided.cursor)
        async with contextlib.aclosing(tail) as reading:
            async for records in reading:
                batch = (await asyncio.to_thread(decode, records, terms.intake)).batch
                await asyncio.to_thread(retrace, state, batch, cuts, aside)
                progress.done = batch.end - start
    rest = Batch(pl.DataFrame(schema=COMMON), {}, max(decided.cursor, state.cursor))
    await asyncio.to_thread(retrace, state, rest, cuts, aside)
    await asyncio.to_thread(retrace_end, state, cuts, aside)
