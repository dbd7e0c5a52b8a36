"""An application over a desk in memory: asked in process, or served for real on a free port."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import pytest
from fastapi import FastAPI

from service.api.app import Options, build_app
from service.api.feed import Limits
from service.api.server import HttpServer
from service.metrics import Metrics
from service.ports import InForce
from tests.doubles.clock import ManualClock
from tests.doubles.desk import InMemoryDesk
from tests.doubles.records import rulebook


@dataclass
class Place:
    desk: InMemoryDesk
    clock: ManualClock
    app: FastAPI


def make_place(limits: Limits, stream_wait_s: float = 2, desk: InMemoryDesk | None = None) -> Place:
    desk, clock = desk or InMemoryDesk(), ManualClock()
    desk.judging = InForce(rulebook())
    options = Options(most_streams=20, stream_wait_s=stream_wait_s, acknowledge_wait_s=0.01, limits=limits, clock=clock)
    app = build_app(desk, desk.tail, Metrics("test", "log"), options)
    return Place(desk, clock, app)


@pytest.fixture
def limits() -> Limits:
    """What the feed may hold; a test module may narrow it."""
    return Limits(retry_s=0.01)


@pytest.fixture
def place(limits: Limits) -> Place:
    return make_place(limits)


@pytest.fixture
async def client(place: Place) -> AsyncIterator[httpx.AsyncClient]:
    """Asks in process, without a lifespan: nothing is streamed here."""
    transport = httpx.ASGITransport(place.app, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://desk") as client:
        yield client


@dataclass
class Served:
    place: Place
    server: HttpServer
    address: str


@contextmanager
def serving(place: Place) -> Iterator[Served]:
    """A real uvicorn on a free port."""
    server = HttpServer(place.app)
    ((host, port),) = server.start("127.0.0.1", 0)
    try:
        yield Served(place, server, f"http://{host}:{port}")
    finally:
        server.stop(deadline_s=2)


@pytest.fixture
def served(place: Place) -> Iterator[Served]:
    with serving(place) as running:
        yield running
