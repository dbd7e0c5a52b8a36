"""Mutes: which warnings are withheld until a day, because somebody wants it so."""

import json
from hashlib import blake2b
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from starlette.concurrency import run_in_threadpool

from service.api.actions import By, Muted, MuteLine, MuteList, Muting
from service.api.problems import ProblemError, problems
from service.api.views import Presenter
from service.api.writing import Writing, refusal
from service.core.calendar import to_date, to_day
from service.core.turn import Mute
from service.ports import Desk, Lost, NotReady

_NOT_APPLIED = {"description": "Written; not all shards have applied it yet", "model": Muted}
_PARTLY = "The broker was lost meanwhile; some shards may have been told and others not"


class Mutes:
    """`GET /v1/mutes`, `POST /v1/mutes` and `DELETE /v1/mutes/{mute_id}`."""

    def __init__(self, desk: Desk, presenter: Presenter, writing: Writing) -> None:
        self._desk = desk
        self._presenter = presenter
        self._writing = writing

    def routes(self) -> APIRouter:
        """The endpoints."""
        router = APIRouter(tags=["mutes"])
        told = problems(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE)
        router.add_api_route("/v1/mutes", self.find, response_model=MuteList, summary="The mutes in force")
        router.add_api_route(
            "/v1/mutes",
            self.mute,
            methods=["POST"],
            response_model=Muted,
            summary="Withhold warnings for a while",
            responses={202: _NOT_APPLIED, **told},
        )
        router.add_api_route(
            "/v1/mutes/{mute_id:any_id}",
            self.end,
            methods=["DELETE"],
            response_model=Muted,
            summary="End a mute before its time",
            responses={202: _NOT_APPLIED, **problems(HTTPStatus.NOT_FOUND), **told},
        )
        return router

    def find(self) -> MuteList:
        """Which there are over all shards, and which shards lack one because they were not told or have not applied it.

        What a mute has withheld is published at the first close after it, if it still is so then.
        """
        page = self._desk.mutes()
        return MuteList(
            mutes=tuple(
                MuteLine(
                    id=mute.id,
                    matchers=dict(mute.matchers),
                    until=to_date(mute.until),
                    by=mute.by,
                    note=mute.why,
                    since=to_date(mute.since),
                    lacking_partitions=page.lacking.get(mute.id, ()),
                )
                for mute in page.mutes
            ),
            complete=not page.missing,
            missing_partitions=page.missing,
        )

    async def mute(self, said: Muting, response: Response) -> Muted:
        """200 once all shards have applied it; 202 while some have not. To say the same twice does no harm.

        A subscriber's warnings are withheld that are raised, or wait to be published, from now to the end of the day.
        """
        self._presenter.require_rule(said.matchers.rule)
        mute = Mute(mute_id(said), said.matchers.named, 0, to_day(said.until), said.by, said.note)
        return await self._write(mute, None, response)

    async def end(
        self,
        mute_id: Annotated[str, Path(examples=["9a0364b9e99bb480"])],
        by: Annotated[By, Query()],
        response: Response,
    ) -> Muted:
        """200 once all shards have applied it; 202 while some have not."""
        page = await run_in_threadpool(self._desk.mutes)
        mute = next((mute for mute in page.mutes if mute.id == mute_id), None)
        if mute is None and page.missing:
            raise NotReady(page.missing)
        if mute is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, "No mute in force has this id; GET /v1/mutes lists them.")
        return await self._write(mute, by, response)

    async def _write(self, mute: Mute, ended_by: str | None, response: Response) -> Muted:
        async def tell(wait_s: float) -> bool:
            if ended_by is None:
                return await self._desk.mute(mute, wait_s)
            return await self._desk.unmute(mute.id, ended_by, wait_s)

        try:
            applied = await self._writing.write(tell)
        except Lost:
            raise refusal(_PARTLY) from None
        if not applied:
            response.status_code = HTTPStatus.ACCEPTED
        return Muted(id=mute.id, applied=applied)


def mute_id(said: Muting) -> str:
    """Made of all that was said, so that a repeat shows."""
    whole = [sorted(said.matchers.named.items()), said.until.isoformat(), said.by, said.note]
    return blake2b(json.dumps(whole).encode(), digest_size=8).hexdigest()
