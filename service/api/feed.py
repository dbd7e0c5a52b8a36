"""One reader of the tail of churn.warnings for all live clients; a slow client loses its place, never holds it up."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field

from service.api.models import SubscriberWarning
from service.api.problems import describe_fault
from service.clock import Clock
from service.ports import Alert, AlertTail, Truncated

_logger = logging.getLogger(__name__)
_TURNS = 100  # alerts taken before others get their turn on the loop


class FeedEnded(Exception):  # noqa: N818 - an honest answer, not a fault
    """There is no feed, or no longer."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the feed may hold, and its patience. `rewound` alerts per partition are read again at the start."""

    kept: int = 5_000
    queued: int = 5_000
    rewound: int = 1_000
    recent_s: float = 10.0
    retry_s: float = 1.0


@dataclass(frozen=True, slots=True)
class News:
    """An alert ready to be told to clients."""

    partition: int
    offset: int
    transition: str  # as core.turn.TRANSITIONS has it
    warning: SubscriberWarning
    json: str
    taken_s: float = 0.0  # when the feed took it


@dataclass(slots=True, eq=False)
class Listener:
    """A bounded queue of news for one client. `floor`: the next offset of each partition that it wants."""

    floor: Mapping[int, int]
    recent: tuple[News, ...] = ()  # of just before the floor: may or may not be shown by the desk yet
    kept: tuple[News, ...] = ()  # all that the feed still has of before the floor
    limit: int = 5_000
    is_ended: bool = False
    _queue: deque[News] = field(default_factory=deque)
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    def offer(self, news: News) -> None:
        """Add to the queue; a full one is dropped as a whole and ends."""
        if self.is_ended or news.offset < self.floor.get(news.partition, 0):
            return
        if len(self._queue) >= self.limit:
            self.end()
        else:
            self._queue.append(news)
            self._woken.set()

    def end(self) -> None:
        """Let the client go, at once."""
        self.is_ended = True
        self._queue.clear()
        self._woken.set()

    async def news(self) -> AsyncGenerator[News]:
        """What is offered, until the end."""
        while not self.is_ended:
            while self._queue and not self.is_ended:
                yield self._queue.popleft()
            self._woken.clear()
            if not self._queue and not self.is_ended:
                await self._woken.wait()


class Feed:
    """Follows the tail while `run` runs; `join` and `rejoin` give a client its listener. Lives on one loop."""

    def __init__(
        self, tail: AlertTail, present: Callable[[Alert], SubscriberWarning], clock: Clock, limits: Limits
    ) -> None:
        self._tail = tail
        self._present = present
        self._clock = clock
        self._limits = limits
        self._kept: deque[News] = deque()
        self._live: Mapping[int, int] = {}  # where the tail ended when the feed began
        self._base: dict[int, int] = {}  # everything from here on is kept
        self._next: dict[int, int] = {}
        self._listeners: set[Listener] = set()
        self._begun = asyncio.Event()
        self._ended = asyncio.Event()

    @property
    def is_ended(self) -> bool:
        """True once nobody may join any more."""
        return self._ended.is_set()

    async def run(self) -> None:
        """Follow for ever; a lost broker is waited for."""
        is_interrupted = False
        while not self.is_ended:
            try:
                await self._begin()
                taken = 0
                async for alert in self._tail.follow(dict(self._next)):
                    is_interrupted = False
                    self._take(alert)
                    taken += 1
                    if taken % _TURNS == 0:
                        await asyncio.sleep(0)
            except Truncated as error:
                self._skip(error)
            except Exception as error:  # noqa: BLE001 - whatever the tail's world does, live clients wait for it
                if not is_interrupted:
                    _logger.warning("live alerts are interrupted, trying again: %s", describe_fault(error))
                is_interrupted = True
            await asyncio.sleep(self._limits.retry_s)

    async def begun(self, wait_s: float) -> bool:
        """True as soon as the feed knows where the tail is, False after `wait_s` without."""
        try:
            await asyncio.wait_for(self._begun.wait(), wait_s)
        except TimeoutError:
            return False
        return True

    def join(self) -> Listener:
        """A listener from now on. Raises: FeedEnded."""
        now = self._clock.elapsed_s()
        floor = self._ends()
        recent = tuple(
            news
            for news in self._kept
            if now - news.taken_s <= self._limits.recent_s and news.offset >= self._live[news.partition]
        )
        return self._add(Listener(floor, recent, tuple(self._kept), self._limits.queued))

    def rejoin(self, positions: Mapping[int, int]) -> Listener | None:
        """A listener that first gets what it missed, or None where that is no longer kept. Raises: FeedEnded."""
        if any(positions.get(partition, 0) < base for partition, base in self._base.items()):
            return None
        listener = Listener(dict(positions), limit=max(self._limits.queued, len(self._kept) + self._limits.queued))
        for news in self._kept:
            listener.offer(news)
        return self._add(listener)

    def knows(self, positions: Mapping[int, int]) -> bool:
        """False for positions beyond the end or of other partitions: they are of another topic's life."""
        ends = self._ends()
        return all(partition in ends and offset <= ends[partition] for partition, offset in positions.items())

    def leave(self, listener: Listener) -> None:
        """Forget a listener."""
        self._listeners.discard(listener)

    async def missed(self, positions: Mapping[int, int]) -> AsyncGenerator[News]:
        """News by a reader of its own, for a client that was away for longer than is kept; until the feed ends.

        Raises: Truncated where the log itself no longer holds it.
        """
        alerts = self._tail.follow({partition: positions.get(partition, 0) for partition in self._base})
        ended = asyncio.ensure_future(self._ended.wait())
        coming = asyncio.ensure_future(anext(alerts, None))
        try:
            while True:
                await asyncio.wait({coming, ended}, return_when=asyncio.FIRST_COMPLETED)
                alert = None if self.is_ended else coming.result()
                if alert is None:
                    return
                coming = asyncio.ensure_future(anext(alerts, None))
                news = self._news(alert)
                if news is not None:
                    yield news
        finally:
            ended.cancel()
            coming.cancel()
            await asyncio.gather(ended, coming, return_exceptions=True)

    def end(self) -> None:
        """Let every client go; nobody may join any more."""
        self._ended.set()
        self._begun.set()
        for listener in tuple(self._listeners):
            listener.end()

    def _add(self, listener: Listener) -> Listener:
        if self.is_ended:
            raise FeedEnded
        self._listeners.add(listener)
        return listener

    def _ends(self) -> dict[int, int]:
        return {partition: max(live, self._next[partition]) for partition, live in self._live.items()}

    async def _begin(self) -> None:
        if self._begun.is_set():
            return
        self._live = dict(await self._tail.positions())
        self._base = {partition: max(0, end - self._limits.rewound) for partition, end in self._live.items()}
        self._next = dict(self._base)
        self._begun.set()

    def _skip(self, error: Truncated) -> None:
        """Go on where the log begins now: what is deleted can no longer be told."""
        for partition, offset in self._next.items():
            if offset == error.asked:
                self._next[partition] = error.beginning
                self._base[partition] = max(self._base[partition], error.beginning)

    def _take(self, alert: Alert) -> None:
        self._next[alert.partition] = alert.offset + 1
        news = self._news(alert)
        if news is None:
            return
        self._kept.append(news)
        if len(self._kept) > self._limits.kept:
            gone = self._kept.popleft()
            self._base[gone.partition] = gone.offset + 1
        for listener in self._listeners:
            listener.offer(news)

    def _news(self, alert: Alert) -> News | None:
        kind = alert.headers.get("ce_type", "")
        try:
            warning = self._present(alert)
        except (KeyError, ValueError, TypeError) as error:
            _logger.warning("a record of churn.warnings cannot be shown: %s", describe_fault(error))
            return None
        return News(
            partition=alert.partition,
            offset=alert.offset,
            transition=kind.rpartition(".")[2] or warning.state,
            warning=warning,
            json=warning.model_dump_json(),
            taken_s=self._clock.elapsed_s(),
        )
