"""The wire that can be cut: what is held comes later, what is broken is broken at both ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from deploy.broker import free_port
from tests.chaos.proxy import Proxy


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """Before somebody who says everything again."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(100):
                writer.write(data)
        except ConnectionError:
            pass
        finally:
            writer.close()
            await closed(writer)

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, Proxy(free_port(), server.sockets[0].getsockname()[1]) as proxy:
        yield proxy


@asynccontextmanager
async def through(proxy: Proxy) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        await closed(writer)


async def closed(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        await writer.wait_closed()


async def heard(reader: asyncio.StreamReader, count: int) -> bytes:
    return await asyncio.wait_for(reader.readexactly(count), 10)


async def test_it_carries_both_ways(proxy: Proxy) -> None:
    async with through(proxy) as (reader, writer):
        writer.write(b"hello")
        assert await heard(reader, 5) == b"hello"
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 10) == b""


async def test_what_is_held_comes_when_it_is_mended(proxy: Proxy) -> None:
    async with through(proxy) as (reader, writer):
        writer.write(b"before")
        assert await heard(reader, 6) == b"before"
        proxy.hold()
        writer.write(b"after")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.2)
        proxy.mend()
        assert await heard(reader, 5) == b"after"


async def test_a_broken_wire_takes_nobody_until_it_is_mended(proxy: Proxy) -> None:
    async with through(proxy) as (reader, writer):
        writer.write(b"before")
        assert await heard(reader, 6) == b"before"
        proxy.refuse()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await heard(reader, 1)
    async with through(proxy) as (reader, _):
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await heard(reader, 1)
    proxy.mend()
    async with through(proxy) as (reader, writer):
        writer.write(b"again")
        assert await heard(reader, 5) == b"again"
