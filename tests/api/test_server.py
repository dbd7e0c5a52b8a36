"""The server's own life: where it listens, how it stops with clients connected, and what it leaves alone."""

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest

from service.api.feed import Limits
from service.api.server import HttpServer
from service.clock import SystemClock
from service.ports import Busy
from tests.api.conftest import Served, make_place
from tests.api.listening import listening
from tests.doubles.desk import row


async def test_streams_end_from_outside_and_requests_are_still_answered(served: Served) -> None:
    async with (
        httpx.AsyncClient(base_url=served.address) as http,
        listening(served.address) as one,
        listening(served.address) as two,
    ):
        await one.take(1)
        await two.take(1)
        served.server.end_streams()
        assert (await one.until_end(), await two.until_end()) == ([], [])
        assert (await http.get("/livez")).status_code == 200
        async with listening(served.address) as late:
            assert late.response.json()["detail"] == "The service is stopping; ask again in 2 seconds."


@pytest.mark.parametrize("are_ended_first", [True, False])
async def test_stops_within_a_second_with_clients_connected(served: Served, are_ended_first: bool) -> None:  # noqa: FBT001 - a parameter of the test
    clock = SystemClock()
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(5):
            client = await stack.enter_async_context(listening(served.address))
            await client.take(1)
        await stack.enter_async_context(_idle(served))
        began_s = clock.elapsed_s()
        if are_ended_first:
            served.server.end_streams()
        assert await asyncio.to_thread(served.server.stop, 5)
        assert timedelta(seconds=clock.elapsed_s() - began_s) < timedelta(seconds=1)


async def test_a_client_that_does_not_read_is_dropped_at_the_deadline(served: Served) -> None:
    desk = served.place.desk
    desk.rows = {f"e{n:04}": row(n, why='{"en": "' + "x" * 20_000 + '"}') for n in range(1000)}
    host, port = served.address.removeprefix("http://").split(":")
    deaf = socket.create_connection((host, int(port)))
    with contextlib.closing(deaf):
        deaf.sendall(b"GET /v1/warnings/stream HTTP/1.1\r\nHost: desk\r\n\r\n")
        assert deaf.recv(1)
        clock = SystemClock()
        began_s = clock.elapsed_s()
        assert await asyncio.to_thread(served.server.stop, 0.5)
        assert clock.elapsed_s() - began_s < 3


async def test_an_answer_in_two_pieces_does_not_wait_between_them(served: Served) -> None:
    async with httpx.AsyncClient(base_url=served.address) as http:
        await http.get("/livez")
        (connection,) = served.server._server.server_state.connections
        accepted = connection.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_a_request_in_flight_is_finished(served: Served) -> None:
    entered, leave = threading.Event(), threading.Event()

    def slow(subscriber_id: str, *, at_once: bool = False) -> None:
        del subscriber_id
        if at_once:
            raise Busy
        entered.set()
        leave.wait(10)

    served.place.desk.subscriber = slow  # type: ignore[method-assign]  # a desk that takes its time
    async with httpx.AsyncClient(base_url=served.address, timeout=10) as http:
        asking = asyncio.create_task(http.get("/v1/subscribers/s-1"))
        await asyncio.to_thread(entered.wait, 10)
        stopping = asyncio.create_task(asyncio.to_thread(served.server.stop, 10))
        leave.set()
        assert (await asking).status_code == 404
        assert await stopping


def test_signals_are_left_to_the_process() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    server = HttpServer(make_place(Limits()).app)
    server.start("127.0.0.1", 0)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert server.stop(2)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_port_that_is_taken_is_said_at_the_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = HttpServer(make_place(Limits()).app)
        with pytest.raises(OSError, match="in use"):
            server.start("127.0.0.1", taken.getsockname()[1])
        assert server.stop(1), "to stop what never started is no fault"


def test_stopping_twice_is_no_fault() -> None:
    server = HttpServer(make_place(Limits()).app)
    server.start("127.0.0.1", 0)
    assert server.stop(2)
    server.end_streams()
    assert server.stop(2)


@contextlib.asynccontextmanager
async def _idle(served: Served) -> AsyncIterator[None]:
    async with httpx.AsyncClient(base_url=served.address) as http:
        await http.get("/livez")  # leaves its connection open
        yield
