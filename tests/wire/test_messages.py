"""Warnings and orders keep their contract, and are the same whenever they are sent."""

import json
import time
from typing import Any

import polars as pl
import pytest
from jsonschema import Draft202012Validator

from service.wire.messages import Outlet, turn_messages
from service.wire.records import Message
from service.wire.schemas import documents
from service.wire.topics import Topics
from tests.wire.turns import transitions

OUTLET = Outlet(Topics("x."), partition=2, currency="CNY")
CONTRACTS = documents()
SCHEMAS = {"churn.warning": "warning.schema.json", "churn.order": "order.schema.json"}


def headers(message: Message) -> dict[str, str]:
    return {name: value.decode() for name, value in message.headers}


def data(message: Message) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(message.value or b"")
    return told


def sent(*changes: dict[str, Any]) -> list[Message]:
    messages = turn_messages(transitions(*changes), OUTLET)
    for message in messages:
        schema = CONTRACTS[SCHEMAS[headers(message)["ce_type"].rpartition(".")[0]]]
        validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
        told = data(message)
        validator.validate(told)
        assert set(told) == set(schema["$defs"][schema["$ref"].rpartition("/")[2]]["properties"])
    return messages


def test_a_warning_says_all_of_it() -> None:
    warning, _ = sent({})
    assert (warning.topic, warning.partition, warning.key) == ("x.churn.warnings", 2, b"s-1")
    assert headers(warning) == {
        "ce_specversion": "1.0",
        "ce_id": "e1.raised",
        "ce_source": "/churn-warning",
        "ce_type": "churn.warning.raised",
        "ce_subject": "s-1",
        "ce_time": "2013-09-01T00:00:00Z",
        "ce_dataschema": "urn:churn-warning:schema:warning:1",
        "content-type": "application/json",
    }
    assert data(warning) == {
        "warning_id": "e1",
        "subscriber_id": "s-1",
        "transition": "raised",
        "rule": "drop_voice",
        "rule_version": 3,
        "kind": "risk",
        "state": "raised",
        "outcome": None,
        "severity": "warning",
        "raised_on": "2013-08-31",
        "raised_at": "2013-09-01T00:00:00Z",
        "changed_at": "2013-09-01T00:00:00Z",
        "recovering_on": None,
        "resolved_on": None,
        "snoozed_until": None,
        "act_by": "2013-09-03",
        "numbers": {"voice_30d": 41, "voice_30d_baseline": 180.5, "voice_30d_drop": 0.773, "market": None},
        "baseline": 180.5,
        "window": {"measure": "voice", "days": 30, "from": "2013-08-02", "to": "2013-08-31"},
        "money_at_risk_minor": 120_000,
        "currency": "CNY",
        "consent": {"call": True, "sms": False, "manager": None},
        "orders": {"call": "ordered", "sms": "no_consent"},
        "why": {"en": "Calls fell.", "zh": "通话下降。"},
        "market": "campus",
        "area": None,
        "manager": "m-1",
        "acknowledged_by": None,
        "acknowledged_at": None,
    }


def test_an_order_goes_to_each_channel_that_is_ordered() -> None:
    orders = json.dumps({"call": "ordered", "sms": "ordered", "manager": "no_consent"})
    _, call, sms = sent({"orders": orders})
    assert [call.topic, sms.topic] == ["x.outbound.call", "x.outbound.sms"]
    told = headers(sms)
    assert (told["ce_id"], told["ce_type"]) == ("e1.sms", "churn.order.sms")
    assert (data(sms)["order_id"], data(sms)["channel"], data(sms)["warning_id"]) == ("e1.sms", "sms", "e1")


def test_the_restricted_are_told_and_never_ordered() -> None:
    (warning,) = sent({"kind": "restricted", "orders": '{"call": "ordered"}', "measure": None, "window_days": None})
    assert warning.topic == "x.churn.warnings"
    assert (data(warning)["window"], data(warning)["kind"]) == (None, "restricted")


def test_the_standing_are_kept_to_ourselves() -> None:
    assert sent({"suppressed_by": "standing"}) == []


@pytest.mark.parametrize("transition", ["acknowledged", "reopened", "resolved"])
def test_what_follows_orders_nothing_again(transition: str) -> None:
    later = {
        "transition": transition,
        "state": "raised" if transition == "reopened" else transition,
        "changed_us": 1_378_000_000_000_001,
        "acknowledged_by": "m-1",
        "acknowledged_us": 1_378_000_000_000_001,
    }
    (warning,) = sent(later)
    assert headers(warning)["ce_id"] == f"e1.{transition}.1378000000000001", "it may befall a case again"
    assert headers(warning)["ce_time"] == data(warning)["changed_at"] == "2013-09-01T01:46:40.000001Z"


def test_a_bills_baseline_is_its_only_one() -> None:
    numbers = '{"bill_last": 2, "bill_baseline": 9.5}'
    assert data(sent({"numbers": numbers, "measure": None, "window_days": None})[0])["baseline"] == 9.5
    two = '{"bill_baseline": 9.5, "sms_7d_baseline": 1.0}'
    assert data(sent({"numbers": two})[0])["baseline"] is None


def test_ids_of_any_shape_pass() -> None:
    warning, _ = sent({"subscriber_id": '../用户\n"?#'})
    assert warning.key == headers(warning)["ce_subject"].encode() == data(warning)["subscriber_id"].encode()


def test_the_same_turn_gives_the_same_bytes_and_5000_transitions_are_quick() -> None:
    many = transitions(*({"episode_id": f"e{at}"} for at in range(5000)))
    start = time.process_time()
    messages = turn_messages(many, OUTLET)
    assert time.process_time() - start < 2
    assert len(messages) == 10_000
    assert messages == turn_messages(many, OUTLET)


def test_nothing_happened_is_no_message() -> None:
    assert turn_messages(pl.DataFrame(schema=transitions().schema), OUTLET) == []
