"""What was polled for a shard and not taken yet; bounded by asking for no more, never by dropping."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from service.ports import Record, Records


class Place(NamedTuple):
    """Where a shard is in its usage: the position to which it was fed, its cursor, and the end that it could reach."""

    fed: int
    cursor: int
    end: int


@dataclass(slots=True)
class Lane:
    """Records of one topic that wait, and the position after them."""

    end: int = 0
    taken_to: int = 0
    parts: list[Records] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def begin(self, position: int) -> None:
        """Stand at a position with nothing waiting."""
        self.end = self.taken_to = position
        self.parts = []

    def offer(self, records: Sequence[Record], end: int) -> None:
        """Add what was polled; what waits or was taken already, after a seek, is not added again."""
        if end <= self.end:
            return
        self.parts.append(Records.of(records).since(self.end))
        self.end = end

    @property
    def waits(self) -> bool:
        """Whether there is anything to take: records, or only a position that has moved on."""
        return self.taken_to < self.end

    def take(self, most: int) -> tuple[Records, int]:
        """At most so many records, and the position after them."""
        taken, self.parts, self.taken_to = Records.joined(self.parts), [], self.end
        if len(taken) > most:
            taken, rest = taken[:most], taken[most:]
            self.parts, self.taken_to = [rest], int(rest.offsets[0])
        return taken, self.taken_to
