"""A clock that stands still until a test moves it."""

from datetime import timedelta


class ManualClock:
    def __init__(self, now_us: int = 0) -> None:
        self._now_us = now_us

    def now_us(self) -> int:
        return self._now_us

    def elapsed_s(self) -> float:
        return self._now_us / 1_000_000

    def advance(self, by: timedelta) -> None:
        self._now_us += by // timedelta(microseconds=1)
