"""The broker behind a simulated network: requests and answers take time and get lost, a group notices who is silent."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from service.ports import Lost, Message
from service.worker.intake import Assigned
from tests.doubles.broker import Entry, MemoryBroker, MemoryIntake
from tests.simulation.chance import Chance
from tests.simulation.loop import WORLD

T = TypeVar("T")

SESSION_S = 6.0
_BEAT_S = 1.5
_REBALANCE_S = 8.0  # for which the others wait for a member to join again
_LOST_S = 2.0  # until a request without an answer counts as lost
_POLL_S = 0.5


@dataclass(eq=False)
class Member:
    """One joining of the group by a process; what it is told runs in its process."""

    intake: "SimulatedIntake"
    context: Context
    number: int
    beaten_s: float = 0.0
    heard: int = -1  # the last generation that it was told of
    partitions: frozenset[int] = frozenset()


@dataclass
class Troubles:
    """What goes wrong now, as shares of requests or transactions."""

    lost: float = 0.0  # requests, or their answers
    aborted: float = 0.0
    unknown: float = 0.0
    timed_out: float = 0.0  # transactions that the broker ends by itself, fencing their producer


class Group:
    """The coordinator: a rebalance begins when anybody joins, leaves or is silent, and ends when all have joined."""

    def __init__(self, broker: "SimulatedBroker", partitions: int) -> None:
        self.members: list[Member] = []
        self.generation = 0
        self._broker = broker
        self._partitions = partitions
        self._awaited: list[Member] = []

    def join(self, member: Member) -> None:
        member.beaten_s = self._broker.loop.time()
        self.members.append(member)
        self._broker.later(SESSION_S, partial(self._expire, member))
        self.rebalance()

    def leave(self, member: Member) -> None:
        if member in self.members:
            self.members.remove(member)
            self.rebalance()

    def beat(self, member: Member) -> bool:
        """Whether the member is one, as far as the coordinator knows."""
        member.beaten_s = self._broker.loop.time()
        return member in self.members

    def rebalance(self) -> None:
        """Everybody gives everything back and joins again."""
        self.generation += 1
        self._broker.note(f"rebalance {self.generation}: {[member.number for member in self.members]}")
        self._awaited = list(self.members)
        for member in self.members:
            self._broker.tell(member, partial(self._revoked, member, self.generation))
        self._broker.later(_REBALANCE_S, partial(self._give_up, self.generation))

    def _revoked(self, member: Member, generation: int) -> None:
        """In the member's process."""
        if generation <= member.heard:
            return
        member.heard = generation
        member.intake.lose(member)
        self._broker.later(self._broker.chance.network_s(), partial(self._joined, member, generation))

    def _joined(self, member: Member, generation: int) -> None:
        if generation == self.generation and member in self._awaited:
            self._awaited.remove(member)
            if not self._awaited:
                self._share_out()

    def _share_out(self) -> None:
        for number, member in enumerate(self.members):
            share = [p for p in range(self._partitions) if p * len(self.members) // self._partitions == number]
            self._broker.tell(member, partial(self._assigned, member, self.generation, frozenset(share)))

    def _assigned(self, member: Member, generation: int, share: frozenset[int]) -> None:
        """In the member's process."""
        if generation == member.heard:
            self._broker.note(f"member {member.number} has {sorted(share)}")
            member.intake.gain(member, share)

    def _give_up(self, generation: int) -> None:
        if generation == self.generation and self._awaited:
            self.members = [member for member in self.members if member not in self._awaited]
            self.rebalance()

    def _expire(self, member: Member) -> None:
        if member not in self.members:
            return
        silent_s = self._broker.loop.time() - member.beaten_s
        if silent_s >= SESSION_S and self._broker.reachable:
            self.leave(member)
        else:
            self._broker.later(max(SESSION_S - silent_s, _BEAT_S), partial(self._expire, member))


class SimulatedBroker(MemoryBroker):
    """Requests take time both ways and are carried out whether or not anybody waits for the answer."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        chance: Chance,
        note: Callable[[str], None],
        blame: Callable[[str], None],
    ) -> None:
        super().__init__()
        self.loop = loop
        self.chance = chance
        self.note = note
        self.blame = blame
        self.troubles = Troubles()
        self.markers_s = chance.network_s
        self.time_us: Callable[[], int] = lambda: self.now_us
        self.on_commit: Callable[[], None] = lambda: None
        self.group: Group | None = None
        self.decided: dict[tuple[str, str, int], int] = {}  # as `committed`, before the markers are written
        self._joined = 0

    async def ask(self, act: Callable[[], T]) -> T:
        """See MemoryBroker."""
        answered: asyncio.Future[T] = self.loop.create_future()
        lost_there, lost_back = (self.chance.happens(self.troubles.lost / 2) for _ in range(2))

        def arrive() -> None:
            if lost_there or not self.reachable:
                self.later(_LOST_S, partial(_fail, answered, Lost("no answer")))
                return
            try:
                result = act()
            except Exception as error:  # noqa: BLE001 - the answer to whoever asked
                self.later(self.chance.network_s(), partial(_fail, answered, error))
            else:
                self.later(self.chance.network_s(), partial(answer, result))

        def answer(result: T) -> None:
            if lost_back or not self.reachable:
                self.later(_LOST_S, partial(_fail, answered, Lost("the answer was lost")))
            elif not answered.done():
                answered.set_result(result)

        self.later(self.chance.network_s(), arrive)
        return await answered

    def later(self, seconds: float, act: Callable[[], Any]) -> None:
        """Something of the world, not of a process."""
        self.loop.call_later(seconds, act, context=WORLD.copy())

    def tell(self, member: Member, act: Callable[[], Any]) -> None:
        """Something that a member learns, in its process; nothing while that is stopped."""
        self.loop.call_later(self.chance.network_s(), act, context=member.context)

    def append(self, message: Message, verdict: str | None = "commit") -> Entry:
        self.now_us = self.time_us()
        return super().append(message, verdict)

    def begin(self, transactional_id: str) -> int:
        epoch = super().begin(transactional_id)
        self.note(f"{transactional_id} has epoch {epoch}")
        return epoch

    def end(self, transactional_id: str, epoch: int, verdict: str, offsets: Mapping[tuple[str, str, int], int]) -> None:
        super().end(transactional_id, epoch, verdict, offsets)
        if verdict == "commit":
            for at, offset in offsets.items():
                if offset < self.decided.get(at, 0):
                    self.blame(f"{at[1]}-{at[2]} goes back from {self.decided[at]} to {offset}")
            self.decided |= offsets
            self.on_commit()
        self.note(f"{transactional_id} {verdict} {[offset for _, offset in sorted(offsets.items())]}")

    def next_fault(self, transactional_id: str) -> str:
        troubles = self.troubles
        shares = (troubles.aborted, troubles.unknown / 2, troubles.unknown / 2, troubles.timed_out)
        drawn = self.chance.random()
        for fault, share in zip(("abort", "unknown-lost", "unknown-committed", "fence"), shares, strict=True):
            if drawn < share:
                self.note(f"{transactional_id} meets {fault}")
                return fault
            drawn -= share
        return "none"

    def new_member(self, intake: "SimulatedIntake") -> Member:
        self._joined += 1
        return Member(intake, copy_context(), self._joined)


class SimulatedIntake(MemoryIntake):
    """A member that beats, learns of its share by messages, and does not know that it was given up while it stood."""

    _broker: SimulatedBroker

    def __init__(self, broker: SimulatedBroker, topics: Sequence[str], group: str) -> None:
        super().__init__(broker, topics, group, _POLL_S)
        self._member: Member | None = None
        self._beating: asyncio.Task[None] | None = None

    async def start(self, assigned: Assigned) -> None:
        self._assigned = assigned
        self._member = member = self._broker.new_member(self)
        await self._broker.ask(partial(self._coordinator.join, member))
        self._beating = asyncio.create_task(self._beat(member))

    async def poll(self, partitions: Any, most: int) -> Any:
        await self._broker.ask(int)
        return await super().poll(partitions, most)

    async def reachable(self) -> bool:
        try:
            await self._broker.ask(int)
        except Lost:
            return False
        return self._member is not None

    async def stop(self) -> None:
        member, self._member = self._member, None
        self._positions.clear()
        if self._beating is not None:
            self._beating.cancel()
        if member is not None:
            try:
                await self._broker.ask(partial(self._coordinator.leave, member))
            except Lost:
                return  # its silence will tell

    def lose(self, member: Member) -> None:
        if member is self._member:
            self.revoke()

    def gain(self, member: Member, partitions: frozenset[int]) -> None:
        if member is self._member:
            self.assign(partitions)

    @property
    def _coordinator(self) -> Group:
        assert self._broker.group is not None
        return self._broker.group

    async def _beat(self, member: Member) -> None:
        while member is self._member:
            await asyncio.sleep(_BEAT_S)
            try:
                known = await self._broker.ask(partial(self._coordinator.beat, member))
                if not known and member is self._member:
                    self.revoke()
                    self._member = member = self._broker.new_member(self)
                    await self._broker.ask(partial(self._coordinator.join, member))
            except Lost:
                continue


def _fail(answered: asyncio.Future[Any], error: Exception) -> None:
    if not answered.done():
        answered.set_exception(error)
