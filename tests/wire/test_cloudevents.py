"""Events in envelopes and beside headers tell the same as plain ones."""

import json
from base64 import b64encode
from typing import Any

import pytest

from service.wire.cloudevents import unwrap
from service.wire.decode import Intake, decode
from service.wire.records import Record
from service.wire.rejects import UNREADABLE, Fault
from tests.wire.examples import NOON_US, PARTITIONS, encoded, event, record

ATTRIBUTES = {
    "specversion": "1.0",
    "id": "recharge-1",
    "type": "recharge",
    "source": "/charging",
    "subject": "s-1",
    "time": "2013-08-31T12:00:00Z",
}
BARE = {"amount_minor": 5000}
STRUCTURED = (("content-type", b"application/cloudevents+json; charset=UTF-8"),)


def binary(data: dict[str, Any], **attributes: str) -> Record:
    told = ATTRIBUTES | attributes
    headers = [(f"ce_{name}", text.encode()) for name, text in told.items()]
    return record(encoded(data), headers=(*headers, ("content-type", b"application/json")))


def structured(envelope: dict[str, Any]) -> Record:
    return record(encoded(envelope), headers=STRUCTURED)


def row(found: Record) -> dict[str, Any]:
    batch = decode([found], Intake(PARTITIONS)).batch
    return {**batch.common.row(0, named=True), **batch.fields["recharge"].row(0, named=True)}


EXPECTED = {
    "offset": 0,
    "id": "recharge-1",
    "subscriber_id": "s-1",
    "type": "recharge",
    "occurred_us": NOON_US,
    "amount_minor": 5000,
    "at": 0,
}


@pytest.mark.parametrize(
    "wrapped",
    [
        record(encoded(event())),
        record(encoded(event()), headers=(("traceparent", b"00-1-2-3"),)),
        binary(BARE),
        binary(event()),
        structured({**ATTRIBUTES, "data": BARE}),
        structured({**ATTRIBUTES, "data": event()}),
        structured({**ATTRIBUTES, "data_base64": b64encode(encoded(BARE)).decode()}),
    ],
)
def test_every_mode_tells_the_same(wrapped: Record) -> None:
    assert row(wrapped) == EXPECTED


def test_the_data_goes_before_its_envelope() -> None:
    assert row(binary(event(), id="other", type="np.ported", subject="s-9", time="2000-01-01T00:00:00Z")) == EXPECTED


@pytest.mark.parametrize("data", [{"data": {}}, {"data": None}, {}])
def test_an_event_without_fields_needs_no_data(data: dict[str, Any]) -> None:
    told = {**ATTRIBUTES, "type": "subscriber.activated", **data}
    found = decode([structured(told)], Intake(PARTITIONS))
    assert found.batch.common["type"].to_list() == ["subscriber.activated"]


def test_an_unknown_type_in_the_headers_is_ignored() -> None:
    found = decode([binary(BARE, type="com.example.else")], Intake(PARTITIONS))
    assert dict(found.ignored) == {"com.example.else": 1}


@pytest.mark.parametrize(
    "broken",
    [
        structured({**ATTRIBUTES, "specversion": "0.3", "data": BARE}),
        structured({"data": BARE}),
        structured({**ATTRIBUTES, "data": [1]}),
        structured({**ATTRIBUTES, "data_base64": "%%%"}),
        record(b"{", headers=STRUCTURED),
        record(b"[]", headers=(("ce_id", b"1"),)),
        record(encoded(BARE), headers=(("ce_id", b"\xff"),)),
        record(b"[]", headers=(("content-type", b"application/cloudevents-batch+json"),)),
    ],
)
def test_a_broken_envelope_is_rejected(broken: Record) -> None:
    found = decode([broken], Intake(PARTITIONS))
    (reject,) = found.rejects
    assert reject.fault in (Fault.MALFORMED, Fault.INVALID)


def test_a_mapping_sees_the_data_alone() -> None:
    assert json.loads(unwrap(structured({**ATTRIBUTES, "data": BARE}), fill=False)) == BARE
    assert json.loads(unwrap(binary(BARE), fill=False)) == BARE


def test_no_value_is_no_event() -> None:
    with pytest.raises(UNREADABLE, match="no value"):
        unwrap(record(None, headers=STRUCTURED))
