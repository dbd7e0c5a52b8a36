"""A broker in memory with what the shell relies on: offsets, transactions, isolation, fencing, a group, and faults."""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from service.ports import Aborted, Ends, Fenced, Lost, Message, Record, Refused, Truncated, Unknown
from service.worker.intake import Assigned, Polled

T = TypeVar("T")


@dataclass
class Entry:
    """A record, or a control record where `record` is None.

    `verdict` is of its transaction: commit, abort, or None while open; compacted where a later one of its key is kept.
    """

    record: Record | None
    verdict: str | None


@dataclass
class Partition:
    entries: list[Entry] = field(default_factory=list)
    beginning: int = 0

    @property
    def high_watermark(self) -> int:
        return len(self.entries)

    @property
    def last_stable(self) -> int:
        still_open = (at for at, entry in enumerate(self.entries) if entry.verdict is None)
        return next(still_open, self.high_watermark)

    def stable_before(self, offset: int) -> int:
        return min(offset, self.last_stable)

    def committed(self, start: int, stop: int) -> list[Record]:
        stop = min(stop, self.last_stable)
        return [e.record for e in self.entries[start:stop] if e.record is not None and e.verdict == "commit"]


@dataclass
class Owner:
    """The newest producer of a transactional id, and its open transaction; `verdict` while its markers are written."""

    epoch: int = 0
    verdict: str | None = None
    entries: list[tuple[Partition, Entry]] = field(default_factory=list)
    offsets: dict[tuple[str, str, int], int] = field(default_factory=dict)


class MemoryBroker:
    """Topics must be made before they are used. `reachable = False` makes every request Lost."""

    def __init__(self) -> None:
        self.topics: dict[str, list[Partition]] = {}
        self.committed: dict[tuple[str, str, int], int] = {}  # (group, topic, partition) -> offset
        self.faults: dict[str, deque[str]] = defaultdict(deque)  # transactional id -> what its next publishes meet
        self.reachable = True
        self.largest: int | None = None  # bytes of a value: what is larger is refused
        self.markers_s: Callable[[], float] = lambda: 0.0  # from a commit to its markers in the log
        self.now_us = 1_370_000_000_000_000
        self.grown = asyncio.Event()
        self.moments = 0  # how often anybody has waited for an answer
        self._owners: dict[str, Owner] = defaultdict(Owner)
        self._groups: dict[str, list[MemoryIntake]] = defaultdict(list)

    def make_topic(self, name: str, partitions: int) -> None:
        self.topics[name] = [Partition() for _ in range(partitions)]

    def check(self) -> None:
        if not self.reachable:
            raise Lost("the broker is away")

    async def ask(self, act: Callable[[], T]) -> T:
        """What the broker does when a request arrives; the others go on while it is on its way. Raises: Lost."""
        self.moments += 1
        await asyncio.sleep(0)
        self.check()
        return act()

    def append(self, message: Message, verdict: str | None = "commit") -> Entry:
        partition = self.topics[message.topic][message.partition]
        offset = partition.high_watermark
        record = Record(
            message.topic, message.partition, offset, self.now_us, message.key, message.value, message.headers
        )
        partition.entries.append(Entry(record, verdict))
        self._wake()
        return partition.entries[-1]

    def truncate(self, topic: str, partition: int, beginning: int) -> None:
        """Delete what is older, as retention does."""
        self.topics[topic][partition].beginning = beginning

    def compact(self, topic: str, partition: int) -> None:
        """Drop every committed record that a later one of its key stands for, as the log cleaner does."""
        of = self.topics[topic][partition]
        newer = set()
        for entry in reversed(of.entries[: of.last_stable]):
            if entry.record is not None and entry.verdict == "commit":
                if entry.record.key in newer:
                    entry.verdict = "compacted"
                newer.add(entry.record.key)

    def read(self, topic: str, partition: int | None = None) -> list[Record]:
        """Everything a read_committed reader sees, partition by partition."""
        of = self.topics[topic] if partition is None else [self.topics[topic][partition]]
        return [record for one in of for record in one.committed(0, one.high_watermark)]

    # Transactions

    def next_fault(self, transactional_id: str) -> str:
        faults = self.faults[transactional_id]
        return faults.popleft() if faults else "none"

    def begin(self, transactional_id: str) -> int:
        """A newer producer: the former one is fenced, its transaction ended, or aborted if open. Returns the epoch."""
        owner = self._owners[transactional_id]
        owner.verdict = owner.verdict or "abort"
        self.settle(transactional_id)
        owner.epoch += 1
        return owner.epoch

    def owner(self, transactional_id: str, epoch: int) -> Owner:
        owner = self._owners[transactional_id]
        if owner.epoch != epoch:
            raise Fenced(f"{transactional_id} has a newer owner")
        return owner

    def write(self, transactional_id: str, epoch: int, message: Message) -> None:
        """One message of an open transaction. Raises: Fenced, Refused."""
        owner = self.owner(transactional_id, epoch)
        self.settle(transactional_id)
        if self.largest is not None and len(message.value or b"") > self.largest:
            raise Refused(message, "too large")
        owner.entries.append((self.topics[message.topic][message.partition], self.append(message, None)))

    def end(self, transactional_id: str, epoch: int, verdict: str, offsets: Mapping[tuple[str, str, int], int]) -> None:
        """Decide a transaction; readers learn of it by its markers, a little later. Raises: Fenced."""
        owner = self.owner(transactional_id, epoch)
        self.settle(transactional_id)
        owner.verdict = verdict
        owner.offsets.update(offsets)
        if wait_s := self.markers_s():
            asyncio.get_running_loop().call_later(wait_s, self.settle, transactional_id, context=Context())
        else:
            self.settle(transactional_id)

    def settle(self, transactional_id: str) -> None:
        """Write the markers of a transaction that is decided."""
        owner = self._owners[transactional_id]
        verdict, owner.verdict = owner.verdict, None
        if verdict is None:
            return
        for _, entry in owner.entries:
            entry.verdict = verdict
        touched = {id(partition): partition for partition, _ in owner.entries}
        for partition in touched.values():
            partition.entries.append(Entry(None, "control"))
        if verdict == "commit":
            self.committed |= owner.offsets
        owner.entries.clear()
        owner.offsets.clear()
        self._wake()

    def _wake(self) -> None:
        self.grown.set()
        self.grown = asyncio.Event()

    # The group

    def join(self, group: str, member: "MemoryIntake") -> None:
        self._groups[group].append(member)
        self.rebalance(group)

    def leave(self, group: str, member: "MemoryIntake") -> None:
        if member in self._groups[group]:
            self._groups[group].remove(member)
            self.rebalance(group)

    def members(self, group: str) -> int:
        return len(self._groups[group])

    def rebalance(self, group: str) -> None:
        """Everybody loses everything, then each gets a range of partitions in the order of joining."""
        members = self._groups[group]
        for member in members:
            member.revoke()
        for number, member in enumerate(members):
            partitions = range(len(self.topics[member.topics[0]]))
            share = [p for p in partitions if p * len(members) // len(partitions) == number]
            member.assign(frozenset(share))


class MemoryPublisher:
    """ports.Publisher. Faults: abort, unknown-lost, unknown-committed, refuse, fence, lost (at start)."""

    def __init__(self, broker: MemoryBroker, transactional_id: str, group: str) -> None:
        self._broker = broker
        self._id = transactional_id
        self._group = group
        self._epoch = 0
        self._spent = True

    async def start(self) -> None:
        self._epoch = await self._broker.ask(partial(self._broker.begin, self._id))
        self._spent = False

    async def publish(self, messages: Sequence[Message], offsets: Mapping[tuple[str, int], int]) -> None:
        if self._spent:
            raise Unknown("the publisher is not running")
        self._spent = True
        fault = self._broker.next_fault(self._id)
        try:
            await self._transact(messages, offsets, fault)
        except Lost as lost:
            raise Unknown("the broker went away in the middle of a transaction") from lost
        if fault == "unknown-committed":
            raise Unknown("the answer to the commit was lost")
        if fault == "refuse":
            raise Refused(max(messages, key=lambda m: len(m.value or b"")), "too large")
        self._spent = False
        if fault == "abort":
            raise Aborted("the transaction was aborted")

    async def _transact(self, messages: Sequence[Message], offsets: Mapping[tuple[str, int], int], fault: str) -> None:
        ask, end = self._broker.ask, partial(self._broker.end, self._id, self._epoch)
        if fault == "fence":
            self._broker.begin(self._id)
        try:
            for message in messages:
                await ask(partial(self._broker.write, self._id, self._epoch, message))
        except Refused:
            await ask(partial(end, "abort", {}))
            raise
        if fault == "unknown-lost":
            raise Unknown("the commit was lost")
        mirror = {(self._group, *at): offset for at, offset in offsets.items()}
        await ask(partial(end, "abort" if fault in {"abort", "refuse"} else "commit", mirror))

    async def stop(self) -> None:
        self._spent = True


class MemoryLog:
    """ports.Log."""

    def __init__(self, broker: MemoryBroker, most: int = 1_000) -> None:
        self._broker = broker
        self._most = most

    async def ends(self, topic: str, partition: int) -> Ends:
        of = self._broker.topics[topic][partition]
        # Two requests, as it is with a real one: the log may grow between the answers.
        stable, high = await asyncio.gather(
            self._broker.ask(lambda: of.last_stable), self._broker.ask(lambda: of.high_watermark)
        )
        return Ends(stable, max(stable, high))

    async def beginning(self, topic: str, partition: int) -> int:
        return await self._broker.ask(lambda: self._broker.topics[topic][partition].beginning)

    async def read(self, topic: str, partition: int, start: int, stop: int) -> AsyncGenerator[list[Record]]:
        of = self._broker.topics[topic][partition]
        position = max(start, of.beginning)
        if 0 <= start < of.beginning:
            raise Truncated(topic, partition, start, of.beginning)
        while position < stop:
            most = min(stop, position + self._most)
            reached = await self._broker.ask(partial(of.stable_before, most))
            if reached == position:
                await self._broker.grown.wait()
                continue
            if records := of.committed(position, reached):
                yield records
            position = reached


class MemorySender:
    """worker.Sender."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    async def send(self, message: Message) -> int:
        entry = await self._broker.ask(partial(self._broker.append, message))
        assert entry.record is not None
        return entry.record.offset


class MemoryIntake:
    """worker.Intake."""

    def __init__(self, broker: MemoryBroker, topics: Sequence[str], group: str = "g", wait_s: float = 0.005) -> None:
        self.topics = tuple(topics)
        self._wait_s = wait_s
        self._broker = broker
        self._group = group
        self._assigned: Assigned | None = None
        self._partitions: frozenset[int] = frozenset()
        self._positions: dict[tuple[str, int], int] = {}

    async def start(self, assigned: Assigned) -> None:
        self._assigned = assigned
        await self._broker.ask(partial(self._broker.join, self._group, self))

    async def resume(self, partition: int, positions: Mapping[str, int]) -> None:
        for topic in self.topics:
            if topic not in positions:
                self._positions.pop((topic, partition), None)
        for topic, position in positions.items():
            if partition in self._partitions:
                self._positions[topic, partition] = position

    async def poll(self, partitions: Collection[int], most: int) -> list[Polled]:
        self._broker.check()
        polled = self._take(partitions, most)
        if not polled:
            await self._wait(self._broker.grown)
            polled = self._take(partitions, most)
        return polled

    async def reachable(self) -> bool:
        return self._broker.reachable

    async def stop(self) -> None:
        self._broker.leave(self._group, self)

    def assign(self, partitions: frozenset[int]) -> None:
        self._partitions = partitions
        assert self._assigned is not None
        self._assigned(partitions)

    def revoke(self) -> None:
        self._positions.clear()
        self._partitions = frozenset()
        if self._assigned is not None:
            self._assigned(None)

    async def _wait(self, event: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(self._wait_s):
                await event.wait()
        except TimeoutError:
            pass

    def _take(self, partitions: Collection[int], most: int) -> list[Polled]:
        polled = []
        for (topic, number), position in list(self._positions.items()):
            of = self._broker.topics[topic][number]
            if number not in partitions:
                continue
            if position < of.beginning:
                raise Truncated(topic, number, position, of.beginning)
            end = min(of.last_stable, position + most)
            if end > position:
                polled.append(Polled(topic, number, of.committed(position, end), end))
                self._positions[topic, number] = end
        return polled


async def until(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    """Return when a condition holds; fails after a deadline."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - any condition, not only one that sets an event
            await asyncio.sleep(0.001)
