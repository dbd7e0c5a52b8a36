"""The list of warnings, and taking one over."""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from starlette.concurrency import run_in_threadpool

from service.api.cursors import encode_place
from service.api.filters import ListFilter
from service.api.models import Acknowledged, Acknowledgement, WarningList
from service.api.problems import RETRY_AFTER_S, ProblemError, described_problem, problems
from service.api.views import Presenter
from service.ports import Desk

# What writing may take beyond the wait for the shard, before the caller is told that nothing is known.
_WRITING_S = 1.0


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
                409: described_problem(
                    "Somebody else has taken it over (`acknowledged_by` says who), or it is resolved already"
                ),
                **problems(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE),
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
        # What a former rule raised can still be asked for, to its last page.
        if page.warnings.is_empty() and query.before is None and not page.missing:
            self._presenter.require_rule(wanted.rule)
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
        """200 once the warning's shard has applied it; 202 while it has not; 409 where somebody else holds it.

        To say the same twice does no harm.
        """
        row = await run_in_threadpool(self._desk.warning, warning_id)
        if row is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, "No warning has this id.")
        if row["state"] != "raised":
            return _held(row, said.by)
        if not await self._write(warning_id, said):
            response.status_code = HTTPStatus.ACCEPTED
            return Acknowledged(id=warning_id, applied=False, state=row["state"], acknowledged_by=None)
        now = await run_in_threadpool(self._desk.warning, warning_id)
        return _held(row if now is None else now, said.by)

    async def _write(self, warning_id: str, said: Acknowledgement) -> bool:
        """Write it; True when its shard has applied it in time. Raises: ProblemError, Lost."""
        if not self._desk.readiness()["broker"]:
            raise _refusal("The broker cannot be reached, nothing was written")
        try:
            async with asyncio.timeout(self._wait_s + _WRITING_S):
                return await self._desk.acknowledge(warning_id, said.by, said.note, self._wait_s)
        except TimeoutError:
            raise _refusal("The broker does not answer; whether it was written is not known") from None


def _held(row: Mapping[str, Any], by: str) -> Acknowledged:
    """That `by` holds a warning, which the first does whose word was written. Raises: ProblemError where not."""
    if row["state"] == "resolved":
        raise ProblemError(HTTPStatus.CONFLICT, "The warning is resolved; there is nothing left to take over.")
    holder = row["acknowledged_by"]
    if holder not in (None, by):
        raise ProblemError(HTTPStatus.CONFLICT, f"{holder} has taken the warning over already.", acknowledged_by=holder)
    return Acknowledged(id=row["episode_id"], applied=True, state="acknowledged", acknowledged_by=by)


def _refusal(detail: str) -> ProblemError:
    sentence = f"{detail}; say it again in {RETRY_AFTER_S} seconds."
    return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, sentence, retry_after_s=RETRY_AFTER_S)
