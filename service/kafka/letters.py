"""The topic of dead letters: read as committed, and replayed exactly once.

Whoever replays has the one transactional id of all replays, so a second one fences the first and sees all that it did.
"""

import contextlib
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass, field

from service.ports import Aborted, Fenced, Log, Lost, Message, Publisher, Record, Unknown
from service.wire.decode import Intake
from service.wire.letters import Asked, Fate, Letter, Survey, fate_of, read_letter, read_marker, replay_messages
from service.wire.topics import Topics

_LOG = logging.getLogger(__name__)
_CHUNK_LETTERS, _CHUNK_BYTES = 500, 4 << 20  # of one transaction: an open one holds up whoever reads what is committed
_ATTEMPTS = 5


class LetterMissing(Exception):  # noqa: N818 - read by people as a sentence
    """There is no dead letter where one is asked for."""


class Overtaken(Exception):  # noqa: N818 - read by people as a sentence
    """Another replay has begun meanwhile."""


@dataclass(slots=True)
class _Attempt:
    """One publisher's go at a replay, and the chunk that is to be its next transaction.

    `ours` are letters of all chunks begun, in whichever attempt: one that was replayed before was replayed by us.
    """

    publisher: Publisher
    ours: set[tuple[int, int]]
    fates: Counter[Fate] = field(default_factory=Counter)
    places: list[tuple[int, int]] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    size_bytes: int = 0

    @property
    def chosen(self) -> int:
        """Letters sent, or about to be."""
        return self.fates[Fate.SENT] + len(self.places)

    async def add(self, letter: Letter, messages: Sequence[Message]) -> None:
        """Send one letter, with others as soon as there are enough. Raises: what a publisher does."""
        self.places.append((letter.record.partition, letter.record.offset))
        self.messages += messages
        self.size_bytes += letter.size_bytes
        if len(self.places) >= _CHUNK_LETTERS or self.size_bytes >= _CHUNK_BYTES:
            await self.commit()

    async def commit(self) -> None:
        """Send what waits. Raises: what a publisher does."""
        if not self.places:
            return
        self.ours.update(self.places)
        await self.publisher.publish(self.messages, {})
        self.fates[Fate.SENT] += len(self.places)
        self.places, self.messages, self.size_bytes = [], [], 0

    def pass_over(self, letter: Letter, fate: Fate) -> None:
        """Count one that is not sent."""
        is_ours = fate is Fate.REPLAYED and (letter.record.partition, letter.record.offset) in self.ours
        self.fates[Fate.SENT if is_ours else fate] += 1


class Letters:
    """Dead letters of all partitions; `publisher` gives a new one, not started, under the id of all replays."""

    def __init__(self, log: Log, topics: Topics, intake: Intake, publisher: Callable[[], Publisher]) -> None:
        self._log = log
        self._topics = topics
        self._intake = intake
        self._publisher = publisher

    async def find(self, partition: int, offset: int) -> Letter:
        """One letter. Raises: LetterMissing, Lost."""
        topic, count = self._topics.dead_letters, self._intake.partitions
        if not 0 <= partition < count:
            raise LetterMissing(f"{topic} has no partition {partition}: name one of 0 to {count - 1}")
        begin, end = await self._log.beginning(topic, partition), (await self._log.ends(topic, partition)).last_stable
        if begin <= offset < end:
            async with contextlib.aclosing(self._records(partition, offset, offset + 1)) as records:
                async for record in records:
                    if (letter := read_letter(record)) is not None:
                        return letter
        holds = f"it holds offsets {begin} to {end - 1}" if begin < end else "it is empty"
        raise LetterMissing(f"There is no dead letter in partition {partition} at offset {offset}; {holds}")

    async def survey(self, asked: Asked, limit: int) -> Survey:
        """The letters that are asked for. Raises: Lost, Truncated."""
        survey = Survey(limit)
        for partition in self._partitions(asked):
            end = (await self._log.ends(self._topics.dead_letters, partition)).last_stable
            replayed = await self._replayed(partition, end)
            async with contextlib.aclosing(self._asked(asked, partition, end)) as letters:
                async for letter in letters:
                    survey.add(letter, replayed=letter.record.offset in replayed)
        return survey

    async def foresee(self, asked: Asked, limit: int | None) -> Counter[Fate]:
        """What a replay would make of the letters that are asked for. Raises: as `survey`."""
        fates: Counter[Fate] = Counter()
        for partition in self._partitions(asked):
            end = (await self._log.ends(self._topics.dead_letters, partition)).last_stable
            replayed = await self._replayed(partition, end)
            async with contextlib.aclosing(self._asked(asked, partition, end)) as letters:
                async for letter in letters:
                    if fates[Fate.SENT] == limit:
                        break
                    fates[self._fate(letter, replayed)] += 1
        return fates

    async def replay(self, asked: Asked, limit: int | None) -> Counter[Fate]:
        """Send letters back to where they came from, at most `limit`, the oldest of each partition first.

        Raises: Lost, Truncated, Refused, Overtaken.
        """
        ours: set[tuple[int, int]] = set()
        for _ in range(_ATTEMPTS):
            attempt = _Attempt(self._publisher(), ours)
            try:
                # Also settles what a replay that was killed has left open: from here on the markers tell all.
                await attempt.publisher.start()
                await self._send(attempt, asked, limit)
            except (Aborted, Unknown) as verdict:
                _LOG.warning("whether a chunk of letters was sent, the next attempt tells: %s", verdict)
            except Fenced as fenced:
                raise Overtaken(
                    "Another replay has begun, or CHURN_KAFKA__TRANSACTION_TIMEOUT_MS is too short: this one ends "
                    f"after {attempt.fates[Fate.SENT]:,} letters, the other or the next goes on behind them"
                ) from fenced
            else:
                return attempt.fates
            finally:
                await attempt.publisher.stop()
        raise Lost(f"{_ATTEMPTS} times a transaction came to nothing: look at the brokers, then replay again")

    async def _send(self, attempt: _Attempt, asked: Asked, limit: int | None) -> None:
        for partition in self._partitions(asked):
            # Not only to the last stable offset: markers of a replay may stand behind what a shard has open there.
            end = (await self._log.ends(self._topics.dead_letters, partition)).high_watermark
            replayed = await self._replayed(partition, end)
            async with contextlib.aclosing(self._asked(asked, partition, end)) as letters:
                async for letter in letters:
                    if attempt.chosen == limit:
                        break
                    fate = self._fate(letter, replayed)
                    if fate is Fate.SENT:
                        await attempt.add(letter, replay_messages(letter, self._intake))
                    else:
                        attempt.pass_over(letter, fate)
        await attempt.commit()

    def _fate(self, letter: Letter, replayed: set[int]) -> Fate:
        return fate_of(letter, replayed, self._topics, self._intake.partitions)

    def _partitions(self, asked: Asked) -> Iterator[int]:
        return iter(range(self._intake.partitions) if asked.at is None else (asked.at[0],))

    async def _replayed(self, partition: int, end: int) -> set[int]:
        """Offsets of letters that were replayed; a marker stands behind its letter, so all are read first."""
        async with contextlib.aclosing(self._records(partition, -1, end)) as records:
            return {offset async for record in records if (offset := read_marker(record)) is not None}

    async def _asked(self, asked: Asked, partition: int, end: int) -> AsyncGenerator[Letter]:
        async with contextlib.aclosing(self._records(partition, -1, end)) as records:
            async for record in records:
                if (letter := read_letter(record)) is not None and asked.admits(letter):
                    yield letter

    async def _records(self, partition: int, start: int, end: int) -> AsyncGenerator[Record]:
        async with contextlib.aclosing(self._log.read(self._topics.dead_letters, partition, start, end)) as reading:
            async for records in reading:
                for record in records:
                    yield record
