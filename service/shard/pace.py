"""The processor's time, which all shards of a process share."""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from service.clock import Clock

_MOST_S = 2.0
_WEIGHT = 0.1  # of the newest turn in what one costs

_T = TypeVar("_T")


class Pace:
    """How many shards work at once, and how often each may take a turn of few records, which costs what many would."""

    def __init__(self) -> None:
        # More than there are cores would only take the processor from each other.
        self._working = asyncio.Semaphore(os.cpu_count() or 1)
        self._shards = 0
        self._turn_s = 0.0

    @contextmanager
    def shared(self) -> Iterator[None]:
        """By one shard more, while it runs."""
        self._shards += 1
        try:
            yield
        finally:
            self._shards -= 1

    async def work(self, work: Callable[[], _T], clock: Clock) -> tuple[_T, float]:
        """What a piece of work gives, done in a thread when it is its turn, and the seconds that it took."""
        async with self._working:
            began_s = clock.elapsed_s()
            done = await asyncio.to_thread(work)
            return done, clock.elapsed_s() - began_s

    def note_small(self, seconds: float) -> None:
        """A turn of few records took so long."""
        self._turn_s += _WEIGHT * (seconds - self._turn_s)

    def interval_s(self, least_s: float) -> float:
        """Seconds from the beginning of a shard's small turn to that of its next; none where `least_s` is none.

        One after another the small turns of all shards fill the time: there is a core's work of them at most.
        """
        return max(least_s, min(_MOST_S, self._shards * self._turn_s)) if least_s else 0.0
