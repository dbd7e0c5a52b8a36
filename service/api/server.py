"""Owns uvicorn: on a loop and a thread of its own, without signal handlers, to be stopped from outside in order."""

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

from service.api.app import feed_of
from service.api.problems import describe_fault

_logger = logging.getLogger(__name__)
_FORCED_S = 1.0  # for a thread that was told to drop all it does


class _Quiet(uvicorn.Server):
    """A server that leaves signals to the process and says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        for connection in tuple(self.server_state.connections):  # of clients that do not read what they asked for
            connection.transport.abort()
        await asyncio.sleep(0)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpServer:
    """Serves one application. Stop the pipeline first, then `end_streams`, then `stop`."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        config = uvicorn.Config(
            app,
            lifespan="on",
            log_config=None,  # logging belongs to the process, which hashes the ids in paths
            server_header=False,
            ws="none",
        )
        self._server = _Quiet(config)
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sockets: list[socket.socket] = []
        self._fault: BaseException | None = None

    def start(self, host: str, *ports: int) -> list[tuple[str, int]]:
        """Bind (port 0: any free one), serve, and return the addresses bound. Raises: OSError, RuntimeError.

        Where there are several ports, other processes may share the first.
        """
        for port in ports:
            self._sockets.append(_bound(host, port, shared=len(ports) > 1 and not self._sockets))
        self._thread.start()
        while not self._server.listens.wait(0.05):
            if not self._thread.is_alive():
                raise RuntimeError("the HTTP side did not start") from self._fault
        return [bound.getsockname()[:2] for bound in self._sockets]

    def end_streams(self) -> None:
        """Let every client of a live stream go; no new one is admitted. Returns at once, from any thread."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and its streams with it
                self._loop.call_soon_threadsafe(feed_of(self._app).end)

    def stop(self, deadline_s: float) -> bool:
        """Finish requests in flight, drop what is left at the deadline; True when the thread has ended."""
        self.end_streams()
        self._server.config.timeout_graceful_shutdown = deadline_s  # type: ignore[assignment]  # it only goes to wait_for
        self._server.should_exit = True
        if self._loop is not None:
            self._thread.join(deadline_s + _FORCED_S)
            self._server.force_exit = True
            self._thread.join(_FORCED_S)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            with asyncio.Runner() as runner:
                self._loop = runner.get_loop()
                runner.run(self._server.serve(sockets=self._sockets))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - told to whoever waits; uvicorn fails by SystemExit
            self._fault = error
            _logger.error("the HTTP side ended: %s", describe_fault(error))  # noqa: TRY400 - a traceback may name a person


def _bound(host: str, port: int, *, shared: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.create_server((host, port), family=family, backlog=2048, reuse_port=shared)
    # Named a TCP socket, asyncio sends each piece of an answer at once; else the second waits 40 ms for an ACK.
    return socket.socket(family, bound.type, socket.IPPROTO_TCP, bound.detach())
