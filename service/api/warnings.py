"""The list of warnings, and taking one over."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from starlette.concurrency import run_in_threadpool

from service.api.cursors import encode_place
from service.api.filters import ListFilter
from service.api.models import Acknowledged, Acknowledgement, WarningList
from service.api.problems import ProblemError, problems
from service.api.views import Presenter
from service.ports import Desk


class Warnings:
    """`GET /v1/warnings` and `POST /v1/warnings/{warning_id}/acknowledge`."""

    def __init__(self, desk: Desk, presenter: Presenter, acknowledge_wait_s: float) -> None:
        self._desk = desk
        self._presenter = presenter
        self._wait_s = acknowledge_wait_s

    def routes(self) -> APIRouter:
        """The endpoints."""
        router = APIRouter(tags=["warnings"])
        router.add_api_route(
            "/v1/warnings",
            self.find,
            response_model=WarningList,
            summary="Warnings, newest first",
            responses=problems(HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY),
        )
        router.add_api_route(
            "/v1/warnings/{warning_id:any_id}/acknowledge",
            self.acknowledge,
            methods=["POST"],
            response_model=Acknowledged,
            summary="Take a warning over",
            responses={
                202: {"description": "Accepted; its shard has not applied it yet", "model": Acknowledged},
                **problems(
                    HTTPStatus.NOT_FOUND,
                    HTTPStatus.CONFLICT,
                    HTTPStatus.UNPROCESSABLE_ENTITY,
                    HTTPStatus.SERVICE_UNAVAILABLE,
                ),
            },
        )
        return router

    def find(self, wanted: Annotated[ListFilter, Query()]) -> WarningList:
        """Open warnings, or those of one state, that pass all filters; `complete` says whether all shards answered."""
        try:
            query = wanted.page()
        except ValueError:
            raise ProblemError(
                HTTPStatus.BAD_REQUEST, "The cursor is not one that this list gave; start without it."
            ) from None
        page = self._desk.warnings(query)
        warnings = tuple(self._presenter.warning(row) for row in page.warnings.iter_rows(named=True))
        more = len(warnings) == wanted.limit
        last = page.warnings.row(-1, named=True) if more else None
        return WarningList(
            warnings=warnings,
            next=None if last is None else encode_place((last["raised_us"], last["episode_id"])),
            complete=not page.missing,
            missing_partitions=tuple(sorted(page.missing)),
            as_of=dict(page.as_of),
        )

    async def acknowledge(
        self,
        warning_id: Annotated[str, Path(examples=["5f0c8a3b1d9e4c7f8a6b2d1e0f3c4b5a"])],
        said: Acknowledgement,
        response: Response,
    ) -> Acknowledged:
        """200 once the warning's shard has applied it; 202 while it has not. To say the same twice does no harm."""
        row = await run_in_threadpool(self._desk.warning, warning_id)
        if row is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, "No warning has this id.")
        if row["state"] == "resolved":
            raise ProblemError(HTTPStatus.CONFLICT, "The warning is resolved; there is nothing left to take over.")
        if row["state"] == "acknowledged" and row["acknowledged_by"] == said.by:
            return Acknowledged(id=warning_id, applied=True, state="acknowledged")
        applied = await self._desk.acknowledge(warning_id, said.by, said.note, self._wait_s)
        if not applied:
            response.status_code = HTTPStatus.ACCEPTED
        return Acknowledged(id=warning_id, applied=applied, state="acknowledged" if applied else row["state"])
