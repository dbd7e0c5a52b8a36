"""An event loop on virtual time that runs several processes, each of which can be stopped where it stands.

Nothing waits: when no callback is ready, time leaps to the next timer. Threads are run in line and finish when chance
says. Within a process callbacks run in asyncio's own order; whose is next, chance says.
"""

import asyncio
import heapq
from asyncio.base_events import BaseEventLoop
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any

from tests.doubles.files import PowerCut
from tests.simulation.chance import Chance

PROCESS: ContextVar["Process | None"] = ContextVar("process", default=None)
WORLD = Context()  # of what belongs to no process: the network, the broker
_MOST_STEPS = 2_000_000


class Process:
    """What one process of the machine would run; while it is stopped, that is held."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.stopped = self.buried = False
        self.steps = 0
        self.held: list[asyncio.Handle] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self._strikes: list[tuple[int, Callable[[], None]]] = []

    def strike(self, steps: int, blow: Callable[[], None]) -> None:
        """Let something happen before its callback so many from now."""
        self._strikes = sorted([*self._strikes, (self.steps + steps, blow)], key=lambda strike: strike[0])

    def step(self) -> bool:
        """Whether its next callback may run."""
        self.steps += 1
        while self._strikes and self._strikes[0][0] <= self.steps and not self.stopped:
            self._strikes.pop(0)[1]()
        return not self.stopped


class _Task(asyncio.Task[Any]):
    """A task that a set of them orders by its number, not by where it lies in memory."""

    def __init__(self, number: int, coroutine: Coroutine[Any, Any, Any], **given: Any) -> None:
        self._number = number
        super().__init__(coroutine, **given)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class SimulatedLoop(BaseEventLoop):
    """`delay_s` of a thread's work comes from `chance`."""

    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]
    _stopping: bool

    def __init__(self, chance: Chance) -> None:
        super().__init__()
        self.complaints: list[str] = []
        self.steps = 0
        self._chance = chance
        self._now_s = 0.0
        self._made = 0
        self._queues: dict[Process | None, deque[asyncio.Handle]] = {None: deque()}
        self.set_task_factory(self._new_task)
        self.set_exception_handler(self._complain)

    def time(self) -> float:
        return self._now_s

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]  # no type variables are needed
        """Begin after a while, do it at once, tell of it after another while; a process that died tells nobody."""
        del executor
        done: asyncio.Future[Any] = self.create_future()
        process = PROCESS.get()

        def work() -> None:
            if done.cancelled() or (process is not None and process.buried):
                done.cancel()
                return
            try:
                result = func(*args)
            except PowerCut:
                return
            except Exception as error:  # noqa: BLE001 - whoever awaits the work gets it
                self.call_later(self._chance.thread_s(), _settle, done, None, error)
            else:
                self.call_later(self._chance.thread_s(), _settle, done, result, None)

        self.call_later(self._chance.thread_s(), work)
        return done

    def release(self, process: Process) -> None:
        """Let a stopped process go on."""
        process.stopped = False
        self._ready.extend(process.held)
        process.held.clear()

    def bury(self, process: Process) -> None:
        """End all that is left of a process, as Python wants its tasks ended; nothing of it works any more."""
        process.buried = True
        for task in process.tasks:
            if not task.done():
                task.cancel()
        self.release(process)

    def _new_task(self, loop: asyncio.AbstractEventLoop, coroutine: Any, context: Context | None = None) -> _Task:
        self._made += 1
        task = _Task(self._made, coroutine, loop=loop, context=context)
        process = PROCESS.get() if context is None else context.get(PROCESS)
        if process is not None:
            process.tasks.append(task)
        return task

    def _complain(self, loop: asyncio.AbstractEventLoop, told: dict[str, Any]) -> None:
        del loop
        self.complaints.append(f"{told.get('message')}: {told.get('exception')!r}")

    def _run_once(self) -> None:
        self.steps += 1
        if self.steps > _MOST_STEPS:
            raise RuntimeError("the simulation does not come to an end")
        if not self._ready and not any(self._queues.values()):
            self._leap()
        while self._ready:
            handle = self._ready.popleft()
            self._queues.setdefault(_owner(handle), deque()).append(handle)
        waiting = [process for process, queue in self._queues.items() if queue]
        if not waiting:
            return
        chosen = waiting[0] if len(waiting) == 1 else self._chance.choice(waiting)
        handle = self._queues[chosen].popleft()
        if handle.cancelled():
            return
        if chosen is not None and (chosen.stopped or not chosen.step()):
            chosen.held.append(handle)
            return
        handle._run()

    def _leap(self) -> None:
        """To the next timer, and those of the same moment."""
        while self._scheduled and not self._ready:
            self._now_s = max(self._now_s, self._scheduled[0].when())
            while self._scheduled and self._scheduled[0].when() <= self._now_s:
                handle = heapq.heappop(self._scheduled)
                handle._scheduled = False  # type: ignore[attr-defined]  # as BaseEventLoop marks it
                if not handle.cancelled():
                    self._ready.append(handle)
        if not self._ready and not self._stopping:
            raise RuntimeError("everybody waits for everybody")

    def _write_to_self(self) -> None:
        """Nobody sleeps in a selector."""


def _owner(handle: asyncio.Handle) -> Process | None:
    context: Context = handle._context  # type: ignore[attr-defined]  # the only place that tells whose it is
    return context.get(PROCESS)


def _settle(done: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(result)
    else:
        done.set_exception(error)


def within(process: Process, act: Callable[[], Any]) -> Any:
    """Do something as a process does it."""
    context = copy_context()
    context.run(PROCESS.set, process)
    return context.run(act)
