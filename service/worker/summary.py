"""What has happened here in a few numbers: the last line of a replay or a demo."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import polars as pl

from service.core.state import State
from service.core.turn import Turn
from service.shard.world import Observer, Verdict


class Summary:
    """An observer that counts and hands everything on to the next one."""

    def __init__(self, following: Observer) -> None:
        self._next = following
        self.events_in = self.rejected = self.ignored = 0
        self.counted = self.repeated = self.late = 0
        self.days: Counter[int] = Counter()  # days closed, by partition count
        self.warnings: Counter[str] = Counter()  # published, by rule
        self.met: set[str] = set()  # rules that somebody met, be it that all of it was withheld
        self.suppressed: Counter[str] = Counter()  # raised and not published at once, by reason
        self.outbound: Counter[str] = Counter()  # orders, by channel
        self.withheld: Counter[str] = Counter()  # orders not made, by reason

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        sums = ("events_in", "rejected", "ignored", "counted", "repeated", "late")
        by = ("warnings", "suppressed", "outbound", "withheld")
        return {name: getattr(self, name) for name in sums} | {
            name: dict(sorted(getattr(self, name).items())) for name in by
        }

    def records_taken(
        self, partition: int, records: int, rejected: Mapping[str, int], ignored: Mapping[str, int]
    ) -> None:
        """See Observer."""
        self.events_in += records
        self.rejected += sum(rejected.values())
        self.ignored += sum(ignored.values())
        self._next.records_taken(partition, records, rejected, ignored)

    def turn_committed(self, turn: Turn) -> None:
        """See Observer."""
        self.counted += turn.counts.counted
        self.repeated += turn.counts.repeated
        self.late += turn.counts.late
        if turn.day is not None and turn.day.slices_done == turn.day.slices:
            self.days[turn.day.day] += 1
        for transition, suppressed_by, rule, orders in turn.transitions.select(
            "transition", "suppressed_by", "rule", "orders"
        ).iter_rows():
            if transition == "raised":
                self._count_raised(rule, orders, suppressed_by)
        self._next.turn_committed(turn)

    def _count_raised(self, rule: str, orders: str | None, suppressed_by: str | None) -> None:
        self.met.add(rule)
        if suppressed_by is not None:
            self.suppressed[suppressed_by.partition(":")[0]] += 1
            return
        self.warnings[rule] += 1
        for channel, said in json.loads(orders or "{}").items():
            if said == "ordered":
                self.outbound[channel] += 1
            else:
                self.withheld[said] += 1

    def batch_finished(self, seconds: float) -> None:
        """See Observer."""
        self._next.batch_finished(seconds)

    def transaction_ended(self, result: Verdict, seconds: float) -> None:
        """See Observer."""
        self._next.transaction_ended(result, seconds)

    def day_closed(self, seconds: float) -> None:
        """See Observer."""
        self._next.day_closed(seconds)

    def shard_entered(self, partition: int, state: str) -> None:
        """See Observer."""
        self._next.shard_entered(partition, state)

    def shard_left(self, partition: int) -> None:
        """See Observer."""
        self._next.shard_left(partition)

    def usage_held(self, partition: int, *, held: bool) -> None:
        """See Observer."""
        self._next.usage_held(partition, held=held)

    def shard_restored(self, seconds: float) -> None:
        """See Observer."""
        self._next.shard_restored(seconds)

    def shard_moved(self, partition: int, cursor: int, high_watermark: int) -> None:
        """See Observer."""
        self._next.shard_moved(partition, cursor, high_watermark)

    def shard_measured(self, partition: int, state: State) -> None:
        """See Observer."""
        self._next.shard_measured(partition, state)

    def segments_counted(self, partition: int, tally: pl.DataFrame) -> None:
        """See Observer."""
        self._next.segments_counted(partition, tally)

    def snapshot_saved(self, partition: int, seconds: float, size_bytes: int, at_us: int) -> None:
        """See Observer."""
        self._next.snapshot_saved(partition, seconds, size_bytes, at_us)

    def snapshot_found(self, partition: int, at_us: int) -> None:
        """See Observer."""
        self._next.snapshot_found(partition, at_us)

    def snapshot_failed(self) -> None:
        """See Observer."""
        self._next.snapshot_failed()

    def broker_answers(self, *, connected: bool) -> None:
        """See Observer."""
        self._next.broker_answers(connected=connected)

    def consumer_restarted(self) -> None:
        """See Observer."""
        self._next.consumer_restarted()
