"""What the API answers, field by field: these classes are the contract that OpenAPI publishes."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.api.examples import RECORD, WARNING

Severity = Literal["notice", "warning", "critical"]
WarningState = Literal["raised", "acknowledged", "snoozed", "recovering", "resolved"]
Text = Mapping[str, str]  # one sentence per language


class Answer(BaseModel):
    """An answer has exactly the keys it declares."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Order(Answer):
    """What became of one outbound order of a warning."""

    channel: str
    ordered: bool
    withheld: str | None = Field(
        description="Why no order was made: no_consent, restricted, porting, contacted, or what withholds it"
    )


class OfferView(Answer):
    """What may be offered: a campaign's four-part code and its name by language."""

    campaign: str
    name: Text


class SubscriberWarning(Answer):
    """A warning as it stands, in words and numbers."""

    model_config = ConfigDict(json_schema_extra={"example": dict(WARNING)})

    id: str
    subscriber_id: str
    rule: str
    rule_version: int
    kind: Literal["risk", "opportunity", "restricted"]
    severity: Severity
    state: WarningState
    outcome: str | None = Field(description="How it ended: recovered, retained, churned, expired, false_positive")
    suppressed_by: str | None = Field(
        description="Why it is kept, but not published: experimental, standing, mute:<id>, rule:<id>, holiday:<name>, "
        "breaker, cap; null where it is"
    )
    suppressed_why: Text = Field(description="The same in words, by language; empty where it is published")
    raised_on: date
    raised_at: datetime
    changed_at: datetime
    recovering_on: date | None = Field(description="Since when it has cleared, while it may still come back")
    snoozed_until: date | None
    resolved_on: date | None
    act_by: date | None
    measure: str | None
    window_days: int | None
    numbers: Mapping[str, Any] = Field(description="The figures that raised it, by signal")
    money_at_risk_minor: int | None = Field(description="Twelve months' value, in minor units")
    consent: Mapping[str, bool | None] = Field(description="By channel; null where unknown")
    orders: tuple[Order, ...]
    why: Text = Field(description="One sentence of what moved, by language")
    avoid: Text = Field(description="What not to say, by language")
    offer: OfferView | None
    owner: str | None
    runbook: str | None
    market: str | None
    area: str | None
    manager: str | None
    acknowledged_by: str | None
    acknowledged_at: datetime | None


class WarningList(Answer):
    """A page of warnings, newest first; `next` is the cursor of the page after it."""

    warnings: tuple[SubscriberWarning, ...]
    next: str | None
    complete: bool = Field(description="False where a partition could not answer")
    missing_partitions: tuple[int, ...]
    as_of: Mapping[int, int] = Field(description="Offset each partition had come to, by partition")


class RecordAsOf(Answer):
    """The moment a record speaks of."""

    cursor: int = Field(description="Offset of the next usage record of the partition")
    partition: int | None
    closed_day: date | None = Field(description="The last closed day; windows end with it")
    watermark: datetime | None = Field(description="The latest event time believed")


class QuotaLeft(Answer):
    """What is left of a package's quota of one measure."""

    package_id: str
    measure: str | None
    total: int | None
    used: int | None
    left: int | None
    resets_on: date | None


class OpenComplaint(Answer):
    """The oldest complaint that is still open."""

    complaint_id: str
    topic: str | None
    since: date | None


class Porting(Answer):
    """How far the subscriber has gone towards another network."""

    state: Literal["none", "queried", "code_issued", "requested", "ported"]
    since: date | None
    to_network: str | None


class Consent(Answer):
    """Consent by channel; null where it was never told."""

    call: bool | None
    sms: bool | None
    manager: bool | None


class Bill(Answer):
    """A closed bill; the month is YYYY-MM."""

    bill_month: str = Field(pattern=r"^\d{4}-\d{2}$")
    total_minor: int


class MonthToDate(Answer):
    """This calendar month so far, open days included."""

    spend_minor: int
    fee_minor: int
    voice_minutes: int
    data_bytes: int
    sms: int


class Bundle(Answer):
    """A tie the subscriber holds."""

    bundle_id: str
    kind: str | None
    hard: bool | None
    starts_on: date | None
    ends_on: date | None
    blocks_port: bool | None


class Group(Answer):
    """The corporate or family group the subscriber belongs to."""

    group_id: str
    key_person: bool | None


class Segment(Answer):
    """Domain codes (1, 21, 22, 23, 3, 41, 42, 43, 5; 0: not eligible) now and before, and since when."""

    now: int | None
    before: int | None
    since: date | None
    codes: tuple[int, ...] = Field(description="Six digits each: tier of a dimension (3), measure (2), trend (1)")


class Window(Answer):
    """The sum of a window, the trailing baseline before it, and 1 - sum / baseline (null without a baseline)."""

    sum: int
    baseline: float | None
    drop: float | None


class LastRecharge(Answer):
    """The latest recharge."""

    on: date
    amount_minor: int


class Device(Answer):
    """The handset as last reported."""

    generation: str | None
    dual_sim: bool | None


class Contact(Answer):
    """A contact of the last 90 days, and what came of it."""

    channel: str
    on: date
    outcome: str | None
    warning_id: str | None


class MuteView(Answer):
    """A mute: warnings that are all that `matchers` says are withheld to the end of a day."""

    id: str
    matchers: Mapping[str, str]
    until: date = Field(description="The last local day of the mute")
    by: str
    note: str


class SubscriberWarnings(Answer):
    """The subscriber's open and past warnings, newest first; those that nobody was told of stand apart."""

    open: tuple[SubscriberWarning, ...]
    withheld: tuple[SubscriberWarning, ...] = Field(description="Open and not published; `suppressed_why` says why")
    past: tuple[SubscriberWarning, ...]


class Day(Answer):
    """One local day of use; null where its history cannot be read."""

    date: date
    spend_minor: int | None
    voice_minutes: int | None
    data_bytes: int | None
    sms: int | None
    outgoing: int | None
    recharge_minor: int | None


class HolidayView(Answer):
    """Days, first and last included, in which habits change."""

    name: str
    from_day: date = Field(alias="from")
    to_day: date = Field(alias="to")


class SubscriberRecord(Answer):
    """What the front office sees while the customer is on the line; null where no feed has told it."""

    model_config = ConfigDict(json_schema_extra={"example": dict(RECORD)})

    subscriber_id: str
    msisdn: str | None
    as_of: RecordAsOf
    status: str | None
    status_since: date | None
    tenure_days: int | None
    activated_on: date | None
    arrears_minor: int | None
    balance_minor: int | None
    quota_left: tuple[QuotaLeft, ...] | None
    open_complaint: OpenComplaint | None
    porting: Porting | None
    consent: Consent
    plan: str | None
    fee_minor: int | None
    bills: tuple[Bill, ...] | None = Field(description="The last three closed bills, newest first")
    month_to_date: MonthToDate | None
    contract_end: date | None = Field(description="End of the last hard bundle held")
    blocks_port: bool | None = Field(description="Whether a bundle held blocks porting")
    bundles: tuple[Bundle, ...] | None
    broadband: bool | None
    family: bool | None
    group: Group | None
    manager: str | None
    market: str | None
    area: str | None
    channel: str | None
    industry: str | None
    vip_level: str | None
    birthday: date | None
    segment: Segment | None
    withheld: Literal["feed"] | None = Field(
        description="feed: the feed of their market fell silent, so drops and silence were not judged at the last close"
    )
    mutes: tuple[MuteView, ...] = Field(description="Mutes in force that may withhold warnings of this subscriber")
    windows: Mapping[str, Mapping[str, Window]] | None = Field(description="By measure, then by days of the window")
    days_silent: int | None
    last_recharge: LastRecharge | None
    recharge_gap_days: float | None
    forwarding_network: str | None
    competitor_called_on: date | None
    device: Device | None
    contacts: tuple[Contact, ...]
    offers: tuple[OfferView, ...] = Field(max_length=2)
    warnings: SubscriberWarnings
    daily: tuple[Day, ...] = Field(description="Ninety days, oldest first")
    holidays: tuple[HolidayView, ...]


class RuleView(Answer):
    """A rule as its author wrote it, and how many warnings of it are open."""

    id: str
    family: str
    version: int
    kind: Literal["risk", "opportunity", "restricted"]
    status: str
    owner: str
    runbook: str
    on: tuple[str, ...] = Field(description="Event types it is judged on; empty: at the close of each day")
    expressions: Mapping[str, str] = Field(description="The expressions as written, by their key in the rule's file")
    params: Mapping[str, float | int | str | bool]
    measure: str | None
    window_days: int | None
    keep_for_days: int | None
    channels: tuple[str, ...]
    offer: OfferView | None
    why: Text
    avoid: Text
    open: Mapping[Severity, int]


class ListView(Answer):
    """A named list that can be asked for."""

    id: str
    title: Text


class NextRulebook(Answer):
    """A rulebook that was published and takes effect later."""

    hash: str
    effective_on: date = Field(description="The first day that it judges")


class RefusedView(Answer):
    """A published rulebook that cannot be used here: the one before goes on."""

    hash: str
    problems: tuple[str, ...] = Field(description="All that is wrong with it, by file")


class RuleList(Answer):
    """The rulebook in force."""

    rulebook: str = Field(description="Hash that names this version")
    effective_on: date | None = Field(description="The first day that it judged; null: that of the rules folder")
    next: NextRulebook | None
    refused: tuple[RefusedView, ...]
    rules: tuple[RuleView, ...]
    lists: tuple[ListView, ...]
    complete: bool
    missing_partitions: tuple[int, ...]


class Roll(Answer):
    """A named list of subscribers, made when asked."""

    id: str
    title: Text
    subscribers: tuple[Mapping[str, Any], ...]
    complete: bool
    missing_partitions: tuple[int, ...]


class Liveness(Answer):
    """Whether the process still makes progress."""

    live: bool


class Readiness(Answer):
    """Whether all shards of this process answer."""

    ready: bool
    live: bool
    broker: bool
    shards: Mapping[int, str]
    reason: str | None


class Problem(BaseModel):
    """An error (RFC 9457): a title of its kind, and one sentence about this one."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "about:blank",
                "title": "Not Found",
                "status": 404,
                "detail": "No warning has this id.",
            }
        }
    )

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    missing_partitions: tuple[int, ...] | None = None
    acknowledged_by: str | None = None
