"""What a warning and an order say, as data of a CloudEvent: the structs that encode them and document them."""

from datetime import date, datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

Number = int | float | str | bool | None
Channel = Literal["call", "sms", "manager"]
Kind = Literal["risk", "opportunity", "restricted"]
Severity = Literal["notice", "warning", "critical"]
State = Literal["raised", "acknowledged", "snoozed", "recovering", "resolved"]
Transition = Literal[
    "raised", "escalated", "acknowledged", "snoozed", "woken", "recovering", "reopened", "resolved"
]  # fmt: skip


def _told(description: str) -> Meta:
    return Meta(description=description)


class Window(Struct, frozen=True, rename={"first": "from", "last": "to"}):
    """The closed days that a figure was judged over."""

    measure: Annotated[str, _told("What was summed: spend, voice, data, sms, recharge, outgoing, ...")]
    days: Annotated[int, Meta(ge=1, description="Length in local days")]
    first: Annotated[date, _told("First day, included")]
    last: Annotated[date, _told("Last day, included")]


class Case(Struct, frozen=True):
    """What warnings and orders have in common."""

    warning_id: Annotated[str, _told("The episode: the same subscriber, rule and first day always give the same")]
    subscriber_id: Annotated[str, _told("The account's stable id, also the record's key")]
    rule: Annotated[str, _told("The rule that raised it")]
    rule_version: Annotated[int, _told("The rule's version when it raised it")]
    kind: Annotated[Kind, _told("Risk of loss; opportunity; restricted: shown to people, never marketed to")]
    severity: Annotated[Severity, _told("Urgency, not depth")]
    raised_on: Annotated[date, _told("Local day on which it was raised")]
    raised_at: Annotated[datetime, _told("When the event happened that raised it, or the end of the day that did")]
    act_by: Annotated[date | None, _told("Day by which to act: 1, 3 or 7 days on, by severity")]
    numbers: Annotated[dict[str, Number], _told("The figures that raised it, by signal")]
    baseline: Annotated[float | int | None, _told("The subscriber's own figure before the window; null where none")]
    window: Annotated[Window | None, _told("What it was judged over; null for a single event")]
    money_at_risk_minor: Annotated[int | None, _told("Twelve months' value, in minor units of the currency")]
    currency: Annotated[str, _told("ISO 4217 code of all money here")]
    consent: Annotated[dict[Channel, bool | None], _told("Whether marketing is allowed, by channel; null: not known")]
    why: Annotated[dict[str, str], _told("One sentence of what moved, by language (en, zh)")]
    market: Annotated[str | None, _told("The subscriber's market")]
    area: Annotated[str | None, _told("The subscriber's sales area")]
    manager: Annotated[str | None, _told("The customer manager in charge")]


class Warned(Case, frozen=True, kw_only=True):
    """A warning as it stands after a transition of its episode."""

    transition: Annotated[Transition, _told("What happened just now")]
    state: Annotated[State, _told("How it stands after it")]
    outcome: Annotated[
        str | None, _told("How it ended: recovered, retained, churned, expired, false_positive; null while open")
    ]
    changed_at: Annotated[datetime, _told("When the transition took place, by the time of the events")]
    recovering_on: Annotated[date | None, _told("Local day on which it cleared, while it may still come back")]
    resolved_on: Annotated[date | None, _told("Local day on which it ended")]
    snoozed_until: Annotated[date | None, _told("Local day at whose close it comes back; null unless put off")]
    orders: Annotated[
        dict[Channel, str],
        _told(
            "What became of outbound orders, by channel: ordered, or why withheld "
            "(no_consent, restricted, porting, contacted, experimental, standing, mute, rule, holiday, breaker, cap)"
        ),
    ]
    acknowledged_by: Annotated[str | None, _told("Who took it over")]
    acknowledged_at: Annotated[datetime | None, _told("When they did")]


class Ordered(Case, frozen=True, kw_only=True):
    """An order to contact a subscriber over one channel."""

    order_id: Annotated[str, _told("Names the order: one per warning and channel")]
    channel: Annotated[Channel, _told("How to contact the subscriber")]
