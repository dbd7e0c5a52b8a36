"""Several workers on one machine: processes of one group, which share a port and are started again when they end."""

import asyncio
import contextlib
import logging
import secrets
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from service.clock import Clock
from service.settings import HttpSettings, Settings, SettingsError
from service.shard.world import growing
from service.worker.memory import read_limit

_LOG = logging.getLogger(__name__)
_CANNOT = 2  # a worker's exit status where its settings, rules or topics are not as they must be
_NOT_STARTED = 1
_FIRST_S, _MOST_S = 0.5, 15.0  # before a worker is started again
_LIVED_S = 60.0
_END_WITHIN_S = 15.0
_LAST_PORT = 65_535


@contextlib.contextmanager
def shared_port(http: HttpSettings) -> Iterator[int]:
    """The port that workers listen on together, held so that nobody else takes it between two of them.

    Raises: SettingsError where it is somebody else's.
    """
    family = socket.AF_INET6 if ":" in http.host else socket.AF_INET
    with socket.socket(family) as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            held.bind((http.host, http.port))  # without listening: no connection ever comes here
        except OSError as error:
            raise SettingsError(
                f"{http.host}:{http.port} cannot be listened on ({error.strerror or error}): "
                "correct CHURN_HTTP__HOST or CHURN_HTTP__PORT"
            ) from error
        yield int(held.getsockname()[1])


def settings_of_workers(settings: Settings, workers: int, port: int) -> list[dict[str, str]]:
    """What each worker is told beside the settings of all, as variables: its port, its memory, the shared secret.

    Raises: SettingsError.
    """
    if workers > settings.topics.partitions:
        raise SettingsError(
            f"{workers} workers are too many for {settings.topics.partitions} partitions: each needs one at least; "
            "ask for fewer, or correct CHURN_TOPICS__PARTITIONS"
        )
    if settings.http.port + workers > _LAST_PORT:
        raise SettingsError(f"CHURN_HTTP__PORT is {port}, but {workers} workers need as many ports after it: lower it")
    given, own = settings.http.peer_token, settings.http.port
    common = {
        "CHURN_HTTP__PORT": str(port),
        "CHURN_HTTP__PEER_TOKEN": given.get_secret_value() if given else secrets.token_hex(32),
        "CHURN_MEMORY__LIMIT_MB": str(max(1, (read_limit(settings.memory.limit_mb << 20 or None) >> 20) // workers)),
    }
    return [
        {**common, **_advertised(settings.http, port + number), "CHURN_HTTP__WORKER_PORT": str(own and port + number)}
        for number in range(1, workers + 1)
    ]


def _advertised(http: HttpSettings, port: int) -> dict[str, str]:
    """Where others reach the worker of a port, where the settings name the machine. Raises: SettingsError."""
    if not http.advertised:
        return {}
    if not http.port:
        raise SettingsError("CHURN_HTTP__ADVERTISED needs a port that is known before: set CHURN_HTTP__PORT as well")
    given = urlsplit(http.advertised)
    host = given.hostname or ""
    return {"CHURN_HTTP__ADVERTISED": f"{given.scheme}://{f'[{host}]' if ':' in host else host}:{port}"}


class Supervisor:
    """Keeps one process for each of `environs` running `command`, whose end of standard input tells it to stop."""

    def __init__(self, command: Sequence[str], environs: Sequence[Mapping[str, str]], clock: Clock) -> None:
        self._clock = clock
        self._command = command
        self._environs = environs
        self._told = asyncio.Event()
        self._status = 0

    async def run(self, told: asyncio.Event) -> int:
        """Live until told to end, or until a worker cannot start; returns the exit status."""
        stopping = asyncio.create_task(told.wait())
        stopping.add_done_callback(lambda _: self._told.set())
        async with asyncio.TaskGroup() as group:
            for number, environ in enumerate(self._environs, start=1):
                group.create_task(self._keep(number, environ))
        stopping.cancel()
        return self._status

    async def _keep(self, number: int, environ: Mapping[str, str]) -> None:
        attempt, is_first = 0, True
        while not self._told.is_set():
            began_s = self._clock.elapsed_s()
            status = await self._live(environ)
            if self._told.is_set():
                # One that was still starting ends by the signal itself.
                self._status = self._status or int(status not in {0, -signal.SIGTERM})
                break
            if status == _CANNOT and is_first:  # later it is the world that has changed: a broker is away, say
                _LOG.error("worker %d cannot start: all end", number)
                self._status = _CANNOT
                self._told.set()
                break
            is_first = False
            attempt = 0 if self._clock.elapsed_s() - began_s > _LIVED_S else attempt
            wait_s = growing(_FIRST_S, attempt, _MOST_S)
            _LOG.warning("worker %d has ended with status %d, and is started again in %.1f s", number, status, wait_s)
            attempt += 1
            await self._pause(wait_s)

    async def _live(self, environ: Mapping[str, str]) -> int:
        """A worker's exit status, from its start to its end."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command, env=dict(environ), stdin=asyncio.subprocess.PIPE
            )
        except OSError as error:  # the machine has no room for it just now
            _LOG.error("a worker cannot be started: %s", error)
            return _NOT_STARTED
        return await self._watch(process)

    async def _watch(self, process: asyncio.subprocess.Process) -> int:
        """A worker's exit status; it is ended in order once all are told to, and killed where that takes too long."""
        ended = asyncio.create_task(process.wait())
        told = asyncio.create_task(self._told.wait())
        await asyncio.wait((ended, told), return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if not ended.done():
            _try(process.terminate)
            if not (await asyncio.wait((ended,), timeout=_END_WITHIN_S))[0]:
                _try(process.kill)
        return await ended

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._told.wait(), seconds)


def _try(signalling: Callable[[], None]) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended by itself
        signalling()
