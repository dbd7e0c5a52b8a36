"""What other replicas ask this one: answered for the shards that live here, to who knows the token."""

import hmac
from http import HTTPStatus

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Request, Response

from service.api.problems import ProblemError
from service.ports import Busy
from service.worker.questions import ABOUT, APPLIED, PATH, SUBSCRIBER, Answer, Question, read_question, write_answer
from service.worker.shelf import Shelf

_AT_ONCE = 16


class PeerQuestions:
    """`POST /internal/v1/ask`, for replicas only."""

    def __init__(self, shelf: Shelf, token: str) -> None:
        self._shelf = shelf
        self._expected = f"Bearer {token}".encode()
        self._working, self._waiting = CapacityLimiter(_AT_ONCE), CapacityLimiter(_AT_ONCE)

    def routes(self) -> APIRouter:
        """The endpoint, which is no part of the public interface."""
        router = APIRouter(include_in_schema=False)
        router.add_api_route(PATH, self.ask, methods=["POST"])
        return router

    async def ask(self, request: Request) -> Response:
        """Answer for those of the asked partitions that live here; the answer names them."""
        if not hmac.compare_digest(request.headers.get("Authorization", "").encode(), self._expected):
            raise ProblemError(HTTPStatus.UNAUTHORIZED, "Only replicas with the same CHURN_HTTP__PEER_TOKEN may ask.")
        try:
            question = read_question(await request.body())
        except (ValueError, KeyError, TypeError) as error:
            raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "The question cannot be read.") from error
        if question.about not in ABOUT:
            raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "Nobody here knows of what is asked.")
        return Response(write_answer(await self._answer(question)), media_type="application/octet-stream")

    async def _answer(self, question: Question) -> Answer:
        if question.about == SUBSCRIBER:
            try:
                return self._shelf.answer(question, at_once=True)
            except Busy:
                pass
        # Threads of their own: those that wait for other replicas' answers must not keep ours from being given.
        limiter = self._waiting if question.about == APPLIED else self._working
        return await to_thread.run_sync(self._shelf.answer, question, limiter=limiter)
