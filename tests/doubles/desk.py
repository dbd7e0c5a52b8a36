"""A desk that keeps its subscribers and warnings in memory, and the tail of what it published."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zlib import crc32

import polars as pl

from service.core.calendar import to_date, to_day
from service.core.crosstabs import add_up
from service.core.rules import Rulebook
from service.core.turn import TRANSITIONS, Mute
from service.ports import (
    Acknowledge,
    Act,
    Alert,
    Behind,
    Busy,
    InForce,
    Lost,
    MutePage,
    NotReady,
    Resolve,
    SegmentPage,
    Snooze,
    Truncated,
    WarningPage,
    WarningQuery,
)
from service.wire.messages import Outlet, turn_messages
from service.wire.topics import Topics

DAY_US = 86_400_000_000
FIRST_DAY = date(2025, 3, 31)
_OPEN = ("raised", "acknowledged", "snoozed", "recovering")


def row(number: int, **changes: Any) -> dict[str, Any]:
    """The line of an episode, `number` minutes after the close of the first day."""
    raised_us = int(datetime(2025, 3, 31, 16, tzinfo=UTC).timestamp()) * 1_000_000 + number * 60_000_000
    line: dict[str, Any] = dict.fromkeys(TRANSITIONS) | {
        "episode_id": f"e{number:04}",
        "subscriber_id": f"s-{number:04}",
        "transition": "raised",
        "rule": "drop_voice",
        "rule_version": 3,
        "kind": "risk",
        "state": "raised",
        "severity": "warning",
        "suppressed_by": None,
        "raised_on": FIRST_DAY,
        "raised_us": raised_us,
        "changed_us": raised_us,
        "act_by": FIRST_DAY + timedelta(days=3),
        "measure": "voice",
        "window_days": 30,
        "numbers": json.dumps({"voice_30d": 41, "voice_30d_baseline": 180.5, "voice_30d_drop": 0.773}),
        "money_at_risk_minor": 118_800,
        "consent": json.dumps({"call": True, "sms": False, "manager": None}),
        "orders": json.dumps({"call": "ordered", "sms": "no_consent"}),
        "why": json.dumps(
            {"en": "Calls fell by 77 % against the two months before.", "zh": "通话比前两个月下降 77%。"},
            ensure_ascii=False,
        ),
        "market": "campus",
        "area": "north",
        "manager": "m-07",
        "at": number,
    }
    return line | changes


class InMemoryTail:
    """The log of churn.warnings; after each record stands the marker of its transaction, as in Kafka."""

    def __init__(self, partitions: int = 2) -> None:
        self._log: dict[int, list[Alert | None]] = {partition: [] for partition in range(partitions)}
        self._beginning = dict.fromkeys(range(partitions), 0)
        self._readers: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._lock = threading.Lock()
        self.is_lost = False

    @property
    def followers(self) -> int:
        return len(self._readers)

    def publish(self, partition: int, line: Mapping[str, Any]) -> None:
        """Commit a transition; from any thread."""
        turn = pl.DataFrame([line], schema=TRANSITIONS, orient="row")
        message, *_ = turn_messages(turn, Outlet(Topics(), partition))
        headers = {name: value.decode() for name, value in message.headers}
        with self._lock:
            log = self._log[partition]
            log += [Alert(partition, len(log), headers, json.loads(message.value or b"")), None]
            self._wake()

    def lose(self) -> None:
        """The broker goes away; `find` brings it back."""
        with self._lock:
            self.is_lost = True
            self._wake()

    def find(self) -> None:
        self.is_lost = False

    def delete_before(self, partition: int, offset: int) -> None:
        """What retention does."""
        self._beginning[partition] = offset

    def _wake(self) -> None:
        for loop, event in self._readers:
            loop.call_soon_threadsafe(event.set)

    async def positions(self) -> Mapping[int, int]:
        if self.is_lost:
            raise Lost("no broker")
        return {partition: len(log) for partition, log in self._log.items()}

    async def follow(self, positions: Mapping[int, int]) -> AsyncIterator[Alert]:
        for partition, offset in positions.items():
            if offset < self._beginning[partition]:
                raise Truncated("churn.warnings", partition, offset, self._beginning[partition])
        reader = (asyncio.get_running_loop(), asyncio.Event())
        at = dict(positions)
        self._readers.append(reader)
        try:
            while True:
                reader[1].clear()
                for partition, log in self._log.items():
                    while at[partition] < len(log):
                        if self.is_lost:
                            break
                        alert = log[at[partition]]
                        at[partition] += 1
                        if alert is not None:
                            yield alert
                if self.is_lost:
                    raise Lost("no broker")
                await reader[1].wait()
        finally:
            self._readers.remove(reader)


@dataclass
class InMemoryDesk:
    """Shards by crc32 of the subscriber; `restoring` ones answer nothing, `stepping` ones nothing at once.

    One in `lagging` applies late.
    """

    partitions: int = 2
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    rolls: dict[str, pl.DataFrame] = field(default_factory=dict)
    cells: dict[int, pl.DataFrame] = field(default_factory=dict)  # by partition, columns of CELLS
    restoring: set[int] = field(default_factory=set)
    stepping: set[int] = field(default_factory=set)
    lagging: set[int] = field(default_factory=set)
    judging: InForce = field(default_factory=lambda: InForce(Rulebook("none", ())))
    broker: bool = True
    live: bool = True
    is_silent: bool = False  # the broker is thought to be there, and never answers
    rival: Act | None = None  # what somebody else has written just before the next
    written: list[tuple[str, Act]] = field(default_factory=list)
    muted: dict[int, dict[str, Mute]] = field(default_factory=dict)  # by partition
    closed: date = FIRST_DAY

    def __post_init__(self) -> None:
        self.tail = InMemoryTail(self.partitions)

    def partition(self, subscriber_id: str) -> int:
        return crc32(subscriber_id.encode()) % self.partitions

    def tell(self, line: dict[str, Any]) -> None:
        """Show a transition and publish it."""
        self.show(line)
        self.publish(line)

    def show(self, line: dict[str, Any]) -> None:
        self.rows = self.rows | {line["episode_id"]: line}

    def publish(self, line: dict[str, Any]) -> None:
        self.tail.publish(self.partition(line["subscriber_id"]), line)

    def subscriber(self, subscriber_id: str, *, at_once: bool = False) -> dict[str, Any] | None:
        partition = self.partition(subscriber_id)
        if at_once and partition in self.stepping:
            raise Busy
        self._require(partition)
        return self.records.get(subscriber_id)

    def holder(self, msisdn: str) -> str | None:
        self._require(*range(self.partitions))
        return next((who for who, record in self.records.items() if record["msisdn"] == msisdn), None)

    def warnings(self, query: WarningQuery) -> WarningPage:
        found = sorted(
            (line for line in self.rows.values() if self._answers(line) and _meets(line, query)),
            key=lambda line: (line["raised_us"], line["episode_id"]),
            reverse=True,
        )
        as_of = {partition: 1000 + partition for partition in range(self.partitions) if partition not in self.restoring}
        frame = pl.DataFrame(found[: query.limit], schema=TRANSITIONS, orient="row")
        return WarningPage(frame, tuple(sorted(self.restoring)), as_of)

    def open_counts(self) -> tuple[pl.DataFrame, tuple[int, ...]]:
        lines = Counter(
            (line["rule"], line["severity"])
            for line in self.rows.values()
            if line["state"] in _OPEN and line["suppressed_by"] is None and self._answers(line)
        )
        told = [(rule, severity, count) for (rule, severity), count in sorted(lines.items())]
        frame = pl.DataFrame(told, schema=["rule", "severity", "open"], orient="row")
        return frame, tuple(sorted(self.restoring))

    def segments(self) -> SegmentPage:
        asked = [partition for partition in range(self.partitions) if partition not in self.restoring]
        cells = add_up(self.cells[partition] for partition in asked if partition in self.cells)
        as_of = {partition: 1000 + partition for partition in asked}
        return SegmentPage(cells, tuple(sorted(self.restoring)), as_of, dict.fromkeys(asked, to_day(FIRST_DAY)))

    def warning(self, episode_id: str) -> dict[str, Any] | None:
        line = self.rows.get(episode_id)
        if line is not None and self._answers(line):
            return line
        self._require(*range(self.partitions))
        return None

    def roll(self, roll_id: str, limit: int) -> tuple[pl.DataFrame, tuple[int, ...]] | None:
        frame = self.rolls.get(roll_id)
        return None if frame is None else (frame.head(limit), tuple(sorted(self.restoring)))

    async def act(self, episode_id: str, act: Act, wait_s: float) -> bool:
        del wait_s  # nothing here needs time
        if isinstance(act, Snooze):
            self._require_ahead(act.until)
        await self._write()
        self.written.append((episode_id, act))
        line = self.rows[episode_id]
        if self.partition(line["subscriber_id"]) in self.lagging:
            return False
        for one in (self.rival, act):
            if one is not None and (changed := _changed(self.rows[episode_id], one)):
                self.tell(changed)
        return True

    def mutes(self) -> MutePage:
        answering = {partition for partition in range(self.partitions) if partition not in self.restoring}
        found: dict[str, Mute] = {}
        for partition in answering:
            found |= {one.id: one for one in self.muted.get(partition, {}).values() if to_date(one.until) > self.closed}
        lacking = {
            mute_id: tuple(sorted(one for one in answering if mute_id not in self.muted.get(one, {})))
            for mute_id in found
        }
        mutes = sorted(found.values(), key=lambda mute: (mute.until, mute.id))
        return MutePage(tuple(mutes), lacking, tuple(sorted(self.restoring)))

    async def mute(self, mute: Mute, wait_s: float) -> bool:
        del wait_s
        self._require_ahead(to_date(mute.until))
        await self._write()
        since = to_day(self.closed) + 1
        for partition in set(range(self.partitions)) - self.lagging:
            self.muted.setdefault(partition, {})[mute.id] = replace(mute, since=since)
        return not self.lagging

    async def unmute(self, mute_id: str, by: str, wait_s: float) -> bool:
        del by, wait_s
        await self._write()
        for partition in set(range(self.partitions)) - self.lagging:
            self.muted.get(partition, {}).pop(mute_id, None)
        return not self.lagging

    async def _write(self) -> None:
        if not self.broker:
            raise Lost("no broker")
        if self.is_silent:
            await asyncio.Event().wait()

    def _require_ahead(self, until: date) -> None:
        if until <= self.closed:
            raise Behind(self.closed)

    def resolve(self, episode_id: str) -> None:
        """The subscriber has recovered a day later."""
        line = self.rows[episode_id]
        self.tell(
            line
            | {
                "transition": "resolved",
                "state": "resolved",
                "outcome": "recovered",
                "resolved_on": line["raised_on"] + timedelta(days=1),
                "changed_us": line["changed_us"] + DAY_US,
            }
        )

    def in_force(self) -> InForce:
        return self.judging

    def readiness(self) -> Mapping[str, Any]:
        shards = {p: "restoring" if p in self.restoring else "running" for p in range(self.partitions)}
        reason = "The broker cannot be reached." if not self.broker else None
        if self.restoring:
            reason = f"{len(self.restoring)} of {self.partitions} shards are being restored."
        ready = self.broker and not self.restoring
        return {"ready": ready, "live": self.live, "broker": self.broker, "shards": shards, "reason": reason}

    def _answers(self, line: Mapping[str, Any]) -> bool:
        return self.partition(line["subscriber_id"]) not in self.restoring

    def _require(self, *partitions: int) -> None:
        missing = self.restoring & set(partitions)
        if missing:
            raise NotReady(tuple(missing))


def _meets(line: Mapping[str, Any], query: WarningQuery) -> bool:
    exact = ("rule", "severity", "market", "area", "manager")
    states: Sequence[str] = _OPEN if query.state is None else (query.state,)
    return (
        all(getattr(query, name) in {None, line[name]} for name in exact)
        and line["state"] in states
        and query.suppressed in {None, line["suppressed_by"] is not None}
        and (query.since_us is None or line["raised_us"] >= query.since_us)
        and (query.before is None or (line["raised_us"], line["episode_id"]) < query.before)
    )


def _changed(line: Mapping[str, Any], act: Act) -> dict[str, Any] | None:
    """The line after an act, a moment later; None where it does nothing."""
    state, changed_us = line["state"], line["changed_us"] + 1
    taken = {"acknowledged_by": act.by, "acknowledged_us": changed_us}
    match act:
        case Acknowledge() if state in {"raised", "snoozed", "recovering"} and line["acknowledged_by"] is None:
            after = "recovering" if state == "recovering" else "acknowledged"
            told = {"transition": "acknowledged", "state": after, "snoozed_until": None, **taken}
        case Snooze() if state in {"raised", "acknowledged", "snoozed"}:
            told = {"transition": "snoozed", "state": "snoozed", "snoozed_until": act.until}
        case Resolve() if state in _OPEN:
            told = {"transition": "resolved", "state": "resolved", "outcome": act.outcome, "resolved_on": FIRST_DAY}
        case _:
            return None
    return {**line, **told, "changed_us": changed_us}
