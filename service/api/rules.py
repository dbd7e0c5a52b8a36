"""The rulebook for people: each rule as written, how many of its warnings are open, and the lists to ask for."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query

from service.api.models import ListView, NextRulebook, RefusedView, Roll, RuleList, RuleView, Severity
from service.api.problems import ProblemError, problems
from service.api.views import offer
from service.core.rules import SEVERITIES, Rule
from service.ports import Desk


class Rules:
    """`GET /v1/rules` and `GET /v1/lists/{list_id}`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def routes(self) -> APIRouter:
        """The endpoints."""
        router = APIRouter(tags=["rules"])
        router.add_api_route("/v1/rules", self.rules, response_model=RuleList, summary="The rulebook in force")
        router.add_api_route(
            "/v1/lists/{list_id:any_id}",
            self.roll,
            response_model=Roll,
            summary="A named list of subscribers",
            responses=problems(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY),
        )
        return router

    def rules(self) -> RuleList:
        """Every rule with its expressions as written, and the open warnings of each by severity.

        Under `refused` stands what was published to judge, now or later, and cannot be used here.
        """
        counted, missing = self._desk.open_counts()
        now = self._desk.in_force()
        counts = {(rule, severity): count for rule, severity, count in counted.rows()}
        return RuleList(
            rulebook=now.rulebook.hash,
            effective_on=now.effective_on,
            next=None if now.following is None else NextRulebook(hash=now.following[0], effective_on=now.following[1]),
            refused=tuple(RefusedView(hash=one.hash, problems=one.problems) for one in now.refused),
            rules=tuple(
                _show(rule, {level: counts.get((rule.id, level), 0) for level in SEVERITIES})  # type: ignore[misc]  # SEVERITIES are the literals
                for rule in now.rulebook.rules
            ),
            lists=tuple(ListView(id=roll.id, title=dict(roll.title)) for roll in now.rulebook.rolls),
            complete=not missing,
            missing_partitions=tuple(sorted(missing)),
        )

    def roll(
        self,
        list_id: Annotated[str, Path(examples=["never_bundled"])],
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    ) -> Roll:
        """Those for whom the list's condition is true now, with the list's numbers."""
        found = self._desk.roll(list_id, limit)
        if found is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, "No list has this id; /v1/rules names them all.")
        frame, missing = found
        titles = {roll.id: dict(roll.title) for roll in self._desk.in_force().rulebook.rolls}
        return Roll(
            id=list_id,
            title=titles.get(list_id, {}),
            subscribers=tuple(frame.iter_rows(named=True)),
            complete=not missing,
            missing_partitions=tuple(sorted(missing)),
        )


def _show(rule: Rule, counts: Mapping[Severity, int]) -> RuleView:
    return RuleView(
        id=rule.id,
        family=rule.family,
        version=rule.version,
        kind=rule.kind,
        status=rule.status,
        owner=rule.owner,
        runbook=rule.runbook,
        on=rule.on,
        expressions=dict(rule.source),
        params=dict(rule.params),
        measure=rule.measure,
        window_days=rule.window_days,
        keep_for_days=rule.keep_for_days,
        channels=tuple(order.channel for order in rule.orders),
        offer=offer(rule.offer),
        why=dict(rule.why),
        avoid=dict(rule.avoid),
        open=counts,
    )
