"""A machine on which the service's worker lives: started, killed where it stands, paused, told to stop."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from service.shard import Shard, Stage, Terms, World
from service.shard.pace import Pace
from service.store.store import Store
from service.worker import Worker
from tests.doubles.broker import MemoryLog, MemoryPublisher, MemorySender
from tests.doubles.stand import GROUP, TOPICS, Witness, transactional_id
from tests.simulation.disk import Disk, MemoryCopies, SimulatedFiles, WatchedStore
from tests.simulation.loop import Process, SimulatedLoop, within
from tests.simulation.network import SimulatedBroker, SimulatedIntake

_STOP_S = 6.0
_BLOCK = 60  # records that a read brings at once


class VirtualClock:
    """service.clock.Clock on the loop's time; days pass `speed` times faster, and stand still once frozen."""

    def __init__(self, loop: asyncio.AbstractEventLoop, begin_us: int, speed: float) -> None:
        self._loop = loop
        self._begin_us = begin_us
        self._speed = speed
        self._frozen_us: int | None = None

    def now_us(self) -> int:
        if self._frozen_us is not None:
            return self._frozen_us
        return self._begin_us + int(self._loop.time() * self._speed * 1e6)

    def elapsed_s(self) -> float:
        return self._loop.time()

    def freeze(self) -> None:
        self._frozen_us = self.now_us()


@dataclass(frozen=True)
class Surroundings:
    """What all machines share."""

    loop: SimulatedLoop
    broker: SimulatedBroker
    disk: Disk
    clock: VirtualClock
    terms: Terms
    cores: int
    committed: Callable[[int], int]
    note: Callable[[str], None]
    blame: Callable[[str], None]


class Noting(Witness):
    """An observer that writes stages into the history."""

    def __init__(self, name: str, note: Callable[[str], None]) -> None:
        super().__init__()
        self._name = name
        self._note = note

    def shard_entered(self, partition: int, state: str) -> None:
        self._note(f"{self._name} shard {partition} {state}")

    def shard_left(self, partition: int) -> None:
        self._note(f"{self._name} shard {partition} gone")

    def snapshot_saved(self, partition: int, seconds: float, size_bytes: int, at_us: int) -> None:
        del seconds, size_bytes, at_us
        self._note(f"{self._name} snapshot {partition} saved")


class Machine:
    """One after another it runs processes, each with a worker."""

    def __init__(self, name: str, around: Surroundings) -> None:
        self.name = name
        self.processes: list[Process] = []
        self.worker: Worker | None = None
        self._around = around
        self._task: asyncio.Task[None] | None = None

    @property
    def process(self) -> Process:
        return self.processes[-1]

    @property
    def is_up(self) -> bool:
        return self.worker is not None and not self.process.stopped

    @property
    def shards(self) -> dict[int, Shard]:
        """Those that run here now."""
        if self.worker is None or not self.is_up:
            return {}
        return {number: shard for number, shard in self.worker._shards().items() if shard.stage is Stage.RUNNING}

    def start(self) -> None:
        """A new process; the one before is dead."""
        process = Process(f"{self.name}.{len(self.processes) + 1}")
        self.processes.append(process)
        self._around.note(f"{process.name} starts")
        within(process, lambda: self._begin(process))

    def kill(self) -> None:
        """It does nothing any more, from this moment on."""
        if self.is_up:
            self._around.note(f"{self.process.name} is killed")
            self.process.stopped = True
            self.worker = None

    def pause(self) -> None:
        if self.is_up:
            self._around.note(f"{self.process.name} stands still")
            self.process.stopped = True

    def wake(self) -> None:
        if self.worker is not None and self.process.stopped:
            self._around.note(f"{self.process.name} goes on")
            self._around.loop.release(self.process)

    def tell_to_stop(self) -> None:
        """In order, in its own time; then it is no more."""
        worker, task = self.worker, self._task
        if worker is None or task is None or not self.is_up:
            return
        self._around.note(f"{self.process.name} is told to stop")
        process = self.process

        async def stop() -> None:
            await worker.stop(_STOP_S)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self._around.note(f"{process.name} has stopped")
            process.stopped = True
            if process is self.process:
                self.worker = None

        within(process, lambda: self._around.loop.create_task(stop()))

    def _begin(self, process: Process) -> None:
        around = self._around
        log = MemoryLog(around.broker, _BLOCK)
        files = SimulatedFiles(around.disk, self.kill)
        store = Store(files, MemoryCopies(), around.terms.intake.partitions, keep=2)
        pace = Pace()
        pace._working = asyncio.Semaphore(around.cores)
        world = World(
            log=log,
            publisher=lambda partition: MemoryPublisher(around.broker, transactional_id(partition), GROUP),
            store=WatchedStore(store, around.committed, around.blame),
            clock=around.clock,
            observer=Noting(process.name, around.note),
            restoring=asyncio.Semaphore(around.cores),
            pace=pace,
        )

        intake = SimulatedIntake(around.broker, [TOPICS.usage, TOPICS.feedback], GROUP)
        self.worker = Worker(world, around.terms, intake, MemorySender(around.broker))
        self._task = around.loop.create_task(self.worker.run())
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._around.blame(f"the worker of {self.process.name} ended with {error!r}")
