"""What goes wrong, drawn from a seed: which fault, when, to whom, for how long; and how each is done."""

import asyncio
import random
import sys
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from deploy.broker import Broker
from tests.chaos.disk import Disk
from tests.chaos.fleet import Fleet, Worker
from tests.chaos.proxy import Proxy

# Each kind once, in this order, then by weight: a worker killed is what happens most.
WEIGHTS = {"kill": 6, "stop": 2, "cut": 2, "broker": 1, "disk": 1}
_WAYS = {
    "kill": ("SIGKILL",),
    "stop": ("SIGSTOP",),
    "cut": ("hold", "refuse"),
    "broker": ("freeze", "restart", "crash"),
    "disk": ("full",),
}
_LASTS_S = {"kill": (0.0, 6.0), "stop": (8.0, 12.0), "cut": (2.0, 12.0), "broker": (2.0, 8.0), "disk": (6.0, 15.0)}


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault: so many seconds after the beginning, for so many seconds; `worker` is the number of whom it meets."""

    at_s: float
    kind: str
    way: str
    worker: int
    lasts_s: float


def plan(count: int, seconds: float, workers: int, seed: int, kinds: Collection[str] = tuple(WEIGHTS)) -> list[Fault]:
    """So many faults, each in the first half of its share of the time."""
    chance = random.Random(seed)
    known = [kind for kind in WEIGHTS if kind in kinds]
    drawn = known[:count] + chance.choices(known, [WEIGHTS[kind] for kind in known], k=max(0, count - len(known)))
    chance.shuffle(drawn)
    share_s = seconds / max(1, count)
    return [
        Fault(
            at_s=(number + chance.uniform(0, 0.5)) * share_s,
            kind=kind,
            way=chance.choice(_WAYS[kind]),
            worker=chance.randrange(workers),
            lasts_s=chance.uniform(*_LASTS_S[kind]),
        )
        for number, kind in enumerate(drawn)
    ]


@dataclass(frozen=True, slots=True)
class Happened:
    """A fault as it was: from when to when, and from when on its recovery counts (monotonic seconds)."""

    fault: Fault
    began_s: float
    ended_s: float

    @property
    def since_s(self) -> float:
        """Of a worker that is gone others take the shards at once; else what is away must come back first."""
        return self.began_s if self.fault.kind in ("kill", "stop") else self.ended_s


@dataclass
class Scene:
    """All that a fault can meet."""

    fleet: Fleet
    proxies: Sequence[Proxy]
    broker: Broker
    disk: Disk
    happened: list[Happened] = field(default_factory=list)
    _locks: defaultdict[object, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    async def play(self, faults: Sequence[Fault]) -> None:
        """Do all of them when they are due; they may overlap, but not on the same thing."""
        began_s = time.monotonic()

        async def due(fault: Fault) -> None:
            await asyncio.sleep(max(0.0, began_s + fault.at_s - time.monotonic()))  # when it is planned
            whom: object = fault.kind if fault.kind in ("broker", "disk") else (fault.worker, fault.kind == "cut")
            async with self._locks[whom]:
                await self._do(fault, began_s)

        await asyncio.gather(*(due(fault) for fault in faults))

    async def _do(self, fault: Fault, origin_s: float) -> None:
        worker = self.fleet.workers[fault.worker]
        whom = "the broker" if fault.kind == "broker" else self.disk.way if fault.kind == "disk" else worker.name
        begun_s = time.monotonic()
        _note(f"{begun_s - origin_s:6.1f} s  {fault.kind} ({fault.way}) of {whom} for {fault.lasts_s:.1f} s")
        doing = {
            "kill": lambda: self._kill(worker, fault),
            "stop": lambda: self._stop(worker, fault),
            "cut": lambda: self._cut(self.proxies[fault.worker], fault),
            "broker": lambda: self._disturb_broker(fault),
            "disk": lambda: self._fill(fault),
        }
        await doing[fault.kind]()
        ended_s = time.monotonic()
        self.happened.append(Happened(fault, begun_s, ended_s))
        _note(f"{ended_s - origin_s:6.1f} s  {fault.kind} of {whom} is over")

    async def _kill(self, worker: Worker, fault: Fault) -> None:
        worker.kill()
        await asyncio.sleep(fault.lasts_s)  # how long the fault lasts; so below
        worker.start()

    async def _stop(self, worker: Worker, fault: Fault) -> None:
        worker.freeze()
        await asyncio.sleep(fault.lasts_s)
        worker.thaw()

    async def _cut(self, proxy: Proxy, fault: Fault) -> None:
        {"hold": proxy.hold, "refuse": proxy.refuse}[fault.way]()
        await asyncio.sleep(fault.lasts_s)
        proxy.mend()

    async def _disturb_broker(self, fault: Fault) -> None:
        if fault.way == "freeze":
            self.broker.freeze()
            await asyncio.sleep(fault.lasts_s)
            self.broker.thaw()
            return
        await asyncio.to_thread(self.broker.stop if fault.way == "restart" else self.broker.kill)
        await asyncio.sleep(fault.lasts_s)
        await asyncio.to_thread(self.broker.start)

    async def _fill(self, fault: Fault) -> None:
        await asyncio.to_thread(self.disk.fill)
        await asyncio.sleep(fault.lasts_s)
        await asyncio.to_thread(self.disk.free)

    def recoveries(self) -> Mapping[str, list[float | None]]:
        """Seconds by kind until all shards ran again; those that other faults fell into stand apart."""
        found = defaultdict(list)
        for one in self.happened:
            took_s = self.fleet.recovered_s(one.since_s)
            until_s = one.since_s + (took_s if took_s is not None else float("inf"))
            others = (other for other in self.happened if other is not one)
            is_alone = all(other.ended_s < one.began_s or other.began_s > until_s for other in others)
            name = one.fault.kind if is_alone else f"{one.fault.kind} among others"
            found[name].append(None if took_s is None else round(took_s, 2))
        return found


def _note(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
