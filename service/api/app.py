"""The HTTP application, put together from what it may ask; it starts and reads nothing by itself."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version

from fastapi import FastAPI

from service.api.admission import Admission
from service.api.feed import Feed, Limits
from service.api.headers import SafeHeaders
from service.api.health import Health
from service.api.mutes import Mutes
from service.api.page import page_routes
from service.api.peers import PeerQuestions
from service.api.problems import Guard, install_problems
from service.api.rules import Rules
from service.api.segments import Segments
from service.api.stream import Stream
from service.api.subscribers import Subscribers
from service.api.traffic import Traffic
from service.api.views import Presenter
from service.api.warnings import Warnings
from service.api.writing import Writing
from service.clock import Clock, SystemClock
from service.metrics import Metrics
from service.ports import AlertTail, Desk

_DESCRIPTION = """
Looks subscribers up for the front office, lists and streams warnings of those about to leave, and takes what people
do with them: take over, put off, settle, mute. Every answer names the moment it speaks of; what could not be asked is
named, never left out in silence. Errors are problem details (RFC 9457). Money is in minor units, instants are RFC 3339
in UTC.
"""


@dataclass(frozen=True, slots=True)
class Options:
    """What may differ from one process to another."""

    most_streams: int = 200
    stream_wait_s: float = 2.0  # for the broker, before a stream is refused
    acknowledge_wait_s: float = 2.0  # for the shards, before what was written is answered by 202
    currency: str = "CNY"  # ISO 4217
    minor_digits: int = 2
    zone: str = "UTC"  # in which the page shows instants
    limits: Limits = field(default_factory=Limits)
    clock: Clock = field(default_factory=SystemClock)
    peers: PeerQuestions | None = None  # what other replicas may ask


def build_app(desk: Desk, tail: AlertTail, metrics: Metrics, options: Options | None = None) -> FastAPI:
    """The application. Its feed of live warnings runs from the lifespan's start to its end; see `feed_of`."""
    options = options or Options()
    presenter = Presenter(lambda: desk.in_force().rulebook)
    feed = Feed(tail, presenter.alert, options.clock, options.limits)
    admission = Admission(feed, metrics, options.most_streams, options.stream_wait_s)
    writing = Writing(desk, options.acknowledge_wait_s)
    app = FastAPI(
        title="churn-warning",
        description=_DESCRIPTION,
        version=version("churn-warning"),
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan(feed),
    )
    app.state.feed = feed
    for routes in (
        Subscribers(desk, presenter).routes(),
        Stream(desk, presenter, feed, admission).routes(),
        Warnings(desk, presenter, writing).routes(),
        Mutes(desk, presenter, writing).routes(),
        Rules(desk).routes(),
        Segments(desk, options.minor_digits).routes(),
        Health(desk, metrics).routes(),
        page_routes({"currency": options.currency, "minor_digits": str(options.minor_digits), "zone": options.zone}),
    ):
        app.include_router(routes)
    if options.peers is not None:
        app.include_router(options.peers.routes())
    install_problems(app)
    app.add_middleware(Guard)
    app.add_middleware(Traffic, metrics=metrics, clock=options.clock)
    app.add_middleware(SafeHeaders)
    return app


def feed_of(app: FastAPI) -> Feed:
    """The feed of live warnings of an application made by `build_app`."""
    feed: Feed = app.state.feed
    return feed


def _lifespan(feed: Feed) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def run(_app: FastAPI) -> AsyncIterator[None]:
        following = asyncio.create_task(feed.run())
        try:
            yield
        finally:
            feed.end()
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following

    return run
