"""Workers as processes: started, killed, stopped, started again when they end by themselves; who runs which shard."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from deploy.broker import dying_with_us
from tests.bench.place import ROOT

_LOOK_S = 0.25
_ANSWER_WITHIN_S = 1.0
_AGAIN_S = 1.0
_STOP_WITHIN_S = 30.0


class Worker:
    """One `run` of the service; `ends` are the statuses with which it ended without having been asked to."""

    def __init__(self, name: str, environ: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self.address = f"http://127.0.0.1:{environ['CHURN_HTTP__PORT']}"
        self.ends: list[int] = []
        self._environ = dict(environ)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, unless it runs."""
        if self._process is None:
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(  # noqa: S603 - our own program
                    [*dying_with_us(), sys.executable, "-m", "service", "run"],
                    cwd=ROOT,
                    env=self._environ,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )

    def kill(self) -> None:
        """SIGKILL; it stays down."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """SIGSTOP; returns when it stands still."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def thaw(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def look_after(self) -> None:
        """Note that it has ended by itself, and start it again."""
        if self._process is not None and (status := self._process.poll()) is not None:
            self.ends.append(status)
            self._process = None
            self.start()

    async def end(self) -> int | None:
        """SIGTERM; returns its status, None where it did not end in time."""
        if self._process is None:
            return None
        self._signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return await asyncio.to_thread(self._process.wait, _STOP_WITHIN_S)
        return None

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)


@dataclass
class Fleet:
    """All workers of a group, looked after and watched.

    `seen` has, by time (monotonic seconds), whether every shard was running on a worker that was ready then.
    """

    workers: Sequence[Worker]
    partitions: int
    seen: list[tuple[float, bool]] = field(default_factory=list)
    running: Mapping[str, frozenset[int]] = field(default_factory=dict)

    async def watch(self) -> None:
        """Look after them, for ever."""
        resting = {worker.name: 0.0 for worker in self.workers}
        async with httpx.AsyncClient(timeout=_ANSWER_WITHIN_S) as client:
            while True:
                began_s = time.monotonic()
                for worker in self.workers:
                    if began_s >= resting[worker.name]:
                        resting[worker.name] = began_s + _AGAIN_S
                        worker.look_after()
                told = await asyncio.gather(*(_ready(client, worker) for worker in self.workers))
                self.running = {worker.name: shards for worker, shards in zip(self.workers, told, strict=True)}
                self.seen.append((began_s, frozenset().union(*told) == frozenset(range(self.partitions))))
                await asyncio.sleep(_LOOK_S)  # between two looks

    def recovered_s(self, since_s: float) -> float | None:
        """Seconds from a moment until all shards ran again; None where they have not yet."""
        return next((at_s - since_s for at_s, whole in self.seen if at_s > since_s and whole), None)

    @property
    def is_whole(self) -> bool:
        """Whether all shards ran at the last look."""
        return bool(self.seen) and self.seen[-1][1]

    async def end(self) -> list[int | None]:
        """SIGTERM to all; returns their statuses."""
        return await asyncio.gather(*(worker.end() for worker in self.workers))


async def _ready(client: httpx.AsyncClient, worker: Worker) -> frozenset[int]:
    """The shards that a worker runs; none where it is not ready."""
    with contextlib.suppress(httpx.HTTPError):
        answer = await client.get(f"{worker.address}/readyz")
        if answer.status_code == httpx.codes.OK:
            return frozenset(int(partition) for partition in answer.json()["shards"])
    return frozenset()


async def until(condition: Callable[[], bool], within_s: float) -> None:
    """Return when a condition holds. Raises: TimeoutError."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - any condition, not only one that sets an event
            await asyncio.sleep(_LOOK_S)
