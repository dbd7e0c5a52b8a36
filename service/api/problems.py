"""Errors as problem details (RFC 9457): one sentence each, and never an id of a person in a log."""

import logging
import traceback
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.models import Problem
from service.ports import Behind, Lost, NotReady

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2

_SENTENCES = {
    HTTPStatus.NOT_FOUND: "There is nothing at this address.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This address does not answer to this method.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "The service failed to answer; the fault has been logged.",
}
_logger = logging.getLogger(__name__)


class ProblemError(Exception):
    """Ends a request with a problem."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        retry_after_s: int | None = None,
        acknowledged_by: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.acknowledged_by = acknowledged_by


def problem(
    status: HTTPStatus,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    missing: Sequence[int] | None = None,
    acknowledged_by: str | None = None,
) -> Response:
    """The answer that tells a problem."""
    said = Problem(
        title=status.phrase,
        status=status,
        detail=detail,
        missing_partitions=None if missing is None else tuple(missing),
        acknowledged_by=acknowledged_by,
    )
    body = said.model_dump_json(exclude_none=True)
    return Response(body, status_code=status, headers=headers, media_type=MEDIA_TYPE)


def problems(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of an endpoint's errors."""
    return {int(status): described_problem(status.phrase) for status in statuses}


def described_problem(description: str) -> dict[str, Any]:
    """What OpenAPI says of one error, in words of its own."""
    return {"description": description, "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}}


def install_problems(app: FastAPI) -> None:
    """Let every error of the app leave as a problem."""

    async def told(_request: Request, error: Exception) -> Response:
        assert isinstance(error, ProblemError)  # noqa: S101 - registered for this type alone
        headers = {} if error.retry_after_s is None else {"Retry-After": str(error.retry_after_s)}
        return problem(error.status, error.detail, headers=headers, acknowledged_by=error.acknowledged_by)

    async def not_ready(_request: Request, error: Exception) -> Response:
        assert isinstance(error, NotReady)  # noqa: S101 - registered for this type alone
        named = ", ".join(str(partition) for partition in error.partitions) or "unknown"
        return problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"What could answer is still being restored (partitions: {named}); ask again in {RETRY_AFTER_S} seconds.",
            headers={"Retry-After": str(RETRY_AFTER_S)},
            missing=error.partitions,
        )

    async def lost(_request: Request, _error: Exception) -> Response:
        return problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"The broker cannot be reached, nothing was written; say it again in {RETRY_AFTER_S} seconds.",
            headers={"Retry-After": str(RETRY_AFTER_S)},
        )

    async def behind(_request: Request, error: Exception) -> Response:
        assert isinstance(error, Behind)  # noqa: S101 - registered for this type alone
        sentence = f"The request cannot be read: until: must be after {error.closed}, the last closed day."
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, sentence)

    async def refused(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type alone
        status = HTTPStatus(error.status_code)
        return problem(status, _SENTENCES.get(status, f"{status.description or status.phrase}."), headers=error.headers)

    async def invalid(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this type alone
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, _sentence(error.errors()))

    app.add_exception_handler(ProblemError, told)
    app.add_exception_handler(NotReady, not_ready)
    app.add_exception_handler(Behind, behind)
    app.add_exception_handler(Lost, lost)
    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(RequestValidationError, invalid)


def _sentence(errors: Sequence[Mapping[str, Any]]) -> str:
    """All that is wrong, field by field; what was sent is not repeated, it may name a person."""
    parts = [f"{_field(error['loc'])}: {_lower(str(error['msg']))}" for error in errors]
    return f"The request cannot be read: {'; '.join(parts)}."


def _field(location: Sequence[str | int]) -> str:
    named = [str(part) for part in location[1:] if not isinstance(part, int)]
    return ".".join(named) or str(location[0])


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:].rstrip(".")


class Guard:
    """Outermost: a fault becomes a problem, and the log gets its type and place but not its words."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the app does."""
        started = False

        async def note(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, note)
        except Exception as error:
            if scope["type"] != "http":
                raise
            _logger.error("request failed: %s", describe_fault(error))  # noqa: TRY400 - a traceback may name a person
            if not started:
                status = HTTPStatus.INTERNAL_SERVER_ERROR
                await problem(status, _SENTENCES[status])(scope, receive, send)


def describe_fault(error: BaseException) -> str:
    """An exception's type and the innermost place, without its message, which may name a person."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(describe_fault(inner) for inner in error.exceptions)
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"
