"""Feedback in its order: what is due now, and what waits until usage has come far enough."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from service.core.calendar import to_day
from service.core.episodes import empty_transitions
from service.core.rules import Book
from service.core.state import State
from service.core.step import apply_feedback
from service.core.turn import CONTACTS, LATE, Turn
from service.ports import Record
from service.shard.world import Terms, World
from service.wire.feedback import FEEDBACK, decode_feedback
from service.wire.rejects import Fault, Reject

_BEYOND = "offset is beyond the end of the usage topic's partition"
_CLOSED = pl.col("type") == "feed.closed"


@dataclass(frozen=True, slots=True)
class Due:
    """Reports before `bound`, and then the close of days up to `closes`, which the record at `bound` asks for."""

    frame: pl.DataFrame
    rejects: Sequence[Reject]
    bound: int
    closes: int | None  # days since 1970

    def apply(self, state: State, book: Book) -> Turn:
        """Take the reports into the state."""
        turn = apply_feedback(state, book, self.frame)
        state.feedback_cursor = self.bound
        return replace(turn, feedback_cursor=self.bound)

    def passes(self, state: State) -> Turn:
        """A turn that says no more than that the record at `bound` is done."""
        state.feedback_cursor = self.bound + 1
        return Turn(
            cursor=state.cursor,
            feedback_cursor=state.feedback_cursor,
            transitions=empty_transitions(),
            contacts=pl.DataFrame(schema=CONTACTS),
            late=pl.DataFrame(schema=LATE),
        )


class Reports:
    """Feedback records of one shard that were polled and have not taken effect yet."""

    def __init__(self, partition: int, world: World, terms: Terms) -> None:
        self._partition = partition
        self._world = world
        self._terms = terms
        self._frame = pl.DataFrame(schema=FEEDBACK)
        self._rejects: list[Reject] = []
        self._done = self._end = 0
        self._waiters: dict[asyncio.Future[None], int] = {}

    @property
    def waits(self) -> bool:
        """Whether anything is left."""
        return self._done < self._end

    async def add(self, records: Sequence[Record], end: int) -> None:
        """Records that were polled, and the position after them. Raises: Lost."""
        decoded = await asyncio.to_thread(decode_feedback, records, self._terms.intake)
        beyond = await self._beyond(decoded.frame)
        self._frame = pl.concat([self._frame, decoded.frame.filter(~pl.col("offset").is_in(beyond))])
        self._rejects += decoded.rejects
        if beyond:
            self._rejects += [Reject(one, Fault.INVALID, _BEYOND) for one in records if one.offset in beyond]
        self._end = end

    async def _beyond(self, frame: pl.DataFrame) -> list[int]:
        """Offsets of the ends of feeds that usage cannot reach: they would hold up all reports after them for ever.

        Whoever ends a feed has written it before, so its end is there.
        """
        closed = frame.filter(_CLOSED)
        if closed.is_empty():
            return []
        ends = await self._world.log.ends(self._terms.topics.usage, self._partition)
        beyond: list[int] = closed.filter(pl.col("at_offset") > ends.high_watermark)["offset"].to_list()
        return beyond

    def due(self, usage_cursor: int) -> Due | None:
        """What can take effect now that usage stands at a cursor; None where nothing can."""
        closed = self._frame.filter(_CLOSED).head(1)
        bound = self._end if closed.is_empty() else int(closed["offset"].item())
        reached = not closed.is_empty() and int(closed["at_offset"].item()) <= usage_cursor
        if bound <= self._done and not reached:
            return None
        return Due(
            frame=self._frame.filter(pl.col("offset") < bound),
            rejects=[reject for reject in self._rejects if reject.record.offset < bound],
            bound=bound,
            closes=to_day(closed["through"].item()) if reached else None,
        )

    def done(self, feedback_cursor: int) -> None:
        """Everything before a cursor has taken effect."""
        self._done = feedback_cursor
        self._frame = self._frame.filter(pl.col("offset") >= feedback_cursor)
        self._rejects = [reject for reject in self._rejects if reject.record.offset >= feedback_cursor]
        for waiter in [waiter for waiter, offset in self._waiters.items() if offset < feedback_cursor]:
            del self._waiters[waiter]
            if not waiter.done():
                waiter.set_result(None)

    async def applied(self, offset: int) -> None:
        """Return when the record at an offset has taken effect."""
        if offset >= self._done:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters[waiter] = offset
            await waiter
