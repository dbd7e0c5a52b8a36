"""Live warnings as server-sent events: first what is open, then what follows, and on from any `Last-Event-ID`."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, suppress
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from service.api.admission import Admission
from service.api.cursors import decode_positions, encode_positions
from service.api.feed import Feed, FeedEnded, News
from service.api.filters import StreamFilter
from service.api.models import SubscriberWarning
from service.api.problems import problems
from service.api.told import Told
from service.api.views import Presenter
from service.ports import Desk, NotReady, Truncated, WarningPage

_RECONNECT_MS = 1000
_SKIPPED = 1000  # news a client did not want, after which it is told its position all the same
_DESCRIPTION = """
Events: `open`, one per open published warning, newest first; `live`, when these are told, with `complete`,
`missing_partitions` and `as_of`; then `raised`, `escalated`, `acknowledged`, `snoozed`, `woken`, `recovering`,
`reopened` and `resolved` as they happen. The data of all but `live` is the whole warning as it is then: the last one
told of an id counts. One that was resolved may be reopened. An `id` is a position: sent back as `Last-Event-ID` the
stream goes on right after it, and tells no `open` events.
"""


class Stream:
    """`GET /v1/warnings/stream`."""

    def __init__(self, desk: Desk, presenter: Presenter, feed: Feed, admission: Admission) -> None:
        self._desk = desk
        self._presenter = presenter
        self._feed = feed
        self._admission = admission

    def routes(self) -> APIRouter:
        """The endpoint; whoever is not admitted gets a problem before the stream begins."""
        router = APIRouter(tags=["warnings"])
        admitted = Depends(self._admit)

        @router.get(
            "/v1/warnings/stream",
            response_class=EventSourceResponse,
            summary="Live warnings as server-sent events",
            description=_DESCRIPTION,
            responses=problems(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE),
        )
        async def follow_warnings(
            events: Annotated[AsyncIterator[ServerSentEvent], admitted],
        ) -> AsyncGenerator[ServerSentEvent]:
            async for event in events:
                yield event

        return router

    async def _admit(
        self, wanted: Annotated[StreamFilter, Query()], last_event_id: Annotated[str | None, Header()] = None
    ) -> AsyncIterator[AsyncGenerator[ServerSentEvent]]:
        self._presenter.require_rule(wanted.rule)
        async with self._admission.place(), aclosing(self._events(wanted, last_event_id)) as events:
            yield events

    async def _events(self, wanted: StreamFilter, last_event_id: str | None) -> AsyncGenerator[ServerSentEvent]:
        yield ServerSentEvent(retry=_RECONNECT_MS)
        positions = self._positions(last_event_id)
        with suppress(FeedEnded):
            if positions is not None:
                with suppress(Truncated):  # what the client missed is deleted: it starts afresh
                    async with aclosing(self._resumed(wanted, positions)) as events:
                        async for event in events:
                            yield event
                    return
            async with aclosing(self._fresh(wanted)) as events:
                async for event in events:
                    yield event

    def _positions(self, last_event_id: str | None) -> dict[int, int] | None:
        """Where a client left off; None for a position that is not of this topic: it starts afresh."""
        try:
            positions = decode_positions(last_event_id or "")
        except ValueError:
            return None
        return positions if self._feed.knows(positions) else None

    async def _fresh(self, wanted: StreamFilter) -> AsyncGenerator[ServerSentEvent]:
        listener = self._feed.join()
        try:
            page, shown = await run_in_threadpool(self._open, wanted)
            told = Told(shown, listener.kept)
            for warning in shown:
                yield ServerSentEvent(event="open", raw_data=warning.model_dump_json())
            yield ServerSentEvent(event="live", raw_data=_live(page), id=encode_positions(listener.floor))
            for news in await run_in_threadpool(self._unshown, listener.recent, told):
                if wanted.passes(news.warning):
                    yield ServerSentEvent(event=news.transition, raw_data=news.json)
            async with aclosing(_tell(listener.news(), dict(listener.floor), wanted, told)) as events:
                async for event in events:
                    yield event
        finally:
            self._feed.leave(listener)

    async def _resumed(self, wanted: StreamFilter, positions: dict[int, int]) -> AsyncGenerator[ServerSentEvent]:
        listener = self._feed.rejoin(positions)
        news = self._feed.missed(positions) if listener is None else listener.news()
        try:
            async with aclosing(_tell(news, positions, wanted, Told((), ()))) as events:
                async for event in events:
                    yield event
        finally:
            if listener is not None:
                self._feed.leave(listener)

    def _open(self, wanted: StreamFilter) -> tuple[WarningPage, list[SubscriberWarning]]:
        page = self._desk.warnings(wanted.query(max(wanted.open, 1)))
        rows = page.warnings.head(wanted.open).iter_rows(named=True)
        return page, [self._presenter.warning(row) for row in rows]

    def _unshown(self, recent: Sequence[News], told: Told) -> list[News]:
        """Of what was committed just before the listener joined, what the desk did not show when it was asked."""
        unshown = []
        for news in recent:
            if told.lacks(news) and (told.knows(news) or not self._is_shown(news)):
                told.pass_by(news)
                unshown.append(news)
        return unshown

    def _is_shown(self, news: News) -> bool:
        """Whether the desk has what a warning that it did not list has come to, or what came after."""
        if news.warning.state == "resolved":
            return True
        try:
            row = self._desk.warning(news.warning.id)
        except NotReady:
            return False
        if row is None:
            return False
        is_listed = row["state"] != "resolved" and row["suppressed_by"] is None
        return is_listed or self._presenter.warning(row).changed_at >= news.warning.changed_at


async def _tell(
    news: AsyncGenerator[News],
    positions: dict[int, int],
    wanted: StreamFilter,
    told: Told,
) -> AsyncGenerator[ServerSentEvent]:
    """News as events, each with the position after it; nothing that the open list told already."""
    skipped = 0
    async with aclosing(news):
        async for item in news:
            positions[item.partition] = item.offset + 1
            lacks = told.lacks(item)
            if lacks:
                told.pass_by(item)
            if lacks and wanted.passes(item.warning):
                yield ServerSentEvent(event=item.transition, raw_data=item.json, id=encode_positions(positions))
                skipped = 0
                continue
            skipped += 1
            if skipped % _SKIPPED == 0:
                yield ServerSentEvent(id=encode_positions(positions))


def _live(page: WarningPage) -> str:
    said = {
        "complete": not page.missing,
        "missing_partitions": sorted(page.missing),
        "as_of": {str(partition): cursor for partition, cursor in sorted(page.as_of.items())},
    }
    return json.dumps(said)
