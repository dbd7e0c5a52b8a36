"""The simulation can fail: each of these faults, put into the shell or the broker, is found by a few seeds."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

import service.shard.life as life_module
import service.shard.outbox as outbox_module
import service.shard.restore as restore_module
from service.shard import Shard
from service.shard.outbox import Outbox
from service.shard.world import Terms, World
from service.wire.decisions import DecisionReader, Decisions
from service.worker import Worker
from tests.doubles.broker import MemoryBroker, MemoryIntake, Owner
from tests.simulation.history import simulate

Patch = pytest.MonkeyPatch


def no_fence(patch: Patch) -> None:
    """The broker lets a publisher go on that a newer one has replaced."""

    def owner(self: MemoryBroker, transactional_id: str, epoch: int) -> Owner:
        del epoch
        return self._owners[transactional_id]

    patch.setattr(MemoryBroker, "owner", owner)


def no_question_whose(patch: Patch) -> None:
    """A rebalance is not waited out, and every partition counts as ours; nor is the log asked who has gone on."""

    async def still_ours(self: Worker, partition: int) -> bool:
        del self, partition
        return True

    async def has_happened(*given: Any) -> bool:
        return await _stood_at(*given)

    patch.setattr(Worker, "_still_ours", still_ours)
    patch.setattr(Outbox, "_has_happened", has_happened)


def blind_return(patch: Patch) -> None:
    """After an unknown outcome it is not noticed that another owner has gone on."""
    patch.setattr(Outbox, "_has_happened", _stood_at)


async def _stood_at(self: Outbox, turn: Any) -> bool:
    decided = await outbox_module.read_decisions_from(self._world, self._terms, self._partition, self._read_from)
    return (decided.cursor, decided.feedback_cursor) == (turn.cursor, turn.feedback_cursor)


def resent(patch: Patch) -> None:
    """After an unknown outcome the same is sent again, whatever the cursor says."""
    patch.setattr(Outbox, "_has_happened", _answer(answer=False))


def believed(patch: Patch) -> None:
    """After an unknown outcome all counts as said."""
    patch.setattr(Outbox, "_has_happened", _answer(answer=True))


def _answer(*, answer: bool) -> Callable[..., Any]:
    async def has_happened(self: Outbox, turn: Any) -> bool:
        del self, turn
        return answer

    return has_happened


def early_snapshot(patch: Patch) -> None:
    """A snapshot is taken before what it holds is committed."""

    right = Outbox.flush

    async def flush(self: Outbox) -> None:
        del self

    async def flush_when_due(self: Outbox) -> bool:
        elapsed_s = self._world.clock.elapsed_s() - self._said_s
        if self._tally.silent and elapsed_s >= self._terms.mirror_interval_s:
            await right(self)
        return not self._tally.silent

    patch.setattr(Outbox, "flush", flush)
    patch.setattr(Outbox, "_flush_when_due", flush_when_due)


def wrong_seek(patch: Patch) -> None:
    """Records flow from one behind the cursor."""

    def positions(self: Shard) -> dict[str, int | None]:
        topics = self._terms.topics
        return {topics.usage: self._usage.end + 1, topics.feedback: self._feedback.end or None}

    patch.setattr(Shard, "positions", property(positions))


def flowing_on(patch: Patch) -> None:
    """While a partition is sought anew, it flows on from where it stood."""

    async def resume(self: MemoryIntake, partition: int, positions: Mapping[str, int | None]) -> None:
        for topic, position in positions.items():
            at = 0 if position is None else position
            if position is None:
                await self._broker.ask(int)
            if partition in self._partitions:
                self._positions[topic, partition] = at

    patch.setattr(MemoryIntake, "resume", resume)


def impatient_reader(patch: Patch) -> None:
    """Decisions are read before the transactions in them are marked as ended."""

    async def read(world: World, terms: Terms, partition: int, start: int) -> Decisions:
        topic = terms.topics.decisions
        stable = (await world.log.ends(topic, partition)).last_stable
        reader = DecisionReader()
        async for records in world.log.read(topic, partition, start, stable):
            reader.take(records)
        return reader.decisions()

    patch.setattr(outbox_module, "read_decisions_from", read)
    patch.setattr(restore_module, "read_decisions_from", read)


def no_resume(patch: Patch) -> None:
    """A close that was interrupted between two slices is not gone on with."""

    def resume(*_: Any) -> list[Any]:
        return []

    patch.setattr(life_module, "resume", resume)


def hasty_clock(patch: Patch) -> None:
    """The clock closes a day though records of it wait."""

    def day_due(self: Shard, ends: Any) -> int | None:
        del ends
        state, now_us = self._state, self._world.clock.now_us()
        day = state.closed_day
        return day + 1 if day is not None and state.due_us(day + 1) <= now_us else None

    patch.setattr(Shard, "_day_due", day_due)


FOUND_BY: dict[Callable[[Patch], None], tuple[int, ...]] = {
    resent: (22, 24),
    believed: (0, 1),
    early_snapshot: (2,),
    wrong_seek: (0, 1),
}


@pytest.mark.parametrize("mutate", FOUND_BY, ids=lambda mutate: mutate.__name__)
def test_a_fault_is_found(mutate: Callable[[Patch], None], monkeypatch: Patch) -> None:
    mutate(monkeypatch)
    assert any(simulate(seed).problems for seed in FOUND_BY[mutate])
