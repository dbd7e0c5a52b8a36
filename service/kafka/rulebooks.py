"""The topic of rulebooks: read as committed, and written by one publisher at a time.

Whoever publishes has the one transactional id of all who do, so each sees all that was published before.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from dataclasses import dataclass

from service.core.books import Publication
from service.ports import Aborted, Fenced, Log, Lost, Publisher, Records, Unknown
from service.wire.decisions import closed_days
from service.wire.rulebooks import Version, VersionError, publications_of, read_version, version_message
from service.wire.topics import Topics

_LOG = logging.getLogger(__name__)
_ATTEMPTS = 5
_AT_ONCE = 8  # partitions of decisions that are read side by side


class VersionMissing(Exception):  # noqa: N818 - read by people as a sentence
    """No version with this hash was published; `known` are those that were."""

    def __init__(self, rulebook_hash: str, known: Iterable[str]) -> None:
        super().__init__(f"no version {rulebook_hash} was published")
        self.hash = rulebook_hash
        self.known = tuple(known)


class TooEarly(Exception):  # noqa: N818 - read by people as a sentence
    """Some shard has closed the day, or has it open; `earliest` is the first day (since 1970) that none has."""

    def __init__(self, earliest: int) -> None:
        super().__init__(f"the earliest day is {earliest}")
        self.earliest = earliest


class DayMissing(Exception):  # noqa: N818 - read by people as a sentence
    """No shard has closed a day yet, so nobody knows which comes next."""


class Overtaken(Exception):  # noqa: N818 - read by people as a sentence
    """Another one publishes at the same time."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be published: a version by its hash, with its files unless it was published before.

    `effective_on` is the first day that it judges (since 1970; None: the earliest that there may be), `today` the open
    day where no shard has closed one (None: nobody knows).
    """

    hash: str
    files: Mapping[str, object] | None
    effective_on: int | None
    today: int | None
    by: str
    at: str  # RFC 3339


@dataclass(frozen=True, slots=True)
class Published:
    """What was published; `overtaken_by` are partitions whose shards had opened its day before they could know."""

    publication: Publication
    overtaken_by: tuple[int, ...]


class RulebookTopic:
    """Versions of the rulebook; `publisher` gives a new one, not started, under the id of all who publish."""

    def __init__(self, log: Log, topics: Topics, partitions: int, publisher: Callable[[], Publisher]) -> None:
        self._log = log
        self._topics = topics
        self._partitions = partitions
        self._publisher = publisher

    async def versions(self) -> dict[str, Version]:
        """All that was published, by hash; what is no version is passed over. Raises: Lost, Truncated."""
        found: dict[str, Version] = {}
        async with contextlib.aclosing(self._read(self._topics.rulebook, 0)) as reading:
            async for records in reading:
                for record in records:
                    try:
                        version = read_version(record)
                    except VersionError as error:
                        _LOG.warning("%s", error)
                        continue
                    found.pop((record.key or b"").decode(errors="replace"), None)
                    if version is not None:
                        found[version.hash] = version
        return found

    async def closed_days(self) -> dict[int, int]:
        """The last closed day (since 1970) of each shard that has closed one, by partition. Raises: Lost, Truncated."""
        turns = asyncio.Semaphore(_AT_ONCE)

        async def last(partition: int) -> int | None:
            days: list[int] = []
            async with turns, contextlib.aclosing(self._read(self._topics.decisions, partition)) as reading:
                async for records in reading:
                    days += closed_days(records)
            return max(days, default=None)

        found = await asyncio.gather(*map(last, range(self._partitions)))
        return {partition: day for partition, day in enumerate(found) if day is not None}

    async def publish(self, wish: Wish) -> Published:
        """Publish a version. Raises: VersionMissing, TooEarly, DayMissing, Overtaken, Lost, Truncated, Refused."""
        for _ in range(_ATTEMPTS):
            publisher = self._publisher()
            try:
                # Also settles what one that was killed has left open: from here on the topic tells all.
                await publisher.start()
                version = self._extended(await self.versions(), wish, await self.closed_days())
                await publisher.publish([version_message(version, self._topics.rulebook)], {})
            except (Aborted, Unknown) as verdict:
                # The next attempt may publish the same again, which changes nothing.
                _LOG.warning("whether the rulebook was published is not known, it is tried again: %s", verdict)
            except Fenced as fenced:
                raise Overtaken("Another one publishes at the same time: look at `rules versions`") from fenced
            else:
                publication = version.publications[-1]
                closed = await self.closed_days()
                late = (partition for partition, day in closed.items() if day + 1 >= publication.effective_on)
                return Published(publication, tuple(late))
            finally:
                await publisher.stop()
        raise Lost(f"{_ATTEMPTS} times a transaction came to nothing: look at the brokers, then publish again")

    def _extended(self, versions: Mapping[str, Version], wish: Wish, closed: Mapping[int, int]) -> Version:
        """The version with one more publication."""
        earliest = max((day + 2 for day in closed.values()), default=None if wish.today is None else wish.today + 1)
        effective_on = earliest if wish.effective_on is None else wish.effective_on
        if effective_on is None:
            raise DayMissing("no shard has closed a day yet")
        if earliest is not None and effective_on < earliest:
            raise TooEarly(earliest)
        before = versions.get(wish.hash)
        files = before.files if before is not None else wish.files
        if files is None:
            raise VersionMissing(wish.hash, versions)
        every = publications_of(list(versions.values()))
        number = 1 + max((one.number for one in every), default=0)
        publication = Publication(wish.hash, effective_on, number, wish.at, wish.by)
        return Version(wish.hash, files, (*(before.publications if before is not None else ()), publication))

    async def _read(self, topic: str, partition: int) -> AsyncGenerator[Records]:
        # To the last stable offset: what is open there may yet be taken back.
        end = (await self._log.ends(topic, partition)).last_stable
        async with contextlib.aclosing(self._log.read(topic, partition, -1, end)) as reading:
            async for records in reading:
                yield Records.of(records)
