"""Counts and times answers by the template of their route, never by their path, which may hold a person's id."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.clock import Clock
from service.metrics import Metrics


class Traffic:
    """Tells the metrics of every answer when it begins."""

    def __init__(self, app: ASGIApp, metrics: Metrics, clock: Clock) -> None:
        self._app = app
        self._metrics = metrics
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the app does."""
        began_s = self._clock.elapsed_s()

        async def note(message: Message) -> None:
            if message["type"] == "http.response.start":
                template = getattr(scope.get("route"), "path_format", None)
                seconds = self._clock.elapsed_s() - began_s
                self._metrics.request_served(template, scope["method"], message["status"], seconds)
            await send(message)

        await self._app(scope, receive, note if scope["type"] == "http" else send)
