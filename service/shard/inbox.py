"""What was polled for a shard and not taken yet; bounded by asking for no more, never by dropping."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from service.ports import Record


@dataclass(slots=True)
class Lane:
    """Records of one topic that wait, and the position after them."""

    end: int = 0
    records: list[Record] = field(default_factory=list)
    taken_to: int = 0

    def begin(self, position: int) -> None:
        """Stand at a position with nothing waiting."""
        self.end = self.taken_to = position
        self.records = []

    def offer(self, records: Sequence[Record], end: int) -> None:
        """Add what was polled; what waits or was taken already, after a seek, is not added again."""
        if end <= self.end:
            return
        if records and records[0].offset < self.end:
            records = [record for record in records if record.offset >= self.end]
        self.records.extend(records)
        self.end = end

    @property
    def waits(self) -> bool:
        """Whether there is anything to take: records, or only a position that has moved on."""
        return self.taken_to < self.end

    def take(self, most: int) -> tuple[list[Record], int]:
        """At most so many records, and the position after them."""
        if len(self.records) <= most:
            taken, self.records, self.taken_to = self.records, [], self.end
        else:
            taken, self.records = self.records[:most], self.records[most:]
            self.taken_to = taken[-1].offset + 1
        return taken, self.taken_to
