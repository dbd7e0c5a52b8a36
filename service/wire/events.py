"""The usage events: one struct per type, which decodes them, bounds them and documents them.

Whole numbers are written without a fraction (1, never 1.0). An optional field may be absent or null. Fields not named
here are ignored. Times, dates and months stay text here and are parsed a column at a time (see `columns`).
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

LARGEST = 10**13  # bytes, seconds or minor units of one event; sums of very many still fit 64 bits

Id = Annotated[str, Meta(min_length=1, max_length=256)]
Text = Annotated[str, Meta(max_length=256)]
Amount = Annotated[int, Meta(ge=-LARGEST, le=LARGEST)]
Count = Annotated[int, Meta(ge=0, le=LARGEST)]
Instant = Annotated[str, Meta(max_length=40, extra_json_schema={"format": "date-time"})]
Date = Annotated[str, Meta(extra_json_schema={"format": "date"})]
Month = Annotated[str, Meta(extra_json_schema={"pattern": "^[0-9]{4}-(0[1-9]|1[0-2])$"})]
Direction = Literal["out", "in"]
Network = Text


def _told(description: str, unit: str | None = None) -> Meta:
    return Meta(description=description, extra_json_schema={"unit": unit} if unit else None)


class Event(Struct, frozen=True, gc=False, tag_field="type"):
    """What every event has."""

    id: Annotated[Id, _told("Names the event: a second one of the same subscriber, day and id is a repeat")]
    subscriber_id: Annotated[Id, _told("The account's stable id, never the phone number; also the record's key")]
    occurred_at: Annotated[Instant, _told("When it happened: RFC 3339 with an offset, such as 2013-08-31T23:59:00Z")]


class UsageVoice(Event, frozen=True, gc=False, tag="usage.voice"):
    """A call. At least one of `seconds` and `billed_minutes` is there."""

    seconds: Annotated[Count | None, _told("Duration", "s")] = None
    billed_minutes: Annotated[Count | None, _told("Minutes billed; absent: seconds / 60 rounded up", "min")] = None
    direction: Annotated[Direction | None, _told("Whether the subscriber called; absent: out")] = None
    peer_network: Annotated[Network | None, _told("Operator of the other side")] = None
    roaming: Annotated[bool | None, _told("Whether abroad or in another network; such files may come weeks late")] = (
        None
    )


class UsageSms(Event, frozen=True, gc=False, tag="usage.sms"):
    """Short messages."""

    count: Annotated[Count, _told("How many", "messages")]
    direction: Annotated[Direction | None, _told("Whether the subscriber sent them; absent: out")] = None
    roaming: Annotated[bool | None, _told("Whether abroad or in another network")] = None


class UsageData(Event, frozen=True, gc=False, tag="usage.data"):
    """A data session, or a part of one, dated at its closing."""

    bytes: Annotated[Count, _told("Volume up and down", "B")]
    rat: Annotated[Text | None, _told("Radio access: 2g, 3g, 4g, 5g, wlan")] = None
    in_package: Annotated[bool | None, _told("Whether a package covered it")] = None
    roaming: Annotated[bool | None, _told("Whether abroad or in another network")] = None


class Charge(Event, frozen=True, gc=False, tag="charge"):
    """Money charged. A refund is not above zero, any other kind not below."""

    amount_minor: Annotated[Amount, _told("Amount", "minor")]
    kind: Annotated[
        Literal["recurring", "usage", "vas", "one_off", "refund"],
        _told("What for: a monthly fee, usage, a value-added service, something once; or money given back"),
    ]
    bill_month: Annotated[Month | None, _told("The bill it belongs to")] = None


class BillClosed(Event, frozen=True, gc=False, tag="bill.closed"):
    """A month's bill is final."""

    bill_month: Annotated[Month, _told("The month billed")]
    total_minor: Annotated[Amount, _told("Total; negative where more was given back than charged", "minor")]


class Recharge(Event, frozen=True, gc=False, tag="recharge"):
    """Money paid in."""

    amount_minor: Annotated[Amount, _told("Amount; negative for the reversal of an earlier one", "minor")]


class Balance(Event, frozen=True, gc=False, tag="balance"):
    """The account as it stands."""

    amount_minor: Annotated[Amount, _told("Balance", "minor")]
    arrears_minor: Annotated[Count | None, _told("Owed beyond its due date", "minor")] = None


class Quota(Event, frozen=True, gc=False, tag="quota"):
    """How much of a package is used."""

    package_id: Annotated[Id, _told("The package")]
    measure: Annotated[Literal["voice", "data", "sms"], _told("What it counts: minutes, bytes or messages")]
    total: Annotated[Count, _told("Volume of the package", "min, B or messages by measure")]
    used: Annotated[Count, _told("Volume used; may exceed the total", "min, B or messages by measure")]
    resets_on: Annotated[Date | None, _told("The day it starts anew")] = None


class BundleLinked(Event, frozen=True, gc=False, tag="bundle.linked"):
    """A bundle ties the subscriber from now on."""

    bundle_id: Annotated[Id, _told("The bundle")]
    kind: Annotated[Text | None, _told("Such as device, prepaid, package, vpn, family, broadband")] = None
    hard: Annotated[bool | None, _told("Whether it is a contract with a term; absent: not")] = None
    starts_on: Annotated[Date | None, _told("First day; absent: the event's")] = None
    ends_on: Annotated[Date | None, _told("Last day; absent: open-ended")] = None
    blocks_port: Annotated[bool | None, _told("Whether the number cannot be ported while it holds; absent: not")] = None


class BundleUnlinked(Event, frozen=True, gc=False, tag="bundle.unlinked"):
    """A bundle ties no longer."""

    bundle_id: Annotated[Id, _told("The bundle")]
    reason: Annotated[Literal["cancelled", "lapsed", "replaced"], _told("Given up, run out, or followed by another")]


class GroupJoined(Event, frozen=True, gc=False, tag="group.joined"):
    """The subscriber became a member of a corporate or family group."""

    group_id: Annotated[Id, _told("The group")]
    key_person: Annotated[bool | None, _told("Whether others of the group would follow them; absent: not")] = None


class GroupLeft(Event, frozen=True, gc=False, tag="group.left"):
    """The subscriber left a group."""

    group_id: Annotated[Id, _told("The group")]
    key_person: Annotated[bool | None, _told("Whether others of the group would follow them; absent: not")] = None


class SubscriberActivated(Event, frozen=True, gc=False, tag="subscriber.activated"):
    """A new subscriber."""


class SubscriberProfile(Event, frozen=True, gc=False, tag="subscriber.profile"):
    """What the customer system knows; absent fields stay as they were."""

    msisdn: Annotated[Text | None, _told("Phone number; its newest holder is the one found by it")] = None
    market: Annotated[Text | None, _told("Market: campus, enterprise, ...")] = None
    area: Annotated[Text | None, _told("Sales area")] = None
    manager: Annotated[Text | None, _told("The customer manager in charge")] = None
    channel: Annotated[Text | None, _told("Where the contract was made")] = None
    industry: Annotated[Text | None, _told("Trade of a corporate customer")] = None
    plan: Annotated[Text | None, _told("Tariff plan")] = None
    fee_minor: Annotated[Count | None, _told("Monthly fee of the plan", "minor")] = None
    birthday: Annotated[Date | None, _told("Date of birth")] = None
    vip_level: Annotated[Text | None, _told("Value class")] = None
    activated_on: Annotated[Date | None, _told("First day as a subscriber")] = None


class SubscriberStatus(Event, frozen=True, gc=False, tag="subscriber.status"):
    """What the subscriber may do from now on."""

    status: Annotated[
        Literal[
            "normal",
            "suspended_one_way",
            "suspended_two_way",
            "suspended_on_request",
            "pre_cancelled",
            "cancelled",
        ],
        _told("Normal; cannot call; cannot call or be called; paused by themselves; leaving; left"),
    ]


class ForwardingSet(Event, frozen=True, gc=False, tag="forwarding.set"):
    """Calls are forwarded from now on; without a network, no longer."""

    peer_network: Annotated[Network | None, _told("Operator forwarded to")] = None


class DeviceChanged(Event, frozen=True, gc=False, tag="device.changed"):
    """Another handset."""

    generation: Annotated[Literal["2g", "3g", "4g", "5g"] | None, _told("Best radio access it can use")] = None
    dual_sim: Annotated[bool | None, _told("Whether it takes two cards")] = None


class NpQueried(Event, frozen=True, gc=False, tag="np.queried"):
    """The subscriber asked whether the number can be ported."""

    to_network: Annotated[Network | None, _told("Operator ported to")] = None


class NpCodeIssued(Event, frozen=True, gc=False, tag="np.code_issued"):
    """A porting code was given out."""

    to_network: Annotated[Network | None, _told("Operator ported to")] = None


class NpRequested(Event, frozen=True, gc=False, tag="np.requested"):
    """Another operator asked for the number."""

    to_network: Annotated[Network | None, _told("Operator ported to")] = None


class NpPorted(Event, frozen=True, gc=False, tag="np.ported"):
    """The number went to another operator."""

    to_network: Annotated[Network | None, _told("Operator ported to")] = None


class ComplaintOpened(Event, frozen=True, gc=False, tag="complaint.opened"):
    """The subscriber complained."""

    complaint_id: Annotated[Id, _told("The complaint")]
    topic: Annotated[Text | None, _told("What about")] = None


class ComplaintClosed(Event, frozen=True, gc=False, tag="complaint.closed"):
    """A complaint is settled."""

    complaint_id: Annotated[Id, _told("The complaint")]
    topic: Annotated[Text | None, _told("What about")] = None


class CompetitorCalled(Event, frozen=True, gc=False, tag="competitor.called"):
    """The subscriber called a competitor's hotline."""

    network: Annotated[Network | None, _told("Whose")] = None


class ConsentChanged(Event, frozen=True, gc=False, tag="consent.changed"):
    """The subscriber allowed or forbade marketing on a channel."""

    channel: Annotated[Literal["call", "sms", "manager"], _told("A call, a message, or their customer manager")]
    granted: Annotated[bool, _told("Whether it is allowed from now on")]


AnyEvent = (
    UsageVoice
    | UsageSms
    | UsageData
    | Charge
    | BillClosed
    | Recharge
    | Balance
    | Quota
    | BundleLinked
    | BundleUnlinked
    | GroupJoined
    | GroupLeft
    | SubscriberActivated
    | SubscriberProfile
    | SubscriberStatus
    | ForwardingSet
    | DeviceChanged
    | NpQueried
    | NpCodeIssued
    | NpRequested
    | NpPorted
    | ComplaintOpened
    | ComplaintClosed
    | CompetitorCalled
    | ConsentChanged
)

STRUCTS: dict[str, type[Event]] = {str(struct.__struct_config__.tag): struct for struct in Event.__subclasses__()}

# What one field's bounds cannot say; `columns` checks the same of whole columns.
CONDITIONS: dict[str, dict[str, object]] = {
    "usage.voice": {
        "anyOf": [
            {"required": [name], "properties": {name: {"type": "integer"}}} for name in ("seconds", "billed_minutes")
        ]
    },
    "charge": {
        "if": {"required": ["kind"], "properties": {"kind": {"const": "refund"}}},
        "then": {"properties": {"amount_minor": {"maximum": 0}}},
        "else": {"properties": {"amount_minor": {"minimum": 0}}},
    },
}
