"""What machines ask: is it alive, is it ready, and its metrics."""

from http import HTTPStatus

from fastapi import APIRouter, Response

from service.api.models import Liveness, Readiness
from service.api.problems import RETRY_AFTER_S, problem, problems
from service.metrics import CONTENT_TYPE, Metrics
from service.ports import Desk


class Health:
    """`/livez`, `/readyz` and `/metrics`."""

    def __init__(self, desk: Desk, metrics: Metrics) -> None:
        self._desk = desk
        self._metrics = metrics

    def routes(self) -> APIRouter:
        """The endpoints."""
        router = APIRouter(tags=["operating"])
        unavailable = problems(HTTPStatus.SERVICE_UNAVAILABLE)
        router.add_api_route(
            "/livez", self.live, response_model=Liveness, responses=unavailable, summary="Does the process still work"
        )
        router.add_api_route(
            "/readyz", self.ready, response_model=Readiness, responses=unavailable, summary="Do all shards here answer"
        )
        router.add_api_route(
            "/metrics",
            self.metrics,
            response_class=Response,
            responses={200: {"description": "Prometheus text", "content": {"text/plain": {}}}},
            summary="Metrics for Prometheus",
        )
        return router

    # Coroutines, which wait for no thread: dozens of waiting lookups hold none of these up.

    async def live(self) -> Response | Liveness:
        """503 once the process no longer makes progress and should be started again."""
        if self._desk.readiness()["live"]:
            return Liveness(live=True)
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, "The service makes no progress; start it again.")

    async def ready(self) -> Response | Readiness:
        """503 with the reason while shards are being restored, or the broker is lost."""
        said = self._desk.readiness()
        if said["ready"]:
            return Readiness.model_validate(dict(said))
        waiting = [partition for partition, state in said["shards"].items() if state != "running"]
        return problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            said["reason"] or "The service is not ready yet.",
            headers={"Retry-After": str(RETRY_AFTER_S)},
            missing=sorted(waiting),
        )

    async def metrics(self) -> Response:
        """All metrics of the process."""
        return Response(self._metrics.render(), media_type=CONTENT_TYPE)
