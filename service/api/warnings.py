"""The list of warnings, and what can be done with one: take it over, put it off, say how it ended."""

from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from starlette.concurrency import run_in_threadpool

from service.api.actions import Acknowledged, Acknowledgement, Acted, Settlement, Snoozing
from service.api.cursors import encode_place
from service.api.filters import ListFilter
from service.api.models import WarningList
from service.api.problems import ProblemError, described_problem, problems
from service.api.views import Presenter
from service.api.writing import Writing
from service.core.turn import Mute
from service.ports import Acknowledge, Act, Desk, Resolve, Snooze

WarningId = Annotated[str, Path(examples=["5f0c8a3b1d9e4c7f8a6b2d1e0f3c4b5a"])]
_IsSo = Callable[[Mapping[str, Any]], bool]
_FREE = ("raised", "snoozed", "recovering")  # whoever takes it over first has it
_TAKEN = "Somebody else has taken it over (`acknowledged_by` says who), or it is resolved already"


class Warnings:
    """`GET /v1/warnings` and `POST /v1/warnings/{warning_id}/acknowledge`, `/snooze` and `/resolve`."""

    def __init__(self, desk: Desk, presenter: Presenter, writing: Writing) -> None:
        self._desk = desk
        self._presenter = presenter
        self._writing = writing

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
        for name, endpoint, answer, summary, conflict in (
            ("acknowledge", self.acknowledge, Acknowledged, "Take a warning over", _TAKEN),
            ("snooze", self.snooze, Acted, "Put a warning off", "It recovers, or is resolved already"),
            ("resolve", self.resolve, Acted, "Say how a warning ended", "It is resolved already"),
        ):
            router.add_api_route(
                f"/v1/warnings/{{warning_id:any_id}}/{name}",
                endpoint,
                methods=["POST"],
                response_model=answer,
                summary=summary,
                responses={
                    202: {"description": "Accepted; its shard has not applied it yet", "model": answer},
                    409: described_problem(conflict),
                    **problems(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE),
                },
            )
        return router

    def find(self, wanted: Annotated[ListFilter, Query()]) -> WarningList:
        """Open warnings, or those of one state, that pass all filters; `complete` says whether all shards answered.

        Published ones, or with `suppressed` those that are kept and counted, but that nobody is told of, and why.
        """
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
        mutes = self._mutes() if wanted.suppressed else {}
        warnings = tuple(self._presenter.warning(row, mutes) for row in page.warnings.iter_rows(named=True))
        more = len(warnings) == wanted.limit
        last = page.warnings.row(-1, named=True) if more else None
        return WarningList(
            warnings=warnings,
            next=None if last is None else encode_place((last["raised_us"], last["episode_id"])),
            complete=not page.missing,
            missing_partitions=tuple(sorted(page.missing)),
            as_of=dict(page.as_of),
        )

    def _mutes(self) -> dict[str, Mute]:
        return {mute.id: mute for mute in self._desk.mutes().mutes}

    async def acknowledge(self, warning_id: WarningId, said: Acknowledgement, response: Response) -> Acknowledged:
        """200 once the warning's shard has applied it; 202 while it has not; 409 where somebody else holds it.

        To say the same twice does no harm.
        """
        row = await self._row(warning_id)
        if row["acknowledged_by"] is not None or row["state"] not in _FREE:
            return _held(row, said.by)
        if not await self._write(warning_id, Acknowledge(said.by, said.note)):
            response.status_code = HTTPStatus.ACCEPTED
            return Acknowledged(id=warning_id, applied=False, state=row["state"], acknowledged_by=None)
        return _held(await self._row(warning_id), said.by)

    async def snooze(self, warning_id: WarningId, said: Snoozing, response: Response) -> Acted:
        """200 once the warning's shard has applied it; 202 while it has not; 409 where it recovers or is resolved.

        The last word counts; it comes back at the close of the day, or when it becomes graver.
        """

        def is_so(row: Mapping[str, Any]) -> bool:
            return bool(row["state"] == "snoozed" and row["snoozed_until"] == said.until)

        return await self._act(warning_id, Snooze(said.by, said.until, said.note), is_so, response)

    async def resolve(self, warning_id: WarningId, said: Settlement, response: Response) -> Acted:
        """200 once the warning's shard has applied it; 202 while it has not; 409 where it has ended otherwise.

        What somebody has settled stays quiet for as long as its rule cools down.
        """

        def is_so(row: Mapping[str, Any]) -> bool:
            return bool(row["state"] == "resolved" and row["outcome"] == said.outcome)

        return await self._act(warning_id, Resolve(said.by, said.outcome, said.note), is_so, response)

    async def _act(self, warning_id: str, act: Snooze | Resolve, is_so: _IsSo, response: Response) -> Acted:
        row = await self._row(warning_id)
        if not is_so(row):
            _require_open(row, act)
            if not await self._write(warning_id, act):
                response.status_code = HTTPStatus.ACCEPTED
                return _acted(row, applied=False)
            row = await self._row(warning_id)
            if not is_so(row):
                _require_open(row, act)
                raise ProblemError(HTTPStatus.CONFLICT, f"Somebody else was faster: the warning is {row['state']}.")
        return _acted(row, applied=True)

    async def _row(self, warning_id: str) -> Mapping[str, Any]:
        row = await run_in_threadpool(self._desk.warning, warning_id)
        if row is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, "No warning has this id.")
        return row

    async def _write(self, warning_id: str, act: Act) -> bool:
        """Write it; True when its shard has applied it in time. Raises: ProblemError, Lost, Behind."""
        try:
            return await self._writing.write(partial(self._desk.act, warning_id, act))
        except KeyError:
            raise ProblemError(HTTPStatus.NOT_FOUND, "No warning has this id.") from None


def _held(row: Mapping[str, Any], by: str) -> Acknowledged:
    """That `by` holds a warning, which the first does whose word was written. Raises: ProblemError where not."""
    if row["state"] == "resolved":
        raise ProblemError(HTTPStatus.CONFLICT, "The warning is resolved; there is nothing left to take over.")
    holder = row["acknowledged_by"]
    if holder not in (None, by):
        raise ProblemError(HTTPStatus.CONFLICT, f"{holder} has taken the warning over already.", acknowledged_by=holder)
    return Acknowledged(id=row["episode_id"], applied=True, state=row["state"], acknowledged_by=by)


def _require_open(row: Mapping[str, Any], act: Snooze | Resolve) -> None:
    """That there is something left to put off or to settle. Raises: ProblemError."""
    if row["state"] == "resolved":
        ended = str(row["outcome"]).replace("_", " ")
        raise ProblemError(HTTPStatus.CONFLICT, f"The warning is resolved already ({ended}).")
    if isinstance(act, Snooze) and row["state"] == "recovering":
        raise ProblemError(HTTPStatus.CONFLICT, "The warning is recovering: it resolves, or comes back, by itself.")


def _acted(row: Mapping[str, Any], *, applied: bool) -> Acted:
    told = {name: row[name] for name in ("state", "acknowledged_by", "snoozed_until", "outcome")}
    return Acted(id=row["episode_id"], applied=applied, **told)
