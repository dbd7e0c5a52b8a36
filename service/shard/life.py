"""The life of one shard: fence the former owner, restore, take turns, drain; and start again after a fall.

Each turn: take what waits -> decode in a thread, beside the step before -> step -> transactions one by one -> show.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from service.core.events import Batch
from service.core.segments import tally
from service.core.state import new_state
from service.core.step import close_through, resume, step
from service.core.turn import Turn
from service.ports import Ends, Fenced, Lost, Publisher, Record, Records, Truncated
from service.shard.breaker import Breaker
from service.shard.display import Display
from service.shard.inbox import Lane, Place
from service.shard.outbox import CutShort, Outbox, Poll, in_time
from service.shard.reports import Reports
from service.shard.restore import Way, restore
from service.shard.snapshots import Snapshots
from service.shard.world import Stage, Terms, World, growing
from service.wire.decode import Decoded, decode

_LOG = logging.getLogger(__name__)

_REFUSAL = "what is told without them would be incomplete; CHURN_KAFKA__ACCEPT_GAPS=true accepts that"

_T = TypeVar("_T")

StillOurs = Callable[[int], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class _Taken:
    """Usage records of one turn, and what they say."""

    records: Records
    decoded: Decoded
    seconds: float  # that decoding took


class Shard:
    """One partition's shard while it is assigned to us.

    `still_ours` waits out a rebalance, then says whether the partition is ours; `ready` is called when the shard runs
    and its records may flow from `positions` on.
    """

    def __init__(
        self,
        partition: int,
        world: World,
        terms: Terms,
        still_ours: StillOurs,
        ready: Callable[["Shard"], Awaitable[None]],
    ) -> None:
        self.partition = partition
        self.stage = Stage.ASSIGNED
        self.display = Display(partition, terms.rulebook)
        self.trouble: str | None = None  # why it does not run, for people
        self._way = Way(world.clock)
        self._world = world
        self._terms = terms
        self._still_ours = still_ours
        self._ready = ready
        self._breaker = Breaker(terms)
        self._usage, self._feedback = Lane(), Lane()
        self._ahead: asyncio.Task[_Taken] | None = None  # usage that was taken and is being decoded
        self._gap: Truncated | None = None  # records that were deleted before they were read
        self._wake = asyncio.Event()
        self._leaving = self._drains = False
        self._leave_by_s = 0.0
        self._end = 0  # of the usage that could be taken, when we last looked
        self._looked_s = self._began_s = 0.0
        self._state = new_state(terms.config)
        self._outbox = Outbox(partition, world, terms, self._renew, self._has_time)
        self._reports = Reports(partition, world, terms)
        self._snapshots = Snapshots(partition, world, terms, self.display)

    # Asked by the worker, on its loop

    @property
    def positions(self) -> dict[str, int]:
        """Where each topic goes on that may."""
        lanes = {self._terms.topics.feedback: self._feedback}
        if not self._breaker.holds:
            lanes[self._terms.topics.usage] = self._usage
        return {topic: lane.end for topic, lane in lanes.items()}

    @property
    def held_because(self) -> str | None:
        """Why no usage is taken, for people; None while it is."""
        return self._breaker.reason

    @property
    def has_room(self) -> bool:
        """Whether more may be polled."""
        most = self._terms.turn_records
        return (
            self.stage is Stage.RUNNING and self._gap is None and len(self._usage) < most and len(self._feedback) < most
        )

    @property
    def waits_for(self) -> str | None:
        """Why it does not run yet, for people, as far as there is anything to say."""
        return self.trouble or (self._way.sentence if self.stage is Stage.RESTORING else None)

    @property
    def place(self) -> Place | None:
        """How far it has come; None while it takes nothing."""
        if self.stage is not Stage.RUNNING or self._gap is not None or self._breaker.reason is not None:
            return None
        return Place(self._usage.end, self._state.cursor, self._end)

    @property
    def is_leaving(self) -> bool:
        """Whether it will end by itself."""
        return self._leaving

    def offer(self, topic: str, records: Sequence[Record], end: int) -> None:
        """Records that were polled, and the position after them."""
        if topic == self._terms.topics.feedback:
            self._feedback.offer(records, end)
        elif not self._breaker.holds:
            self._usage.offer(records, end)
        self._wake.set()

    def refuse(self, gap: Truncated) -> None:
        """Fall, and do not run while records are missing."""
        self._gap = gap
        self._wake.set()

    def leave(self, *, drain_s: float = 0.0) -> None:
        """End after the present turn; given some seconds, after all turns of the present step, and a snapshot."""
        self._leaving, self._drains = True, drain_s > 0
        self._leave_by_s = self._world.clock.elapsed_s() + drain_s
        self._wake.set()

    def _has_time(self) -> bool:
        return not self._leaving or self._world.clock.elapsed_s() < self._leave_by_s

    async def applied(self, offset: int) -> None:
        """Return when the feedback record at an offset has taken effect."""
        await self._reports.applied(offset)

    # Its life

    async def run(self) -> None:
        """Live until told to leave, or until the partition is no longer ours."""
        attempt = 0
        while not self._leaving:
            began_s = self._world.clock.elapsed_s()
            try:
                await self._live()
                break
            except CutShort:
                _LOG.info("shard %d leaves before it has said all", self.partition)
            except Fenced as fenced:
                self.trouble = str(fenced)
            except Truncated as gap:
                self.trouble = f"{gap}: {_REFUSAL}"
                _LOG.error("shard %d does not run: %s", self.partition, self.trouble)
            except Exception as error:  # noqa: BLE001 - a fall of one shard must not end the others
                self.trouble = f"{type(error).__name__}: {error}"
                log = _LOG.warning if isinstance(error, Lost | OSError) else _LOG.exception
                log("shard %d falls: %s", self.partition, self.trouble)
            finally:
                self.display.hide()
                await self._forget_ahead()
                await self._outbox.close()
            if self._leaving or not await self._still_ours(self.partition):
                break
            self._enter(Stage.ASSIGNED)
            self._begin_anew()
            self._wake.clear()
            if self._world.clock.elapsed_s() - began_s > 2 * self._terms.most_back_off_s:
                attempt = 0  # it had lived for a while
            await self._pause(growing(self._terms.back_off_s, attempt, self._terms.most_back_off_s))
            attempt += 1
        self._enter(Stage.GONE)
        self._world.observer.shard_left(self.partition)

    async def _live(self) -> None:
        began_s = self._world.clock.elapsed_s()
        self._enter(Stage.ASSIGNED)
        publisher = await self._new_publisher()
        self._outbox.open(publisher, 0)
        self._enter(Stage.FENCED)
        decisions = await self._world.log.ends(self._terms.topics.decisions, self.partition)
        self._outbox.open(publisher, decisions.high_watermark)
        self._enter(Stage.RESTORING)
        restored = await restore(self.partition, self._world, self._terms, in_time(self._has_time), self._way)
        self._state = restored.state
        await self._say(await asyncio.to_thread(resume, self._state, self._terms.rulebook), Poll())
        self._snapshots.open(self._state, decisions.high_watermark)
        if restored.has_begun_late:
            await self._snapshots.begin_keeping(self._state)
            await self._snapshots.finish()
        self.display.show(self._state)
        self.trouble = None
        # From here to the seek that `ready` begins with nobody waits: what was polled from where a former life stood
        # would be taken for what follows.
        self._usage.begin(self._state.cursor)
        self._feedback.begin(self._state.feedback_cursor)
        self._enter(Stage.RUNNING)
        self._world.observer.shard_restored(self._world.clock.elapsed_s() - began_s)
        self._world.observer.usage_held(self.partition, held=False)
        await self._ready(self)
        with self._world.pace.shared():
            while not self._leaving:
                await self._round()
        if self._drains:
            self._enter(Stage.DRAINING)
            await self._outbox.flush()
            await self._snapshots.keep(self._state)
        await self._snapshots.finish()

    async def _round(self) -> None:
        if self._gap is not None:
            raise self._gap
        if not (self._usage_waits or self._feedback.waits):
            await self._pause(self._terms.mirror_interval_s)
        self._wake.clear()
        if self._breaker.is_due(self._world.clock.elapsed_s()):
            self._breaker.try_again()
            await self._ready(self)
        if self._usage_waits:
            await self._gather()
            await self._take_usage()
        if self._feedback.waits or self._reports.waits:
            await self._take_feedback()
        if self._world.clock.elapsed_s() - self._looked_s >= self._terms.mirror_interval_s:
            self._looked_s = self._world.clock.elapsed_s()
            await self._look()
        self._snapshots.settle(self._state)
        if self._snapshots.is_due(self._state):
            await self._outbox.flush()
            await self._snapshots.begin_keeping(self._state)

    async def _gather(self) -> None:
        """Put a small turn off for a moment: each costs something, however small, and more records may come."""
        interval_s = self._world.pace.interval_s(self._terms.turn_interval_s)
        left_s = self._began_s + interval_s - self._world.clock.elapsed_s()
        if left_s > 0 and not self._reports.waits:
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    while not (self._leaving or self._feedback.waits or self._ahead or self._is_worthwhile):
                        await self._wake.wait()
                        self._wake.clear()
        self._began_s = self._world.clock.elapsed_s()

    @property
    def _is_worthwhile(self) -> bool:
        return len(self._usage) >= self._terms.worthwhile_records

    @property
    def _usage_waits(self) -> bool:
        return self._ahead is not None or self._usage.waits

    def _decode_ahead(self) -> None:
        """Begin with what waits, so that it is decoded while what came before is in its step; never more than one."""
        if self._ahead is None and self._usage.waits:
            self._ahead = asyncio.create_task(self._decode(*self._usage.take(self._terms.turn_records)))

    async def _decode(self, records: Records, end: int) -> _Taken:
        return _Taken(records, *await self._work(lambda: decode(records, self._terms.intake, end)))

    async def _forget_ahead(self) -> None:
        """What was taken and not stepped is read again by whoever owns the shard next."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            await asyncio.gather(ahead, return_exceptions=True)

    async def _take_usage(self) -> None:
        self._decode_ahead()
        assert self._ahead is not None  # noqa: S101 - usage waits
        taken = await self._ahead
        self._ahead = None
        before = self._breaker.reason
        if not self._breaker.passes(taken.records, taken.decoded.rejects, self._world.clock.elapsed_s()):
            await self._hold(is_news=self._breaker.reason != before)
            return
        self._world.observer.usage_held(self.partition, held=False)
        # Little is better left to grow while the step runs: each turn costs something, however small.
        if self._is_worthwhile:
            self._decode_ahead()
        turns, seconds = await self._work(lambda: self._step(taken.decoded.batch))
        if len(taken.records) < self._terms.worthwhile_records and len(turns) == 1:
            self._world.pace.note_small(taken.seconds + seconds)
        self._snapshots.note(len(taken.records))
        await self._say(turns, Poll(taken.records, taken.decoded.rejects, taken.decoded.ignored))
        self.display.show(self._state)
        self._world.observer.batch_finished(self._world.clock.elapsed_s() - self._began_s)

    async def _hold(self, *, is_news: bool) -> None:
        """Leave usage from the cursor on where it is; what was taken is read again later."""
        self._usage.begin(self._state.cursor)
        self._world.observer.usage_held(self.partition, held=True)
        level = logging.ERROR if is_news else logging.DEBUG
        _LOG.log(level, "shard %d takes no usage: %s", self.partition, self._breaker.reason)
        await self._ready(self)

    def _step(self, batch: Batch) -> list[Turn]:
        with self.display.stepping() as aside:
            return step(self._state, self._terms.rulebook, batch, in_time(self._has_time, aside))

    async def _take_feedback(self) -> None:
        if self._feedback.waits:
            records, end = self._feedback.take(self._terms.turn_records)
            await self._reports.add(records, end)
        while (due := self._reports.due(self._state.cursor)) is not None:
            with self.display.stepping():
                turn = due.apply(self._state)
            await self._outbox.tell(turn, due.rejects)
            if due.closes is not None:
                await self._close(due.closes)
                await self._outbox.tell(due.passes(self._state), ())
            self.display.show(self._state)
            self._reports.done(self._state.feedback_cursor)

    async def _look(self) -> None:
        """At the end of the log and at the clock, also while nothing comes."""
        try:
            ends = await self._world.log.ends(self._terms.topics.usage, self.partition)
        except Lost:
            self._end = 0  # how far it could come nobody knows
            return  # what is in state stays; the broker is waited for
        self._end = ends.last_stable
        self._world.observer.shard_moved(self.partition, self._state.cursor, ends.high_watermark)
        self._world.observer.shard_measured(self.partition, self._state)
        day = self._day_due(ends) if self._terms.wall else None
        if day is not None:
            await self._close(day)
            self.display.show(self._state)
        await self._outbox.say((), Poll())

    def _day_due(self, ends: Ends) -> int | None:
        """The last day that the clock may close: only when all that was written is in state."""
        state = self._state
        behind = self._usage_waits or not state.cursor == ends.last_stable == ends.high_watermark
        if behind or state.closed_day is None:
            return None
        day, now_us = state.closed_day, self._world.clock.now_us()
        while state.due_us(day + 1) <= now_us:
            day += 1
        return day if day > state.closed_day else None

    async def _close(self, day: int) -> None:
        def closing() -> list[Turn]:
            with self.display.stepping() as aside:
                return close_through(self._state, self._terms.rulebook, day, "clock", in_time(self._has_time, aside))

        turns, _ = await self._work(closing)
        await self._say(turns, Poll())

    async def _work(self, work: Callable[[], _T]) -> tuple[_T, float]:
        return await self._world.pace.work(work, self._world.clock)

    async def _say(self, turns: Sequence[Turn], poll: Poll) -> None:
        began_s = self._world.clock.elapsed_s()
        await self._outbox.say(turns, poll)
        closed = sum(1 for turn in turns if turn.day is not None and turn.day.slices_done == turn.day.slices)
        for _ in range(closed):
            self._world.observer.day_closed((self._world.clock.elapsed_s() - began_s) / closed)
        if closed:
            self._world.observer.segments_counted(self.partition, tally(self._state))

    async def _renew(self) -> Publisher:
        """Another publisher in place of one that came to its end. Raises: Fenced where the partition is not ours."""
        await self._outbox.close()
        while True:
            try:
                return await self._new_publisher()
            except Lost as lost:
                self.trouble = str(lost)
                if self._leaving:
                    raise
                self._wake.clear()
                await self._pause(self._terms.most_back_off_s)

    async def _new_publisher(self) -> Publisher:
        """A started publisher of a partition that is ours before and after. Raises: Fenced, Lost."""
        if not await self._still_ours(self.partition):
            raise Fenced("the partition is no longer ours")
        publisher = self._world.publisher(self.partition)
        await publisher.start()
        # A slow start may end after the partition has moved on: then its new owner is fenced and starts again.
        if not await self._still_ours(self.partition):
            await publisher.stop()
            raise Fenced("the partition is no longer ours")
        return publisher

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    def _enter(self, stage: Stage) -> None:
        self.stage = stage
        if stage is not Stage.GONE:
            self._world.observer.shard_entered(self.partition, str(stage))
        _LOG.info("shard %d is %s", self.partition, stage)

    def _begin_anew(self) -> None:
        """Nothing of a former life is kept."""
        self._gap = None
        self._breaker = Breaker(self._terms)
        self._state = new_state(self._terms.config)
        self._outbox = Outbox(self.partition, self._world, self._terms, self._renew, self._has_time)
        self._reports = Reports(self.partition, self._world, self._terms)
        self._snapshots = Snapshots(self.partition, self._world, self._terms, self.display)
