"""Who may hold a live stream: so many at once, only while there is a feed; counted in and out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from service.api.feed import Feed
from service.api.problems import RETRY_AFTER_S, ProblemError
from service.metrics import Metrics


class Admission:
    """The door of the live streams."""

    def __init__(self, feed: Feed, metrics: Metrics, most: int, wait_s: float) -> None:
        self._feed = feed
        self._metrics = metrics
        self._most = most
        self._wait_s = wait_s
        self._count = 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place for as long as the context lasts. Raises: ProblemError where there is none."""
        if self._count >= self._most:
            raise _refusal("Too many live streams are open")
        self._count += 1
        self._metrics.stream_opened()
        try:
            if not await self._feed.begun(self._wait_s):
                raise _refusal("Live warnings cannot be read yet")
            if self._feed.is_ended:
                raise _refusal("The service is stopping")
            yield
        finally:
            self._count -= 1
            self._metrics.stream_closed()


def _refusal(detail: str) -> ProblemError:
    sentence = f"{detail}; ask again in {RETRY_AFTER_S} seconds."
    return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, sentence, retry_after_s=RETRY_AFTER_S)
