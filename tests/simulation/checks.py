"""What must hold: said exactly once and all of it, every record accounted for, lookups equal to a plain count."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from service.core.calendar import to_day
from service.ports import Record
from service.shard import Shard
from service.wire.deadletters import _LATE_FROM
from tests.core.streams import Event, plain_windows
from tests.doubles.broker import MemoryBroker
from tests.doubles.stand import TOPICS
from tests.simulation.oracle import Decided, Oracle, decided, latest
from tests.simulation.scenario import HORIZON_DAYS, WINDOWS, Arrival, Scenario

_OF_A_DAY = {"usage.voice", "charge"}
_SPOKEN = (TOPICS.warnings, TOPICS.segments, *(TOPICS.outbound(channel) for channel in ("call", "sms", "manager")))
_DEAD_FROM = ("__connect.errors.topic", "__connect.errors.partition", "__connect.errors.offset")


@dataclass(frozen=True)
class Fed:
    """Usage as it lies in a partition, and what the generator meant each record to be."""

    offset: int
    arrival: Arrival

    @property
    def day(self) -> int:
        return to_day(datetime.fromisoformat(self.arrival.told["occurred_at"]).astimezone(UTC).date())


class Judge:
    """Looks at the broker's log as a read_committed reader, and at shards as their clients do."""

    def __init__(self, scenario: Scenario, broker: MemoryBroker, feed: Sequence[Arrival]) -> None:
        self._scenario = scenario
        self._broker = broker
        self._meant: Mapping[bytes | None, Arrival] = {arrival.message.value: arrival for arrival in feed}

    def decisions(self, partition: int) -> list[Decided]:
        """Every transaction of a shard, also what is compacted by now."""
        return list(decided(self._decided(partition)))

    def _decided(self, partition: int) -> list[Record]:
        of = self._broker.topics[TOPICS.decisions][partition]
        entries = of.entries[: of.last_stable]
        return [one.record for one in entries if one.record is not None and one.verdict in {"commit", "compacted"}]

    def usage(self, partition: int) -> list[Fed]:
        return [Fed(record.offset, self._meant[record.value]) for record in self._broker.read(TOPICS.usage, partition)]

    def final(self) -> Iterator[str]:
        """Everything that is wrong with what all partitions said in the end."""
        for partition in range(self._scenario.partitions):
            for problem in self._final_of(partition):
                yield f"partition {partition}: {problem}"

    def _final_of(self, partition: int) -> Iterator[str]:
        decisions = self.decisions(partition)
        records = self._broker.read(TOPICS.usage, partition)
        feedback = self._broker.read(TOPICS.feedback, partition)
        expected = Oracle(self._scenario.terms, partition, records, feedback).follow(decisions)
        yield from expected.problems
        said = [
            (topic, dict(record.headers)["ce_id"].decode(), record.value)
            for topic in _SPOKEN
            for record in self._broker.read(topic, partition)
        ]
        yield from _differences("said", said, expected.said)
        known = latest({}, self._decided(partition))
        yield from _differences("decided", list(known.items()), list(expected.decisions.items()))
        late = _offsets(self._broker.read(TOPICS.late, partition), _LATE_FROM)
        dead = _offsets(self._broker.read(TOPICS.dead_letters, partition), _DEAD_FROM)
        yield from _differences("late", late, [(TOPICS.usage, at) for at in expected.late])
        rejected = [(TOPICS.usage, at) for at in expected.rejected]
        rejected += [(TOPICS.feedback, at) for at in expected.feedback_rejected]
        yield from _differences("dead letters", dead, rejected)
        yield from self._account(partition, decisions, expected.counts, late, dead)

    def _account(
        self,
        partition: int,
        decisions: Sequence[Decided],
        counts: Counter[str],
        late: Sequence[tuple[str, int]],
        dead: Sequence[tuple[str, int]],
    ) -> Iterator[str]:
        fed = self.usage(partition)
        plain_late = [(TOPICS.usage, one.offset) for one in fed if one.offset in _late_of(fed, decisions)]
        yield from _differences("late by a plain count", late, plain_late)
        bad = [one for one in dead if one[0] == TOPICS.usage]
        meant_bad = [(TOPICS.usage, one.offset) for one in fed if one.arrival.fate == "bad"]
        yield from _differences("unreadable by intention", bad, meant_bad)
        total = sum(counts.values()) + len(bad)
        if total != len(fed):
            yield f"{len(fed)} records came and {total} are accounted for: {dict(counts)}, {len(bad)} dead letters"

    def lookup(self, shard: Shard) -> Iterator[str]:
        """What is wrong with a running shard's answers, where the log has all days that it has closed."""
        decisions, fed = self.decisions(shard.partition), self.usage(shard.partition)
        known = {day for one in decisions for day, _, _ in one.closes}
        late = _late_of(fed, decisions)
        sums: dict[tuple[date, int], Mapping[tuple[str, str], int]] = {}
        for who in sorted({one.arrival.told["subscriber_id"] for one in fed if one.arrival.told}):
            record = shard.display.subscriber(who)
            if record is None or record["as_of"]["closed_day"] is None:
                continue
            closed, cursor = date.fromisoformat(record["as_of"]["closed_day"]), record["as_of"]["cursor"]
            if known and to_day(closed) > max(known):
                return  # a close that is not committed yet
            if (closed, cursor) not in sums:
                counted = [one for one in fed if one.offset < cursor and one.offset not in late and one.arrival.told]
                sums[closed, cursor] = plain_windows(map(_event, counted), closed, "UTC", WINDOWS)
            for measure in ("voice", "spend"):
                shown = {days: window["sum"] for days, window in record["windows"].get(measure, {}).items()}
                plain = {str(days): sums[closed, cursor].get((who, f"{measure}_{days}d"), 0) for days in WINDOWS}
                if shown != plain:
                    yield f"partition {shard.partition} at {cursor} after {closed}: {who} {measure} {shown}, is {plain}"


def _event(fed: Fed) -> Event:
    told = dict(fed.arrival.told)
    name, kind, who, at = (told.pop(key) for key in ("id", "type", "subscriber_id", "occurred_at"))
    return Event(name, who, kind, datetime.fromisoformat(at), told)


def _late_of(fed: Sequence[Fed], decisions: Sequence[Decided]) -> set[int]:
    """Offsets of usage that came when its day was closed for as long as the horizon."""
    cuts = sorted((cut, day) for one in decisions for day, cut, _ in one.closes)
    closed: int | None = None
    late = set()
    for one in fed:
        if not one.arrival.told or one.arrival.fate != "counts":
            continue
        closed = one.day - 1 if closed is None else closed
        while cuts and cuts[0][0] <= one.offset:
            closed = cuts.pop(0)[1]
        if one.arrival.told["type"] in _OF_A_DAY and closed - one.day >= HORIZON_DAYS:
            late.add(one.offset)
    return late


def _offsets(records: Sequence[Record], names: tuple[str, str, str]) -> list[tuple[str, int]]:
    """(topic, offset) that records say they had stood at."""
    found = []
    for record in records:
        headers = dict(record.headers)
        found.append((headers[names[0]].decode(), int(headers[names[2]])))
    return found


def _differences(what: str, found: Sequence[Any], expected: Sequence[Any]) -> Iterator[str]:
    """What is there too often, and what is missing."""
    there, wanted = Counter(found), Counter(expected)
    for name, more, less in (("too much", there, wanted), ("missing", wanted, there)):
        if surplus := more - less:
            yield f"{what}, {name} ({surplus.total()}): {_short(surplus)}"


def _short(surplus: Counter[Any]) -> str:
    return "; ".join(str(one)[:160] for one in list(surplus)[:3])
