"""What other replicas ask this one: answered for the shards that live here, to who knows the token."""

import hmac
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from starlette.concurrency import run_in_threadpool

from service.api.problems import ProblemError
from service.ports import Busy
from service.worker.questions import PATH, SUBSCRIBER, Answer, Question, read_question, write_answer
from service.worker.shelf import Shelf


class PeerQuestions:
    """`POST /internal/v1/ask`, for replicas only."""

    def __init__(self, shelf: Shelf, token: str) -> None:
        self._shelf = shelf
        self._expected = f"Bearer {token}".encode()

    def routes(self) -> APIRouter:
        """The endpoint, which is no part of the public interface."""
        router = APIRouter(include_in_schema=False)
        router.add_api_route(PATH, self.ask, methods=["POST"])
        return router

    async def ask(self, request: Request, authorization: Annotated[str, Header()] = "") -> Response:
        """Answer for those of the asked partitions that live here; the answer names them."""
        if not hmac.compare_digest(authorization.encode(), self._expected):
            raise ProblemError(HTTPStatus.UNAUTHORIZED, "Only replicas with the same CHURN_HTTP__PEER_TOKEN may ask.")
        try:
            answer = await self._answer(read_question(await request.body()))
        except (ValueError, KeyError, TypeError) as error:
            raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "The question cannot be read.") from error
        return Response(write_answer(answer), media_type="application/octet-stream")

    async def _answer(self, question: Question) -> Answer:
        if question.about == SUBSCRIBER:
            try:
                return self._shelf.answer(question, at_once=True)
            except Busy:
                pass
        return await run_in_threadpool(self._shelf.answer, question)
