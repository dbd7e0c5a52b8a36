"""What the worker needs of a consumer group: which partitions are ours, and their records."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from service.ports import Record


@dataclass(frozen=True, slots=True)
class Polled:
    """Records of one topic and partition in offset order (may be none), and the position after them."""

    topic: str
    partition: int
    records: Sequence[Record]
    end: int


Assigned = Callable[[frozenset[int] | None], None]


class Intake(Protocol):
    """Membership of the group over all input topics at once: a partition is of all of them, or of none."""

    async def start(self, assigned: Assigned) -> None:
        """Join. `assigned` is called, synchronously, with the partitions of every assignment.

        With None it says that a rebalance has begun, which will bring another assignment. A partition assigned yields
        nothing until `resume`. Raises: Lost.
        """

    async def resume(self, partition: int, positions: Mapping[str, int]) -> None:
        """Let a partition's records flow from these offsets by topic, at once: no poll ends before it returns.

        Topics that are not named yield nothing from now on. Raises: Lost.
        """

    async def poll(self, partitions: Collection[int], most: int) -> list[Polled]:
        """Records of resumed partitions, at most so many in all; waits a little where there are none.

        What is not asked for stays where it is: that is the back-pressure. Raises: Lost, Truncated.
        """

    async def reachable(self) -> bool:
        """Whether the broker answers now; tells within two seconds."""

    async def stop(self) -> None:
        """Leave the group."""
