"""Answers for the HTTP side from the shards that live here; an absent shard is said, never hidden."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import polars as pl

from service.clock import Clock
from service.core.turn import TRANSITIONS
from service.ports import Message, NotReady, WarningPage, WarningQuery
from service.shard import Display, Shard, Terms
from service.wire.feedback import Acknowledged, acknowledgement, instant_text
from service.wire.partitioning import partition_of


class Sender(Protocol):
    """Single messages outside any transaction."""

    async def send(self, message: Message) -> int:
        """Send one message; returns its offset. Raises: Lost."""


class ShardDesk:
    """See ports.Desk. `shards` gives those that live here by partition, `readiness` how the worker is."""

    def __init__(
        self,
        terms: Terms,
        shards: Callable[[], Mapping[int, Shard]],
        readiness: Callable[[], Mapping[str, Any]],
        sender: Sender,
        clock: Clock,
    ) -> None:
        self._terms = terms
        self._shards = shards
        self._readiness = readiness
        self._sender = sender
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None

    def run_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """Writes go through the worker's loop."""
        self._loop = loop

    def subscriber(self, subscriber_id: str, *, at_once: bool = False) -> dict[str, Any] | None:
        """The front office's record. Raises: NotReady, Busy."""
        intake = self._terms.intake
        at = partition_of(subscriber_id.encode(), intake.partitions, intake.partitioner)
        asked = range(intake.partitions) if at is None else (at,)
        for display in self._displays(asked):
            if (found := display.subscriber(subscriber_id, at_once=at_once)) is not None:
                return found
        self._require(asked)
        return None

    def holder(self, msisdn: str) -> str | None:
        """Id of the newest holder of a phone number. Raises: NotReady."""
        everywhere = range(self._terms.intake.partitions)
        self._require(everywhere)
        found = [holder for display in self._displays(everywhere) if (holder := display.holder(msisdn)) is not None]
        return max(found)[1] if found else None

    def warnings(self, query: WarningQuery) -> WarningPage:
        """One page over all shards that live here, newest first."""
        everywhere = range(self._terms.intake.partitions)
        displays = self._displays(everywhere)
        as_of = {display.partition: cursor for display in displays if (cursor := display.cursor) is not None}
        found = pl.concat([pl.DataFrame(schema=TRANSITIONS), *(display.warnings(query) for display in displays)])
        page = found.sort("raised_us", "episode_id", descending=True).head(query.limit)
        return WarningPage(page, tuple(sorted(set(everywhere) - as_of.keys())), as_of)

    def warning(self, episode_id: str) -> dict[str, Any] | None:
        """One row of TRANSITIONS. Raises: NotReady."""
        found = self._find(episode_id)
        return None if found is None else found[1]

    def roll(self, roll_id: str, limit: int) -> tuple[pl.DataFrame, tuple[int, ...]] | None:
        """Subscribers on a list, and the partitions that could not say; None for an unknown list."""
        roll = next((roll for roll in self._terms.rulebook.rolls if roll.id == roll_id), None)
        if roll is None:
            return None
        everywhere = range(self._terms.intake.partitions)
        displays = self._displays(everywhere)
        parts = [display.roll(roll, limit) for display in displays]
        columns = dict.fromkeys(("subscriber_id", *roll.numbers), pl.Null)
        found = pl.concat([pl.DataFrame(schema=columns), *parts], how="vertical_relaxed").head(limit)
        return found, tuple(sorted(set(everywhere) - {display.partition for display in displays}))

    async def acknowledge(self, episode_id: str, by: str, note: str | None, wait_s: float) -> bool:
        """Write the acknowledgement; True when its shard has applied it in time. Raises: NotReady, KeyError, Lost."""
        found = self._find(episode_id)
        if found is None:
            raise KeyError(episode_id)
        assert self._loop is not None  # noqa: S101 - nobody is served before the worker runs
        partition, row = found
        writing = asyncio.run_coroutine_threadsafe(self._write(partition, row, by, note, wait_s), self._loop)
        return await asyncio.wrap_future(writing)

    def readiness(self) -> Mapping[str, Any]:
        """How the worker is."""
        return self._readiness()

    async def _write(self, partition: int, row: Mapping[str, Any], by: str, note: str | None, wait_s: float) -> bool:
        now_us = self._clock.now_us()
        report = Acknowledged(
            id=f"{row['episode_id']}.acknowledged.{now_us}",
            subscriber_id=row["subscriber_id"],
            warning_id=row["episode_id"],
            by=by,
            note=note,
            occurred_at=instant_text(now_us),
        )
        offset = await self._sender.send(acknowledgement(report, self._terms.topics.feedback, partition))
        shard = self._shards().get(partition)
        if shard is None:
            return False
        try:
            async with asyncio.timeout(wait_s):
                await shard.applied(offset)
        except TimeoutError:
            return False
        return True

    def _find(self, episode_id: str) -> tuple[int, dict[str, Any]] | None:
        everywhere = range(self._terms.intake.partitions)
        for display in self._displays(everywhere):
            if (row := display.warning(episode_id)) is not None:
                return display.partition, row
        self._require(everywhere)
        return None

    def _displays(self, partitions: Iterable[int]) -> list[Display]:
        shards = dict(self._shards())
        shown = [shards[partition].display for partition in partitions if partition in shards]
        return [display for display in shown if display.cursor is not None]

    def _require(self, partitions: Iterable[int]) -> None:
        wanted = set(partitions)
        missing = wanted - {display.partition for display in self._displays(wanted)}
        if missing:
            raise NotReady(sorted(missing))
