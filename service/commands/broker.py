"""How commands ask a broker: the topics they need are as they must be, and what goes wrong is a sentence."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from service.app import UnfitError, specs_of
from service.commands.console import fail
from service.kafka.connection import BrokerMissing
from service.kafka.topics import check_topics
from service.ports import Lost, Refused, Truncated
from service.settings import Settings

_LOG = logging.getLogger(__name__)
_Opened = TypeVar("_Opened")
_T = TypeVar("_T")


def ask(
    opened: AbstractAsyncContextManager[_Opened],
    task: Callable[[_Opened], Coroutine[Any, Any, _T]],
    *faults: type[Exception],
) -> _T:
    """What a task gives with its client open; the end with a sentence where the broker, or one of `faults`, says no."""

    async def run() -> _T:
        # A client that was fenced leaves errors behind that nobody asks for: what they mean is said in a sentence.
        asyncio.get_running_loop().set_exception_handler(lambda _, context: _LOG.debug("%s", context))
        async with opened as it:
            return await task(it)

    expected: tuple[type[Exception], ...] = (BrokerMissing, UnfitError, Lost, Refused, Truncated, *faults)
    try:
        return asyncio.run(run())
    except expected as error:
        fail(str(error))


async def require_topics(settings: Settings, *needed: str) -> None:
    """Raises: UnfitError with what is wrong with any of them, BrokerMissing."""
    if problems := await check_topics(settings.kafka, [spec for spec in specs_of(settings) if spec.name in needed]):
        raise UnfitError("\n".join(problems))
