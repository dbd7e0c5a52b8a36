"""Each shipped rule over one subscriber: whether it holds, how urgent it is, and whom it orders to act."""

from typing import Any

import polars as pl
import pytest

from service.core.events import FIELDS
from service.core.rules import Rule, Rulebook
from service.core.sentences import UNKNOWN, placeholders, render
from service.core.signals import catalogue
from service.core.tiers import codes_of
from service.rulebook.loading import default_folder, load
from tests.rulebook.folders import SIGNALS, STORED

# A content subscriber of modest value, about whom no rule has anything to say.
CONTENT: dict[str, Any] = {
    **dict.fromkeys(SIGNALS),
    **{f"{m}_{w}d": 100 for m in ("spend", "voice", "voice_in", "data", "sms", "outgoing") for w in (1, 7, 14, 30)},
    **{f"{m}_30d_baseline": 100.0 for m in ("spend", "voice", "data", "outgoing")},
    **{f"{m}_30d_{drop}": 0.0 for m in ("spend", "voice", "data") for drop in ("drop", "drop_vs_cohort")},
    "spend_30d_baseline": 3000.0,
    "voice_30d_baseline": 200.0,
    "data_30d_baseline": 5e8,
    "bill_last": 4000,
    "bill_baseline": 4000.0,
    "bill_drop": 0.0,
    "days_silent": 0,
    "days_known": 900,
    "active_days_30d": 28,
    "days_since_recharge": 5,
    "spend_90d": 9000,
    "recharge_30d": 3000,
    "recharge_90d": 9000,
    "recharge_gap_days": 10.0,
    "fee_month": 1900,
    "fee": 4900,
    "monthly_value": 4000,
    "money_at_risk": 48000,
    "status": "normal",
    "days_in_status": 400,
    "tenure_days": 900,
    "bundles": 2,
    "hard_bundles": 1,
    "hard_days_left": 300,
    "ever_bundled": True,
    "porting": "none",
    "open_complaints": 0,
    "key_person": False,
    "market": "public",
}
HIGH = {"monthly_value": 10_000}
MANAGED = {"group_id": "G1", "manager": "M1"}
UNTIED = {"bundles": 0, "hard_bundles": 0, "hard_days_left": None, "days_unlinked": 3}
SPEND = {"spend_30d_drop": 0.2, "spend_30d_drop_vs_cohort": 0.3}
SILENT = {"days_silent": 14}
NEW = {"tenure_days": 364}
# Prepaid, and nothing moved for a month, or a quarter.
IDLE = {"fee": 0, "spend_30d": 0, "recharge_30d": 0}
LONG_IDLE = {**IDLE, "spend_90d": 0, "recharge_90d": 0}

# rule, what is told of the subscriber (and the record), severity (None: the rule does not hold), channels ordered
CASES: list[tuple[str, dict[str, Any], str | None, str]] = [
    ("spend_drop", SPEND, "notice", ""),
    ("spend_drop", {"spend_30d_drop": 0.2, "spend_30d_drop_vs_cohort": 0.299}, None, ""),
    ("spend_drop", {"spend_30d_drop": 0.2, "spend_30d_drop_vs_cohort": None}, None, ""),
    ("spend_drop", {**SPEND, "spend_30d_drop": 0.0}, None, ""),  # has only grown more slowly than others
    ("spend_drop", {**SPEND, "spend_30d_baseline": 999.0}, None, ""),
    ("spend_drop", {**SPEND, "status": "suspended_one_way"}, None, ""),
    ("spend_drop", {**SPEND, **SILENT}, "notice", ""),
    ("spend_drop", {**SPEND, **UNTIED}, "warning", "call"),
    ("spend_drop", {**SPEND, **HIGH}, "warning", "call"),
    ("spend_drop", {**SPEND, **HIGH, **MANAGED}, "warning", "manager"),
    ("spend_drop", {**SPEND, **MANAGED}, "notice", ""),
    ("spend_drop", {**SPEND, **HIGH, **SILENT}, "critical", "call"),
    ("voice_drop", {"voice_30d_drop": 0.2, "voice_30d_drop_vs_cohort": 0.4}, "notice", ""),
    ("voice_drop", {"voice_30d_drop": 0.2, "voice_30d_drop_vs_cohort": 0.39}, None, ""),
    ("voice_drop", {"voice_30d_drop": 0.2, "voice_30d_drop_vs_cohort": 0.9, "voice_30d_baseline": 29.5}, None, ""),
    ("voice_drop", {"voice_30d_drop": 0.2, "voice_30d_drop_vs_cohort": 0.4, **HIGH}, "warning", "call"),
    ("data_drop", {"data_30d_drop": 0.2, "data_30d_drop_vs_cohort": 0.5}, "notice", ""),
    ("data_drop", {"data_30d_drop": 0.2, "data_30d_drop_vs_cohort": 0.49}, None, ""),
    ("data_drop", {"data_30d_drop": 0.2, "data_30d_drop_vs_cohort": 1.0, "data_30d_baseline": 9e6}, None, ""),
    ("data_drop", {"data_30d_drop": 0.2, "data_30d_drop_vs_cohort": 0.5, **UNTIED}, "warning", "call"),
    ("bill_drop", {"bill_drop": 0.3}, "notice", ""),
    ("bill_drop", {"bill_drop": 0.29}, None, ""),
    ("bill_drop", {"bill_drop": None, "bill_baseline": None}, None, ""),
    ("bill_drop", {"bill_drop": 0.3, **HIGH}, "warning", "call"),
    ("outgoing_silence", {"days_silent": 6}, "warning", "call"),
    ("outgoing_silence", {"days_silent": 5}, None, ""),
    ("outgoing_silence", {"days_silent": 8, "active_days_30d": 8}, None, ""),
    ("outgoing_silence", {"days_silent": 9, "active_days_30d": 7}, "warning", "call"),
    ("outgoing_silence", {"days_silent": 13, "active_days_30d": 0}, None, ""),
    ("outgoing_silence", {**SILENT, "active_days_30d": 0}, "warning", "call"),
    ("outgoing_silence", {"days_silent": 13, **HIGH}, "warning", "call"),
    ("outgoing_silence", {**SILENT, **UNTIED}, "critical", "call"),
    ("outgoing_silence", {**SILENT, **HIGH}, "critical", "call"),
    ("outgoing_silence", {**SILENT, "status": "suspended_on_request"}, None, ""),
    ("quiet_newcomer", {**NEW, "days_silent": 3}, "warning", "call"),
    ("quiet_newcomer", {**NEW, "days_silent": 2}, None, ""),
    ("quiet_newcomer", {**NEW, "days_silent": 5, "active_days_30d": 14}, None, ""),
    ("quiet_newcomer", {"tenure_days": 365, "days_silent": 5}, None, ""),
    ("quiet_newcomer", {"tenure_days": None, "days_known": 364, "days_silent": 3}, "warning", "call"),
    ("quiet_newcomer", {"tenure_days": None, "days_known": 365, "days_silent": 3}, None, ""),
    ("quiet_newcomer", {**NEW, "active_days_30d": 2}, "warning", "call"),
    ("quiet_newcomer", {**NEW, "active_days_30d": 3}, None, ""),
    ("quiet_newcomer", {**NEW, "active_days_30d": 2, "days_known": 29}, None, ""),
    ("quiet_newcomer", {**NEW, **SILENT, **HIGH, **MANAGED}, "critical", "manager"),
    ("nothing_charged", IDLE, "notice", ""),
    ("nothing_charged", {**IDLE, **NEW}, "warning", "call"),
    ("nothing_charged", {**IDLE, **NEW, **MANAGED}, "warning", "manager"),
    ("nothing_charged", {**IDLE, **NEW, "recharge_90d": 0}, "critical", "call"),
    ("nothing_charged", {**IDLE, "recharge_90d": 0}, "notice", ""),
    ("nothing_charged", LONG_IDLE, "critical", "call"),
    ("nothing_charged", {**LONG_IDLE, "recharge_90d": 1}, "notice", ""),
    ("nothing_charged", {**LONG_IDLE, "spend_30d": 1}, None, ""),
    ("nothing_charged", {**LONG_IDLE, "recharge_30d": 1}, None, ""),
    ("nothing_charged", {**LONG_IDLE, "days_known": 29}, None, ""),
    ("nothing_charged", {**LONG_IDLE, "status": "suspended_two_way"}, None, ""),
    # A fee is paid: included minutes cost nothing, and where no recharge is known, who is charged elsewhere.
    ("nothing_charged", {**LONG_IDLE, "fee": 1900}, None, ""),
    ("nothing_charged", {**LONG_IDLE, "fee": 1900, "outgoing_30d": 0}, "critical", "call"),
    ("nothing_charged", {**LONG_IDLE, "fee": None, "outgoing_30d": 0, "days_since_recharge": None}, None, ""),
    ("voice_silence", {"voice_30d": 0}, "notice", ""),
    ("voice_silence", {"voice_30d": 1}, None, ""),
    ("voice_silence", {"voice_30d": 0, "outgoing_30d": 0}, None, ""),
    ("voice_silence", {"voice_30d": 0, "forwarding_network": "unicom"}, "warning", "call"),
    ("charged_but_unused", {"outgoing_30d": 0, "days_silent": 30}, "notice", ""),
    ("charged_but_unused", {"outgoing_30d": 0, "days_silent": 3}, None, ""),
    ("charged_but_unused", {"outgoing_30d": 0, "days_silent": 30, "fee_month": 0}, None, ""),
    ("charged_but_unused", {"outgoing_30d": 0, "days_silent": 30, **HIGH}, "warning", "call"),
    ("recharge_overdue", {"days_since_recharge": 21}, "notice", "sms"),
    ("recharge_overdue", {"days_since_recharge": 20}, None, ""),
    ("recharge_overdue", {"days_since_recharge": 99, "recharge_gap_days": None}, None, ""),
    ("recharge_overdue", {"days_since_recharge": 21, "days_silent": 7}, "warning", "call"),
    ("bundle_cancelled", {**UNTIED, "unlinked_reason": "cancelled"}, "warning", "call"),
    ("bundle_cancelled", {**UNTIED, "unlinked_reason": "cancelled", **MANAGED}, "warning", "manager"),
    ("bundle_cancelled", {**UNTIED, "unlinked_reason": "cancelled", "days_unlinked": 31}, None, ""),
    ("bundle_cancelled", {**UNTIED, "unlinked_reason": "replaced"}, None, ""),
    ("bundle_cancelled", {**UNTIED, "unlinked_reason": "cancelled", "status": "cancelled"}, None, ""),
    ("bundle_lapsed", {**UNTIED, "unlinked_reason": "lapsed"}, "notice", "sms"),
    ("bundle_lapsed", {**UNTIED, "unlinked_reason": "lapsed", **SPEND}, "warning", "call"),
    ("bundle_lapsed", {**UNTIED, "unlinked_reason": "cancelled"}, None, ""),
    ("bundle_ending", {"hard_days_left": 60}, "notice", "sms"),
    ("bundle_ending", {"hard_days_left": 14, **MANAGED}, "warning", "manager"),
    ("bundle_ending", {"hard_days_left": 61}, None, ""),
    ("bundle_ending", {"hard_days_left": -1}, None, ""),
    ("bundle_ending", {"hard_days_left": None}, None, ""),
    ("suspended", {"status": "suspended_one_way", "days_in_status": 3}, "notice", "sms"),
    ("suspended", {"status": "suspended_one_way", "days_in_status": 2}, None, ""),
    ("suspended", {"status": "suspended_two_way", "days_in_status": 3, **HIGH}, "critical", "call"),
    ("pre_cancelled", {"event.status": "pre_cancelled"}, "warning", "call"),
    ("pre_cancelled", {"event.status": "pre_cancelled", "status": "pre_cancelled"}, None, ""),
    ("cancelled", {"event.status": "cancelled", "status": "pre_cancelled"}, "notice", ""),
    ("cancelled", {"event.status": "pre_cancelled"}, None, ""),
    ("reactivated", {"event.status": "normal", "status": "suspended_two_way"}, "notice", "sms"),
    ("reactivated", {"event.status": "normal", "status": "pre_cancelled"}, "warning", "call"),
    ("reactivated", {"event.status": "normal"}, None, ""),
    ("forwarding_away", {"event.peer_network": "unicom"}, "warning", "call"),
    ("forwarding_away", {"event.peer_network": "mobile"}, None, ""),
    ("forwarding_away", {"event.peer_network": None}, None, ""),
    ("group_left", {"event.group_id": "G1"}, "notice", ""),
    ("group_left", {"event.group_id": "G1", "event.key_person": True}, "warning", "call"),
    ("group_left", {"event.group_id": "G1", **MANAGED}, "notice", "manager"),
    ("group_left", {"event.group_id": "G1", "status": "cancelled"}, None, ""),
    ("port_queried", {}, "warning", ""),
    ("port_queried", {**HIGH, **MANAGED}, "critical", ""),
    ("port_queried", {"porting": "requested"}, None, ""),
    ("port_requested", {"porting": "code_issued"}, "critical", ""),
    ("port_requested", {"porting": "ported"}, None, ""),
    ("ported", {"porting": "requested"}, "notice", ""),
    ("ported", {"porting": "ported"}, None, ""),
    ("competitor_called", {"event.network": "telecom"}, "notice", ""),
    ("competitor_called", {"event.network": None, "open_complaints": 1}, "warning", "call"),
    ("competitor_called", {"event.network": "mobile"}, None, ""),
    ("device_changed", {"event.generation": "5g"}, "notice", "sms"),
    ("device_changed", {"event.generation": "5g", **MANAGED}, "notice", "manager"),
    ("device_changed", {"status": "cancelled"}, None, ""),
    ("plan_downgraded", {"event.fee_minor": 4800}, "notice", ""),
    ("plan_downgraded", {"event.fee_minor": 2450}, "warning", "call"),
    ("plan_downgraded", {"event.fee_minor": 4900}, None, ""),
    ("plan_downgraded", {"event.fee_minor": 1900, "fee": None}, None, ""),
    ("data_overflow", {"event.measure": "data", "event.total": 9, "event.used": 10}, "notice", "sms"),
    ("data_overflow", {"event.measure": "voice", "event.total": 9, "event.used": 10}, None, ""),
    ("data_overflow", {"event.measure": "data", "event.total": 9, "event.used": 9}, None, ""),
    ("data_overflow", {"event.measure": "data", "event.total": 0, "event.used": 9}, None, ""),
    ("complaint_opened", {"event.topic": "bill"}, "notice", ""),
    ("complaint_opened", {"event.topic": "bill", "open_complaints": 1}, "warning", "call"),
    ("complaint_opened", {"status": "cancelled"}, None, ""),
]


@pytest.fixture(scope="module")
def rulebook() -> Rulebook:
    return load(default_folder(), SIGNALS)


def rule_named(rulebook: Rulebook, name: str) -> Rule:
    return next(rule for rule in rulebook.rules if rule.id == name)


def frame_of(rule: Rule, told: dict[str, Any]) -> pl.DataFrame:
    """One line with all signals, and the fields of the rule's event types."""
    schema = {**STORED, **{f"event.{name}": dtype for on in rule.on for name, dtype in FIELDS[on].items()}}
    assert set(told) <= set(schema)
    return pl.DataFrame([{**dict.fromkeys(schema), **CONTENT, **told}], schema=schema)


def is_true(frame: pl.DataFrame, condition: pl.Expr) -> bool:
    return frame.select(condition.fill_null(value=False).alias("it"))["it"].to_list() == [True]


@pytest.mark.parametrize(("name", "told", "severity", "channels"), CASES)
def test_a_rule_holds_and_orders(
    rulebook: Rulebook, name: str, told: dict[str, Any], severity: str | None, channels: str
) -> None:
    rule = rule_named(rulebook, name)
    frame = frame_of(rule, told)
    assert is_true(frame, rule.when) == (severity is not None)
    if severity is None:
        return
    held = [level for level, condition in rule.severities if is_true(frame, condition)]
    assert ([*held, rule.default_severity])[0] == severity
    judged = frame.with_columns(severity=pl.lit(severity))
    ordered = [order.channel for order in rule.orders if order.when is None or is_true(judged, order.when)]
    assert ",".join(ordered) == channels


@pytest.mark.parametrize(
    ("name", "told", "clears"),
    [
        ("spend_drop", {"spend_30d_drop": 0.2, "spend_30d_drop_vs_cohort": 0.25}, False),
        ("spend_drop", {"spend_30d_drop": 0.2, "spend_30d_drop_vs_cohort": 0.19}, True),
        ("spend_drop", {"spend_30d_drop": 0.0, "spend_30d_drop_vs_cohort": 0.4}, True),
        ("voice_drop", {"voice_30d_drop": 0.2, "voice_30d_drop_vs_cohort": 0.35}, False),
        ("voice_drop", {"voice_30d_drop": 0.2, "voice_30d_drop_vs_cohort": 0.29}, True),
        ("data_drop", {"data_30d_drop": 0.2, "data_30d_drop_vs_cohort": 0.45}, False),
        ("data_drop", {"data_30d_drop": 0.2, "data_30d_drop_vs_cohort": 0.39}, True),
        ("bill_drop", {"bill_drop": 0.25}, False),
        ("bill_drop", {"bill_drop": 0.19}, True),
        ("outgoing_silence", {"days_silent": 6, "active_days_30d": 8}, False),
        ("outgoing_silence", {"days_silent": 5}, True),
        ("quiet_newcomer", {**NEW, "days_silent": 3}, False),
        ("quiet_newcomer", {**NEW, "active_days_30d": 2}, False),
        ("quiet_newcomer", NEW, True),
        ("quiet_newcomer", {"tenure_days": 365, "active_days_30d": 2}, True),
        ("nothing_charged", {"spend_30d": 0, "recharge_30d": 0}, False),
        ("nothing_charged", {"spend_30d": 1, "recharge_30d": 0}, True),
        ("nothing_charged", {"spend_30d": 0, "recharge_30d": 1}, True),
        ("voice_silence", {"voice_30d": 0, "voice_30d_baseline": 20.0}, False),
        ("voice_silence", {"voice_30d": 1}, True),
        ("charged_but_unused", {"outgoing_30d": 0, "fee_month": 0}, False),
        ("charged_but_unused", {"outgoing_30d": 1}, True),
        ("bundle_cancelled", {"days_unlinked": 45}, False),
        ("bundle_cancelled", {"days_unlinked": None}, True),
        ("bundle_lapsed", {"days_unlinked": 61}, True),
        ("bundle_ending", {"hard_days_left": 30}, False),
        ("bundle_ending", {"hard_days_left": 400}, True),
        ("bundle_ending", {"hard_days_left": None}, True),
        ("suspended", {"status": "suspended_one_way"}, False),
        ("suspended", {"status": "normal"}, True),
    ],
)
def test_an_episode_clears(rulebook: Rulebook, name: str, told: dict[str, Any], *, clears: bool) -> None:
    rule = rule_named(rulebook, name)
    assert rule.clear_when is not None
    assert is_true(frame_of(rule, told), rule.clear_when) == clears


def test_every_shipped_rule_has_a_case_that_holds_and_one_that_does_not(rulebook: Rulebook) -> None:
    for rule in rulebook.rules:
        assert {severity is None for name, _, severity, _ in CASES if name == rule.id} == {True, False}, rule.id


def test_a_content_subscriber_meets_no_daily_rule(rulebook: Rulebook) -> None:
    daily = [rule for rule in rulebook.rules if not rule.on]
    assert [rule.id for rule in daily if is_true(frame_of(rule, {}), rule.when)] == []


def test_every_outbound_channel_is_used_and_no_drop_calls_alone(rulebook: Rulebook) -> None:
    assert {order.channel for rule in rulebook.rules for order in rule.orders} == {"call", "sms", "manager"}
    for rule in (rule for rule in rulebook.rules if rule.family == "drops"):
        judged = frame_of(rule, {}).with_columns(severity=pl.lit(rule.default_severity))
        assert not any(is_true(judged, order.when) for order in rule.orders if order.when is not None)
        assert all(order.when is not None for order in rule.orders)


def test_sentences_are_whole_in_both_languages(rulebook: Rulebook) -> None:
    for rule in rulebook.rules:
        known = frame_of(rule, {}).fill_null(7).fill_null("x").to_dicts()[0]
        for template in rule.why.values():
            said = render(template, {**rule.params, **known})
            assert UNKNOWN not in said.replace(" – ", "")  # noqa: RUF001 - the dash of what is unknown
            assert "{" not in said


# Required by the contract, told by the status itself, and part of the drop.
SURELY_TOLD = {("group_left", "event.group_id"), ("reactivated", "days_in_status"), ("bill_drop", "bill_last")}


def test_no_sentence_names_what_may_be_unknown(rulebook: Rulebook) -> None:
    known = {name for name, signal in catalogue().items() if signal.null_when == "never"}
    holding = {name: told for name, told, severity, _ in CASES if severity is not None}
    for rule in rulebook.rules:
        named = {name for template in rule.why.values() for name, _ in placeholders(template)} - rule.params.keys()
        for name in sorted(named - known):
            untold = frame_of(rule, holding[rule.id] | {name: None})
            assert (rule.id, name) in SURELY_TOLD or not is_true(untold, rule.when), f"{rule.id} may not know {name}"


def test_the_list_of_the_never_bundled(rulebook: Rulebook) -> None:
    (roll,) = rulebook.rolls
    frame = pl.DataFrame(
        {"status": ["normal"] * 3, "monthly_value": [10_000, 9_999, 20_000], "ever_bundled": [False, False, True]}
    )
    assert frame.select(it=roll.when)["it"].to_list() == [True, False, False]


def test_segments_and_calendars_are_there(rulebook: Rulebook) -> None:
    told = [(band.measure, band.stable, band.warned) for band in rulebook.bands]
    assert told == [("spend", 0.1, 0.3), ("voice", 0.15, 0.4), ("data", 0.2, 0.5), ("sms", 0.2, 0.5)]
    codes = {dimension.name: dimension.code for dimension in rulebook.dimensions}
    names = ("bundle", "spend", "voice", "data", "tenure", "market", "device")
    assert codes == {name: 100 * number for number, name in enumerate(names, 1)}
    assert {dimension.name: len(codes_of(dimension)) for dimension in rulebook.dimensions} == {
        "bundle": 4,
        "spend": 11,
        "voice": 11,
        "data": 10,
        "tenure": 8,
        "market": 4,
        "device": 4,
    }
    assert rulebook.against == "own"
    assert set(rulebook.bundle_kinds) == {"package", "vpn", "broadband"}
    assert {holiday.name for holiday in rulebook.holidays if holiday.markets == ("campus",)} == {
        "Winter break",
        "Summer break",
    }
    assert len([holiday for holiday in rulebook.holidays if not holiday.markets]) == 14
