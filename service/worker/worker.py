"""The worker: shards come and go with the group's assignment; one loop polls for all that have room."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.ports import Lost, Truncated
from service.shard import Shard, Stage, Terms, World
from service.worker.desk import Sender, ShardDesk
from service.worker.intake import Intake
from service.worker.memory import is_nearly_full, needed_bytes, plan, read_limit, read_resident
from service.worker.progress import Standstill
from service.worker.questions import Elsewhere, nowhere
from service.worker.shelf import Shelf

_LOG = logging.getLogger(__name__)
_LOOK_S = 2.0
_IDLE_S = 0.2
_GATHER_S = 0.05  # after a poll that brought little: each costs something, however little it brings
_GOODBYE_S = 1.0
_BEAT_S = 30.0  # a loop that has not come round for so long is dead
_STALLS = 15  # so many times the time to join anew: what has not helped by then does not help
_TO_SAY = 0.5  # share of the time to stop for what was stepped and not said; the rest is for snapshots and goodbyes


@dataclass(frozen=True, slots=True)
class _Place:
    shard: Shard
    task: asyncio.Task[None]


class Worker:
    """All shards of one process.

    `shelf` answers for them, and `desk` for all shards by asking `elsewhere` for the others; both from any thread.
    """

    def __init__(
        self, world: World, terms: Terms, intake: Intake, sender: Sender, elsewhere: Elsewhere = nowhere
    ) -> None:
        self._world = world
        self._terms = terms
        self._intake = intake
        self._places: dict[int, _Place] = {}
        self._assigned: frozenset[int] = frozenset()
        self._settled = asyncio.Event()
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()
        self._broker = False
        self._live = True
        self._fed, self._moved = Standstill(), Standstill()
        self._stalled = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._beat_s = 0.0  # when the loop last came round, by its own time
        self._resumes: set[asyncio.Task[None]] = set()
        self._refused: tuple[int, ...] = ()  # partitions of ours that do not fit into memory
        self._memory_bytes = read_limit(terms.memory_bytes)
        self._is_full = False
        self.shelf = Shelf(terms, self._shards, elsewhere, world.clock)
        self.desk = ShardDesk(terms, self.shelf, self.readiness, sender, world.clock)

    async def run(self) -> None:
        """Join the group and live until `stop`; a broker that is lost is waited for."""
        self._loop = asyncio.get_running_loop()
        self._beat_s = self._loop.time()
        self.desk.run_on(self._loop)
        watching = asyncio.create_task(self._watch())
        try:
            while not self._stopping.is_set():
                try:
                    await self._intake.start(self._on_assigned)
                    self._broker = True
                    await self._poll_while_fed()
                except Lost as lost:
                    self._on_lost(lost)
                    self._settled.clear()  # whose the shards are, the next assignment tells
                    await self._intake.stop()
                    await self._wait(self._stopping, self._terms.back_off_s)
        except BaseException:
            self._live = False
            raise
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            self._ended.set()

    async def stop(self, within_s: float) -> None:
        """Finish turns, commit, keep snapshots, leave the group; what takes longer is cut off, but not the goodbye."""
        stop_by_s = self._world.clock.elapsed_s() + within_s
        self._stopping.set()
        self._changed.set()
        for place in self._places.values():
            place.shard.leave(drain_s=within_s * _TO_SAY)
        self._settled.set()  # who waits for a rebalance waits no longer
        tasks = [place.task for place in self._places.values()] + list(self._resumes)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=within_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
            if late:
                _LOG.warning("%d shards did not drain in time; they will restore from their last commit", len(late))
        left_s = stop_by_s - self._world.clock.elapsed_s()
        await self._wait(self._ended, max(left_s, _GOODBYE_S))
        await self._wait_for(self._intake.stop(), max(left_s, _GOODBYE_S))

    def running(self) -> list[int]:
        """Partitions whose shards run here."""
        return [partition for partition, shard in self._shards().items() if shard.stage is Stage.RUNNING]

    def readiness(self) -> Mapping[str, Any]:
        """See ports.Desk."""
        shards = {partition: str(shard.stage) for partition, shard in sorted(self._shards().items())}
        waiting = [partition for partition, stage in shards.items() if stage != Stage.RUNNING]
        waiting += [partition for partition in self._assigned if partition not in shards]
        settled = self._settled.is_set() and not self._stopping.is_set()
        return {
            "ready": settled and self._broker and not waiting,
            "live": self._live and self._moves(),
            "broker": self._broker,
            "shards": shards,
            "reason": self._reason(waiting, settled=settled),
        }

    def _reason(self, waiting: list[int], *, settled: bool) -> str | None:
        if self._stopping.is_set():
            return "The service is stopping."
        if not self._broker:
            return "The broker does not answer; the service waits for it."
        if not settled:
            return "The shards are being shared out."
        if self._refused:
            return f"Partitions {', '.join(map(str, self._refused))} do not fit into memory: start another worker."
        if waiting:
            shards = self._shards()
            there = [shards[partition] for partition in waiting if partition in shards]
            troubles = {shard.waits_for for shard in there} - {None}
            because = f" ({'; '.join(sorted(str(trouble) for trouble in troubles))})" if troubles else ""
            return f"Partitions {', '.join(map(str, waiting))} are being restored{because}."
        held = [f"{number} ({shard.held_because})" for number, shard in self._shards().items() if shard.held_because]
        return f"No usage is taken of partitions {'; '.join(held)}." if held else None

    # The assignment

    def _on_assigned(self, partitions: frozenset[int] | None) -> None:
        if partitions is None:
            self._settled.clear()
            return
        self._assigned, self._refused = partitions, ()
        self._settled.set()
        for partition, place in self._places.items():
            if partition not in partitions:
                place.shard.leave()
        for partition in sorted(partitions):
            kept = self._places.get(partition)
            if kept is not None and self._is_hosted(partition) and kept.shard.stage is Stage.RUNNING:
                self._start(self._resume(kept.shard))
        self._start(self._take(partitions))
        self._changed.set()

    def _is_hosted(self, partition: int) -> bool:
        kept = self._places.get(partition)
        return kept is not None and not kept.shard.is_leaving and not kept.task.done()

    async def _take(self, partitions: frozenset[int]) -> None:
        """Host what fits into memory of what is ours now."""
        asked = sorted(partitions)
        told = await asyncio.gather(*(asyncio.to_thread(self._need, partition) for partition in asked))
        needs = dict(zip(asked, told, strict=True))
        if partitions != self._assigned or self._stopping.is_set():
            return
        planned = plan(needs, {partition for partition in partitions if self._is_hosted(partition)}, self._memory_bytes)
        _LOG.log(logging.WARNING if planned.is_tight else logging.INFO, "%s", planned.sentence)
        self._refused = planned.refused
        for partition in planned.taken:
            if not self._is_hosted(partition):
                self._host(partition)
        self._changed.set()

    def _need(self, partition: int) -> int:
        """What a shard will take; nothing where the store is away, which each shard's restore waits for."""
        with contextlib.suppress(OSError):
            return needed_bytes(self._world.store.held_bytes(partition))
        return 0

    def _host(self, partition: int) -> None:
        """A new shard, once the former one of this partition has let go."""
        if self._stopping.is_set():
            return
        former = self._places.get(partition)
        shard = Shard(partition, self._world, self._terms, self._still_ours, self._resume)

        async def live() -> None:
            if former is not None:
                await asyncio.gather(former.task, return_exceptions=True)
            await shard.run()
            if self._places.get(partition) is not place:
                return  # it came back while the shard was leaving, and another one has waited for its end
            del self._places[partition]
            if partition in self._assigned and self._settled.is_set():
                self._start(self._take(self._assigned))

        place = _Place(shard, asyncio.create_task(live()))
        self._places[partition] = place

    async def _still_ours(self, partition: int) -> bool:
        await self._settled.wait()
        return partition in self._assigned and not self._stopping.is_set()

    async def _resume(self, shard: Shard) -> None:
        """Let a shard's records flow from where it stands; after every assignment, for those kept as well."""
        while shard.partition in self._assigned and not shard.is_leaving:
            try:
                await self._intake.resume(shard.partition, shard.positions)
            except Lost as lost:
                self._on_lost(lost)
                await self._wait(self._stopping, self._terms.back_off_s)
            else:
                break
        self._changed.set()

    def _start(self, resuming: Any) -> None:  # noqa: ANN401 - any coroutine
        task = asyncio.create_task(resuming)
        self._resumes.add(task)
        task.add_done_callback(self._resumes.discard)

    # Polling

    async def _poll_while_fed(self) -> None:
        """Poll until told to stop. Raises: Lost, also where the consumer gives nothing though there is more."""
        self._stalled.clear()
        polling, stalled = asyncio.create_task(self._poll()), asyncio.create_task(self._stalled.wait())
        try:
            await asyncio.wait((polling, stalled), return_when=asyncio.FIRST_COMPLETED)
            if not polling.done():
                raise Lost("there is more than the consumer gives; it joins the group anew")
            await polling
        finally:
            for task in (polling, stalled):
                task.cancel()
            await asyncio.gather(polling, stalled, return_exceptions=True)

    async def _poll(self) -> None:
        while not self._stopping.is_set():
            ready = [partition for partition, shard in self._shards().items() if shard.has_room]
            self._changed.clear()
            if not ready:
                await self._wait(self._changed, _IDLE_S)
                continue
            try:
                polled = await self._intake.poll(ready, self._terms.turn_records)
            except Truncated as truncated:
                await self._skip(truncated)
                continue
            shards = self._shards()
            for one in polled:
                if one.partition in shards:
                    shards[one.partition].offer(one.topic, one.records, one.end)
            if sum(len(one.records) for one in polled) < self._terms.worthwhile_records:
                await self._wait(self._stopping, _GATHER_S)

    async def _skip(self, truncated: Truncated) -> None:
        """Records were deleted before they were read: their shard runs no longer, or goes on with what is left."""
        shard = self._shards().get(truncated.partition)
        if shard is None:
            return
        if not self._terms.accept_gaps:
            shard.refuse(truncated)
            return
        _LOG.error("%s: what was there is lost to the service; keep the topic's records for longer", truncated)
        shard.offer(truncated.topic, (), truncated.beginning)
        await self._resume(shard)

    async def _watch(self) -> None:
        """Tell whether the broker answers, also while nothing is asked of it."""
        while True:
            await asyncio.sleep(_LOOK_S)
            answers = await self._intake.reachable()
            if answers != self._broker:
                _LOG.warning("the broker answers again" if answers else "the broker does not answer; waiting for it")
            self._broker = answers
            self._world.observer.broker_answers(connected=answers)
            self._look_at_memory()
            self._look_at_progress()
            self._beat_s = asyncio.get_running_loop().time()

    def _look_at_progress(self) -> None:
        """Join anew where the consumer gives nothing; note who moves at all, for `readiness`."""
        now_s = self._world.clock.elapsed_s()
        if not (self._broker and self._settled.is_set()):  # nobody can move
            self._fed, self._moved = Standstill(), Standstill()
            return
        shards = self._shards().items()
        places = {partition: place for partition, shard in shards if (place := shard.place) is not None}
        hungry = {partition for partition, shard in shards if shard.has_room}
        self._moved.note({partition: (place.cursor, place.end) for partition, place in places.items()}, now_s)
        fed = {partition: (place.fed, place.end) for partition, place in places.items() if partition in hungry}
        self._fed.note(fed, now_s)
        if starved := self._fed.longer_than(self._terms.stall_s, now_s):
            _LOG.error("partitions %s have records that the consumer does not give", ", ".join(map(str, starved)))
            self._fed = Standstill()
            self._world.observer.consumer_restarted()
            self._stalled.set()

    def _moves(self) -> bool:
        """Whether the process does anything that it could; safe to ask from any thread."""
        beats = self._loop is None or self._loop.time() - self._beat_s < _BEAT_S
        return beats and not self._moved.longer_than(_STALLS * self._terms.stall_s, self._world.clock.elapsed_s())

    def _look_at_memory(self) -> None:
        resident_bytes = read_resident() or 0
        is_full = is_nearly_full(resident_bytes, self._memory_bytes)
        if is_full and not self._is_full:
            told = (resident_bytes >> 20, self._memory_bytes >> 20)
            _LOG.warning("%d MB of the %d MB there are is taken: give the process more, or start another worker", *told)
        self._is_full = is_full

    def _on_lost(self, lost: Lost) -> None:
        self._broker = False
        self._world.observer.broker_answers(connected=False)
        _LOG.warning("waiting for the broker: %s", lost)

    def _shards(self) -> dict[int, Shard]:
        return {partition: place.shard for partition, place in list(self._places.items())}

    async def _wait(self, event: asyncio.Event, seconds: float) -> None:
        await self._wait_for(event.wait(), seconds)

    async def _wait_for(self, awaitable: Any, seconds: float) -> None:  # noqa: ANN401 - any awaitable
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(awaitable, seconds)
