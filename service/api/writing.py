"""Writing what people say to the log, and waiting a moment for the shards that it concerns."""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from service.api.problems import RETRY_AFTER_S, ProblemError
from service.ports import Desk

# What writing may take beyond the wait for the shard, before the caller is told that nothing is known.
_WRITING_S = 1.0


class Writing:
    """Writes by a desk; `wait_s` is how long the shards may take."""

    def __init__(self, desk: Desk, wait_s: float) -> None:
        self._desk = desk
        self._wait_s = wait_s

    async def write(self, tell: Callable[[float], Awaitable[bool]]) -> bool:
        """True when all that it concerns have applied it in time. Raises: ProblemError, and what `tell` raises."""
        if not self._desk.readiness()["broker"]:
            raise refusal("The broker cannot be reached, nothing was written")
        try:
            async with asyncio.timeout(self._wait_s + _WRITING_S):
                return await tell(self._wait_s)
        except TimeoutError:
            raise refusal("The broker does not answer; whether it was written is not known") from None


def refusal(detail: str) -> ProblemError:
    """That it cannot be written now."""
    sentence = f"{detail}; say it again in {RETRY_AFTER_S} seconds."
    return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, sentence, retry_after_s=RETRY_AFTER_S)
