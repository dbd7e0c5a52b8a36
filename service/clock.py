"""The only reader of the time; everything else is told what time it is."""

import time
from typing import Protocol


class Clock(Protocol):
    """What time it is; tests move one by hand."""

    def now_us(self) -> int:
        """Microseconds since 1970, UTC."""

    def elapsed_s(self) -> float:
        """Seconds since some moment, never going back: for durations and deadlines."""


class SystemClock:
    """The machine's clock."""

    def now_us(self) -> int:
        """Microseconds since 1970, UTC."""
        return time.time_ns() // 1_000

    def elapsed_s(self) -> float:
        """Seconds since some moment, never going back: for durations and deadlines."""
        return time.monotonic()
