"""Where the time goes: functions of the service, watched from outside while they run."""

import asyncio
import functools
import time
from collections import defaultdict
from typing import Any


class Stopwatch:
    """Seconds by part. Parts of several shards run side by side, so together they may exceed the time on the wall."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def watch(self, part: str, owner: Any, name: str) -> None:
        """Add up the time in `owner.name`, for the rest of this process."""
        watched = getattr(owner, name)

        @functools.wraps(watched)
        def timed(*args: Any, **kwargs: Any) -> Any:
            began_s = time.perf_counter()
            try:
                return watched(*args, **kwargs)
            finally:
                self.seconds[part] += time.perf_counter() - began_s

        @functools.wraps(watched)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            began_s = time.perf_counter()
            try:
                return await watched(*args, **kwargs)
            finally:
                self.seconds[part] += time.perf_counter() - began_s

        setattr(owner, name, awaited if asyncio.iscoroutinefunction(watched) else timed)

    def rounded(self) -> dict[str, float]:
        """Plain figures."""
        return {part: round(seconds, 2) for part, seconds in self.seconds.items()}
