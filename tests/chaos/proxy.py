"""A wire between a worker and the broker that can be cut: what it carries then waits, or its connections break."""

import asyncio
import contextlib
from types import TracebackType
from typing import Self

_CHUNK = 256 << 10


class Proxy:
    """Listens on one loopback port and passes everything on to another, both ways."""

    def __init__(self, port: int, to: int) -> None:
        self.port = port
        self._to = to
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._refuses = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._carrying: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", self.port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.mend()
        self._abort()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    def hold(self) -> None:
        """Let nothing through, and say nothing: as a cable that was pulled."""
        self._flowing.clear()

    def refuse(self) -> None:
        """Break every connection and take no new one: as a machine in between that restarts."""
        self._refuses = True
        self._abort()

    def mend(self) -> None:
        """Carry again, also what was held."""
        self._refuses = False
        self._flowing.set()

    def _abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._carry(reader, writer))
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mine = {writer}
        self._writers |= mine
        try:
            if not self._refuses:
                answers, broker = await asyncio.open_connection("127.0.0.1", self._to)
                mine.add(broker)
                self._writers |= mine
                await asyncio.gather(self._pump(reader, broker), self._pump(answers, writer))
        except OSError:
            pass  # either side has gone
        finally:
            self._writers -= mine
            for one in mine:
                one.transport.abort()
                with contextlib.suppress(OSError):
                    await one.wait_closed()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            await self._flowing.wait()
            writer.write(data)
            await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()
