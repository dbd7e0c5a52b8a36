"""The simulation can fail: each of these faults, put into the shell or the broker, is found by the seeds of CI."""

from collections.abc import Callable
from typing import Any

import pytest

import service.shard.life as life_module
from service.shard import Shard
from service.shard.outbox import Outbox
from tests.doubles.broker import MemoryBroker, Owner
from tests.simulation.history import simulate
from tests.simulation.test_simulation import SEEDS

Patch = pytest.MonkeyPatch


def no_fence(patch: Patch) -> None:
    """The broker lets a publisher go on that a newer one has replaced."""

    def owner(self: MemoryBroker, transactional_id: str, epoch: int) -> Owner:
        del epoch
        return self._owners[transactional_id]

    patch.setattr(MemoryBroker, "owner", owner)


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

    def positions(self: Shard) -> dict[str, int]:
        topics = self._terms.topics
        return {topics.usage: self._usage.end + 1, topics.feedback: self._feedback.end}

    patch.setattr(Shard, "positions", property(positions))


def no_resume(patch: Patch) -> None:
    """A close that was interrupted between two slices is not gone on with."""

    def resume(*_: Any) -> list[Any]:
        return []

    patch.setattr(life_module, "resume", resume)


@pytest.mark.parametrize(
    "mutate",
    [resent, believed, early_snapshot, wrong_seek, no_fence, no_resume],
    ids=lambda mutate: mutate.__name__,
)
def test_a_fault_is_found(mutate: Callable[[Patch], None], monkeypatch: Patch) -> None:
    mutate(monkeypatch)
    assert any(simulate(seed).problems for seed in range(SEEDS))
