"""The front office's lookup: one subscriber, by an id of any shape or by a phone number."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from starlette.concurrency import run_in_threadpool
from starlette.convertors import Convertor, register_url_convertor

from service.api.models import SubscriberRecord
from service.api.problems import ProblemError, problems
from service.api.views import Presenter
from service.ports import Busy, Desk


class _AnyId(Convertor[str]):
    """All that is left of a path: slashes, line breaks and an empty rest included."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("any_id", _AnyId())


class Subscribers:
    """`GET /v1/subscribers/{subscriber_id}` and `GET /v1/subscribers?msisdn=` or `?id=`."""

    def __init__(self, desk: Desk, presenter: Presenter) -> None:
        self._desk = desk
        self._presenter = presenter

    def routes(self) -> APIRouter:
        """The endpoints."""
        router = APIRouter(tags=["subscribers"])
        told = problems(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE)
        router.add_api_route(
            "/v1/subscribers/{subscriber_id:any_id}",
            self.by_id,
            response_model=SubscriberRecord,
            summary="The record of a subscriber",
            responses=told,
        )
        router.add_api_route(
            "/v1/subscribers",
            self.by_query,
            response_model=SubscriberRecord,
            summary="The record of a subscriber, by phone number or id",
            responses=told,
        )
        return router

    async def by_id(
        self,
        subscriber_id: Annotated[str, Path(description="Percent-encoded, slashes included", examples=["s-0042"])],
    ) -> Response:
        """What is known of one subscriber, and the moment it is known of; null where no feed has told it.

        A client that rewrites paths (`.` and `..` are segments of a path to it) asks `?id=` instead.
        """
        try:
            record = self._desk.subscriber(subscriber_id, at_once=True)
        except Busy:  # wait for it where nobody else has to wait as well
            record = await run_in_threadpool(self._desk.subscriber, subscriber_id)
        if record is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, "No subscriber of this id is known.")
        return Response(self._presenter.record(record), media_type="application/json")

    async def by_query(
        self,
        msisdn: Annotated[str | None, Query(description="A phone number; its newest holder answers")] = None,
        subscriber_id: Annotated[str | None, Query(alias="id", description="An id of any shape")] = None,
    ) -> Response:
        """The same record, by exactly one of phone number and id."""
        if (msisdn is None) == (subscriber_id is None):
            raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "Give exactly one of msisdn and id.")
        if subscriber_id is not None:
            return await self.by_id(subscriber_id)
        # An unescaped plus sign of a query reads as a space; no phone number begins with one.
        number = "+" + msisdn[1:] if msisdn and msisdn.startswith(" ") else msisdn or ""
        holder = await run_in_threadpool(self._desk.holder, number)
        if holder is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, "Nobody is known to hold this phone number.")
        return await self.by_id(holder)
