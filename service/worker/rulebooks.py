"""The rulebooks that a process knows: that of its folder, and those that are published while it runs."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from service.core.books import Books
from service.core.calendar import to_date
from service.core.rules import Book, Rule, Rulebook
from service.ports import InForce, Log, Lost, Record, RefusedRulebook, Truncated
from service.rulebook.problems import Problem, RulebookError
from service.wire.rulebooks import Version, VersionError, publications_of, read_version

_LOG = logging.getLogger(__name__)
_LOOK_S = 1.0

Build = Callable[[Mapping[str, object]], Rulebook]  # from what the files say; raises RulebookError


class Watcher(Protocol):
    """Who counts rulebooks. Called on the worker's loop; must return at once."""

    def rulebooks_judge(self, hashes: Collection[str], rules: Iterable[Rule]) -> None:
        """Which rulebooks judge the open days of the shards here; `rules` of these and of those that come next."""

    def rulebooks_refused(self, count: int) -> None:
        """So many published rulebooks, which are to judge or will be, cannot be used here."""


@dataclass(frozen=True, slots=True)
class _Known:
    """All that is known at a time; never changed, so that any thread may read it."""

    books: Books
    refused: Mapping[str, tuple[Problem, ...]]


class Rulebooks:
    """A Book that learns what is published on a topic.

    What cannot be built with `build`, under the settings of this process, is refused: the rulebook before goes on.
    """

    def __init__(self, log: Log, topic: str, fallback: Rulebook, build: Build, watcher: Watcher) -> None:
        self._log = log
        self._topic = topic
        self._build = build
        self._watcher = watcher
        self._position = -1
        self._versions: dict[str, Version] = {}
        self._known = _Known(Books(fallback), {})
        self._told: object = None  # what the watcher was last told of

    # See Book

    def on(self, day: int) -> Rulebook:
        """The rulebook in force on a day (since 1970)."""
        return self._known.books.on(day)

    def named(self, rulebook_hash: str) -> Rulebook | None:
        """A rulebook by its hash, None where it is not known."""
        return self._known.books.named(rulebook_hash)

    def newest_hash(self) -> str:
        """The hash of the one that will judge when all that is published has taken effect: the same for all members."""
        return self._known.books.latest.hash

    def in_force(self, day: int) -> InForce:
        """What judges a day, what comes next, and what cannot be used; from any thread."""
        known = self._known
        now, then = known.books.publication_on(day), known.books.next_after(day)
        return InForce(
            rulebook=known.books.on(day),
            effective_on=None if now is None else to_date(now.effective_on),
            following=None if then is None else (then.hash, to_date(then.effective_on)),
            refused=_refused(known, day),
        )

    # What the worker's loop does

    async def run(self, open_days: Callable[[], Collection[int]]) -> None:
        """Follow the topic for ever; `open_days` are those of the shards here."""
        trouble: str | None = None
        while True:
            try:
                await self.catch_up()
                self._tell(open_days())
                trouble = None
            except Exception as error:  # noqa: BLE001 - whatever it is, what is published later must be seen
                if trouble != str(error):
                    trouble = str(error)
                    log = _LOG.warning if isinstance(error, Lost) else _LOG.exception
                    log("what is published of rulebooks waits: %s", trouble)
            await asyncio.sleep(_LOOK_S)

    async def catch_up(self) -> None:
        """Learn all that is published by now. Raises: Lost."""
        end = (await self._log.ends(self._topic, 0)).last_stable
        if end <= self._position:
            return
        records: list[Record] = []
        try:
            async with contextlib.aclosing(self._log.read(self._topic, 0, self._position, end)) as reading:
                async for some in reading:
                    records += some
        except Truncated:
            self._position = -1
            return
        known = self._known
        refused = dict(known.refused)
        rulebooks = dict(known.books.known)
        for record in records:
            await self._take(record, rulebooks, refused)
        books = Books(known.books.fallback, rulebooks, publications_of(list(self._versions.values())))
        self._known = _Known(books, refused)
        self._position = end

    async def _take(
        self, record: Record, rulebooks: dict[str, Rulebook], refused: dict[str, tuple[Problem, ...]]
    ) -> None:
        name = (record.key or b"").decode(errors="replace")
        try:
            version = read_version(record)
            if version is None:  # taken back
                for known in (self._versions, rulebooks, refused):
                    known.pop(name, None)
                return
            self._versions[name] = version
            if name not in rulebooks:
                rulebooks[name] = await asyncio.to_thread(self._built, version)
        except (VersionError, RulebookError) as error:
            problems = error.problems if isinstance(error, RulebookError) else (Problem(name, 0, str(error)),)
            refused[name] = problems
            _LOG.error("rulebook %s is refused, the one before goes on:\n%s", name, "\n".join(map(str, problems)))
        else:
            refused.pop(name, None)
            for newest in version.publications[-1:]:
                said = (newest.hash, to_date(newest.effective_on), newest.by)
                _LOG.info("rulebook %s judges from %s on, as %s wants it", *said)

    def _built(self, version: Version) -> Rulebook:
        try:
            rulebook = self._build(version.files)
        except RulebookError:
            raise
        except Exception as error:
            # Anybody may have written it: what is not foreseen must not end what judges.
            problem = Problem(version.hash, 0, f"cannot be read here: {type(error).__name__}: {error}")
            raise RulebookError([problem]) from error
        if rulebook.hash != version.hash:
            raise RulebookError([Problem(version.hash, 0, f"its files are those of another rulebook, {rulebook.hash}")])
        return rulebook

    def _tell(self, days: Collection[int]) -> None:
        known = self._known
        refused = {one.hash for day in days for one in _refused(known, day)}
        judging = {rulebook.hash: rulebook for rulebook in map(known.books.on, days)}
        told = (frozenset(judging), frozenset(known.books.known), len(refused))
        if told != self._told:
            coming = {name for day in days for name in known.books.wanted_from(day)} & known.books.known.keys()
            rulebooks = [*judging.values(), *(known.books.known[name] for name in sorted(coming))]
            self._watcher.rulebooks_judge(judging.keys(), [rule for rulebook in rulebooks for rule in rulebook.rules])
            self._watcher.rulebooks_refused(len(refused))
            self._told = told


def in_force(book: Book, day: int) -> InForce:
    """What judges a day, as far as a book can tell."""
    return book.in_force(day) if isinstance(book, Rulebooks) else InForce(book.on(day))


def _refused(known: _Known, day: int) -> tuple[RefusedRulebook, ...]:
    """Those that are to judge a day or a later one; of what cannot even be read nobody knows when it is to."""
    published = {one.hash for one in known.books.publications}
    wanted = known.books.wanted_from(day)
    return tuple(
        RefusedRulebook(name, tuple(map(str, problems)))
        for name, problems in sorted(known.refused.items())
        if name in wanted or name not in published
    )
