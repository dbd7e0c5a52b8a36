"""How the core's rows are shown: a line of an episode becomes a warning, with what its rule says of it."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from http import HTTPStatus
from typing import Any

import orjson

from service.api.models import OfferView, Order, SubscriberWarning
from service.api.problems import ProblemError
from service.api.suppressions import in_words
from service.core.calendar import to_day
from service.core.rules import Offer, Rule, Rulebook
from service.core.turn import Mute
from service.ports import Alert
from service.rulebook.problems import suggest

NO_MUTES: Mapping[str, Mute] = {}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_AS_THEY_ARE = (
    "subscriber_id", "rule", "rule_version", "kind", "severity", "state", "outcome", "suppressed_by", "raised_on",
    "recovering_on", "snoozed_until",
    "resolved_on", "act_by", "measure", "window_days", "money_at_risk_minor", "market", "area", "manager",
    "acknowledged_by",
)  # fmt: skip


class Presenter:
    """Shows rows in the words of the rulebook in force; a rule that it no longer has leaves its words out."""

    def __init__(self, in_force: Callable[[], Rulebook]) -> None:
        self._in_force = in_force
        self._last: tuple[Rulebook | None, Mapping[str, Rule]] = (None, {})

    @property
    def _rules(self) -> Mapping[str, Rule]:
        """The rules in force by id; kept while it is the same rulebook."""
        rulebook, (last, rules) = self._in_force(), self._last
        if rulebook is not last:
            rules = {rule.id: rule for rule in rulebook.rules}
            self._last = (rulebook, rules)
        return rules

    def require_rule(self, rule: str | None) -> None:
        """That the rulebook has a rule, where one is named. Raises: ProblemError naming the nearest."""
        if rule is not None and rule not in (rules := self._rules):
            near = suggest(rule, rules) or "; /v1/rules lists them"
            raise ProblemError(
                HTTPStatus.UNPROCESSABLE_ENTITY, f"The request cannot be read: rule: no rule has this name{near}"
            )

    def warning(self, row: Mapping[str, Any], mutes: Mapping[str, Mute] = NO_MUTES) -> SubscriberWarning:
        """A line with the columns of core.turn.TRANSITIONS; its JSON columns may be text or values.

        `mutes`: those that are known, by id, to say who withholds it.
        """
        rule = self._rules.get(row["rule"])
        shown = {name: row.get(name) for name in _AS_THEY_ARE}
        return SubscriberWarning.model_validate(
            shown
            | {
                "id": row["episode_id"],
                "suppressed_why": in_words(row.get("suppressed_by"), mutes),
                "raised_at": instant(row["raised_us"]),
                "changed_at": instant(row.get("changed_us") or row["raised_us"]),
                "acknowledged_at": instant(row.get("acknowledged_us")),
                "numbers": _value(row.get("numbers")),
                "consent": _value(row.get("consent")),
                "orders": _orders(_value(row.get("orders"))),
                "why": _value(row.get("why")),
                "avoid": {} if rule is None else rule.avoid,
                "offer": None if rule is None else offer(rule.offer),
                "owner": None if rule is None else rule.owner,
                "runbook": None if rule is None else rule.runbook,
            }
        )

    def alert(self, alert: Alert) -> SubscriberWarning:
        """A committed record of churn.warnings: ids and instants have other names there than in the core."""
        row = dict(alert.data)
        rule = self._rules.get(row["rule"])
        window = row.get("window") or {"measure": rule and rule.measure, "days": rule and rule.window_days}
        instants = {
            f"{name}_us": _microseconds(row.get(f"{name}_at")) for name in ("raised", "changed", "acknowledged")
        }
        named = {"episode_id": row["warning_id"], "measure": window["measure"], "window_days": window["days"]}
        return self.warning(row | named | instants)

    def record(self, record: Mapping[str, Any]) -> bytes:
        """The front office's record as the desk gives it (its warnings are lines of episodes), as a SubscriberRecord.

        Written at once: checking each by its model first would take longer than all the rest. Tests check it.
        """
        as_of = {"partition": None, **record["as_of"]}
        if "watermark_us" in as_of:
            as_of["watermark"] = instant(as_of.pop("watermark_us"))
        mutes = {
            one["id"]: Mute(
                one["id"], one["matchers"], 0, to_day(date.fromisoformat(one["until"])), one["by"], one["note"]
            )
            for one in record["mutes"]
        }
        warnings = {
            state: [self.warning(row, mutes).model_dump(mode="json") for row in rows]
            for state, rows in record["warnings"].items()
        }
        return orjson.dumps({**record, "as_of": as_of, "warnings": warnings}, option=orjson.OPT_UTC_Z)


def instant(us: int | None) -> datetime | None:
    """Microseconds since 1970 UTC as an aware datetime."""
    return None if us is None else _EPOCH + timedelta(microseconds=us)


def microseconds(at: datetime) -> int:
    """The inverse of `instant`."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def offer(said: Offer | None) -> OfferView | None:
    """A rule's offer."""
    return None if said is None else OfferView(campaign=said.campaign, name=dict(said.name))


def _microseconds(at: str | None) -> int | None:
    return None if at is None else microseconds(datetime.fromisoformat(at))


def _orders(orders: Mapping[str, str]) -> tuple[Order, ...]:
    return tuple(
        Order(channel=channel, ordered=said == "ordered", withheld=None if said == "ordered" else said)
        for channel, said in orders.items()
    )


def _value(said: str | Mapping[str, Any] | None) -> Mapping[str, Any]:
    if not said:
        return {}
    value: Mapping[str, Any] = json.loads(said) if isinstance(said, str) else said
    return value
