"""Records become columns of the core, or rejects with a fault each."""

from collections import Counter
from datetime import date
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from service.core.events import COMMON, FIELDS
from service.wire.decode import MOST_EVENTS, UNMAPPED, Decoded, Intake, decode
from service.wire.events import STRUCTS
from service.wire.rejects import Fault
from tests.wire.examples import BODIES, NOON_US, PARTITIONS, encoded, event, home_of, record

RULES = Intake(partitions=PARTITIONS)
DATES = {
    "resets_on": date(2013, 9, 1),
    "starts_on": date(2013, 1, 1),
    "ends_on": date(9999, 12, 31),
    "birthday": date(1990, 2, 28),
    "activated_on": date(2010, 1, 1),
    "2013-08": 2013 * 12 + 7,
    "2013-07": 2013 * 12 + 6,
}


def decoded(*values: dict[str, Any] | bytes) -> Decoded:
    raw = [value if isinstance(value, bytes) else encoded(value) for value in values]
    return decode([record(value, offset=at) for at, value in enumerate(raw)], RULES)


def fault(value: dict[str, Any] | bytes | None, **changes: Any) -> Fault | None:
    raw = encoded(value) if isinstance(value, dict) else value
    found = decode([record(raw, **changes)], RULES)
    assert found.batch.common.height + len(found.rejects) == 1
    return found.rejects[0].fault if found.rejects else None


def test_structs_have_the_fields_of_the_core() -> None:
    common = {"id", "subscriber_id", "occurred_at"}
    assert {name: set(s.__struct_fields__) - common for name, s in STRUCTS.items()} == {
        name: set(fields) for name, fields in FIELDS.items()
    }


@pytest.mark.parametrize("event_type", list(FIELDS))
def test_every_field_of_every_type_arrives(event_type: str) -> None:
    batch = decoded(event(event_type)).batch
    assert batch.common.schema == pl.Schema(COMMON)
    assert batch.common.row(0, named=True) == {
        "offset": 0,
        "id": f"{event_type}-1",
        "subscriber_id": "s-1",
        "type": event_type,
        "occurred_us": NOON_US,
    }
    frame = batch.fields[event_type]
    assert frame.schema == pl.Schema({**FIELDS[event_type], "at": pl.UInt32()})
    expected = {name: DATES.get(name, DATES.get(str(value), value)) for name, value in BODIES[event_type].items()}
    assert frame.row(0, named=True) == {**expected, "at": 0}


@pytest.mark.parametrize("event_type", list(FIELDS))
def test_optional_fields_may_be_absent_or_null(event_type: str) -> None:
    struct = STRUCTS[event_type]
    count = len(struct.__struct_defaults__)
    optional = set(struct.__struct_fields__[len(struct.__struct_fields__) - count :]) - {"seconds"}
    absent = decoded(event(event_type, **dict.fromkeys(optional, ...)))
    null = decoded(event(event_type, **dict.fromkeys(optional)))
    assert absent.rejects == null.rejects == []
    assert_frame_equal(absent.batch.fields[event_type], null.batch.fields[event_type])


def test_rows_keep_the_order_of_offsets_and_point_at_their_event() -> None:
    batch = decoded(event("recharge", id="a"), event("usage.sms", id="b"), event("recharge", id="c")).batch
    assert batch.common["id"].to_list() == ["a", "b", "c"]
    assert batch.fields["recharge"]["at"].to_list() == [0, 2]
    assert batch.fields["usage.sms"]["at"].to_list() == [1]
    assert batch.end == 3


def test_a_bad_line_costs_its_neighbours_nothing() -> None:
    found = decoded(event("recharge", id="a"), b"{", event("charge", id="b", amount_minor=-1), event(id="c"))
    assert found.batch.common["id"].to_list() == ["a", "c"]
    assert found.batch.common["offset"].to_list() == [0, 3]
    assert found.batch.fields["recharge"]["at"].to_list() == [0, 1]
    assert "charge" not in found.batch.fields
    assert [reject.record.offset for reject in found.rejects] == [1, 2]
    assert found.batch.end == 4


def test_unknown_types_are_counted_and_unknown_fields_ignored() -> None:
    found = decoded(event("usage.fax"), event("usage.fax"), event(shoe_size=44), {"type": "x" * 1000})
    assert found.ignored == Counter({"usage.fax": 2, "x" * 64: 1})
    assert found.batch.common.height == 1
    assert found.rejects == []


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"{",
        b"not json",
        b"\xff\xfe",
        b'{"type":"recharge","x":' + b"[" * 100_000,
        encoded(event(id="\ud800")),
        encoded(event()).replace(b'"s-1"', b'"s-\\ud800"'),
    ],
)
def test_what_is_no_json_text_is_malformed(value: bytes | None) -> None:
    assert fault(value) is Fault.MALFORMED


@pytest.mark.parametrize(
    "value",
    [
        b"null",
        b'{"type":"recharge"}\n{"type":"recharge"}',
        b"[" * 100_000,
        b"[]",
        b"{}",
        b'{"type":null}',
        b'{"type":5}',
        event(id=...),
        event(id=""),
        event(id=7),
        event(id="x" * 257),
        event(id="a\0b"),
        event(subscriber_id=...),
        event(subscriber_id=""),
        event(occurred_at=...),
        event(amount_minor="5"),
        event(amount_minor=5.0),
        event(amount_minor=True),
        event(amount_minor=None),
        event(amount_minor=10**13 + 1),
        event(amount_minor=-(10**400)),
        event("usage.data", bytes=-1),
        event("usage.sms", count=-1),
        event("usage.voice", seconds=-1),
        event("usage.voice", direction="sideways"),
        event("usage.voice", seconds=None, billed_minutes=...),
        event("charge", kind="gift"),
        event("charge", amount_minor=-1),
        event("charge", kind="refund", amount_minor=1),
        event("charge", bill_month="2013-13"),
        event("charge", bill_month="2013-8"),
        event("bill.closed", bill_month="August"),
        event("quota", resets_on="2013-02-29"),
        event("quota", resets_on="2013-9-1"),
        event("subscriber.profile", birthday="0001-01-01"),
        event("subscriber.status", status="asleep"),
        event("consent.changed", granted="yes"),
    ],
)
def test_impossible_fields_are_invalid(value: dict[str, Any] | bytes) -> None:
    assert fault(value) is Fault.INVALID


@pytest.mark.parametrize(
    "value",
    [
        event(amount_minor=-5000),
        event("charge", kind="refund", amount_minor=-1),
        event("charge", kind="refund", amount_minor=0),
        event("usage.voice", seconds=None, billed_minutes=1),
        event("usage.voice", direction=None),
        event("quota", used=10**13),
        event(id="a/b\\c\"d'\u2028"),
    ],
)
def test_what_is_unusual_and_possible_counts(value: dict[str, Any]) -> None:
    assert fault(value) is None


@pytest.mark.parametrize(
    ("text", "time_us"),
    [
        ("2013-08-31T12:00:00Z", NOON_US),
        ("2013-08-31T20:00:00+08:00", NOON_US),
        ("2013-08-31T12:00:00.000001Z", NOON_US + 1),
        ("2013-08-31T12:00:00.123456789-00:00", NOON_US + 123_456),
        ("1970-01-01T00:00:00Z", 0),
        ("2013-08-31T12:00:00", None),
        ("2013-08-31", None),
        ("2013-02-30T12:00:00Z", None),
        ("1969-12-31T23:59:59Z", None),
        ("+12013-08-31T12:00:00Z", None),
        ("99999-08-31T12:00:00Z", None),
        ("1377950400", None),
        ("", None),
        (1377950400, None),
    ],
)
def test_times_need_an_offset_and_a_sane_year(text: object, time_us: int | None) -> None:
    found = decoded(event(occurred_at=text))
    assert found.batch.common["occurred_us"].to_list() == ([] if time_us is None else [time_us])


def test_dated_beyond_the_brokers_time_plus_the_tolerance_is_rejected() -> None:
    assert fault(event(), timestamp_us=NOON_US - RULES.tolerance_us) is None
    assert fault(event(), timestamp_us=NOON_US - RULES.tolerance_us - 1) is Fault.FUTURE
    assert fault(event(), timestamp_us=-1000) is None  # the broker told no time


def test_key_and_subscriber_have_to_be_the_same_bytes() -> None:
    assert fault(event(), key=None) is Fault.NO_KEY
    assert fault(event(), key="s-2") is Fault.WRONG_KEY
    assert fault(event(), key=b"") is Fault.WRONG_KEY
    assert fault(event(), key=b"\xff") is Fault.WRONG_KEY
    assert fault(event(subscriber_id="用户"), key="用户") is None


@pytest.mark.parametrize("partitioner", ["murmur2", "crc32", "any"])
def test_a_key_has_to_be_where_its_partitioner_puts_it(partitioner: Any) -> None:
    home = home_of(b"s-1", PARTITIONS, partitioner)
    rules = Intake(PARTITIONS, partitioner)
    records = [record(encoded(event()), offset=at, partition=at) for at in range(PARTITIONS)]
    found = decode(records, rules)
    strangers = {reject.record.partition for reject in found.rejects}
    assert strangers == (set() if partitioner == "any" else set(range(PARTITIONS)) - {home})
    assert all(reject.fault is Fault.WRONG_PARTITION for reject in found.rejects)


def test_no_records_make_an_empty_batch() -> None:
    found = decode([], RULES, end=17)
    assert found.batch.common.schema == pl.Schema(COMMON)
    assert (found.batch.common.height, found.batch.end) == (0, 17)


def test_a_mapped_record_carries_several_events_or_none_or_a_reason() -> None:
    def expand(values: list[bytes]) -> list[list[bytes] | str]:
        return [OPERATOR[value] for value in values]

    one, two = encoded(event(id="a")), encoded(event("usage.sms", id="b"))
    OPERATOR: dict[bytes, list[bytes] | str] = {  # noqa: N806 - a table
        b"both": [one, two],
        b"none": [],
        b"bad": "no such column",
        b"half": [one, b"{"],
        b"mine": [two, encoded({"type": "usage.fax"})],
        b"many": [one] * (MOST_EVENTS + 1),
    }
    records = [record(value, offset=at) for at, value in enumerate(OPERATOR)]
    found = decode(records, Intake(PARTITIONS, expand=expand))
    assert found.batch.common["offset"].to_list() == [0, 0, 4]
    assert found.batch.common["id"].to_list() == ["a", "b", "b"]
    assert found.batch.fields["usage.sms"]["at"].to_list() == [1, 2]
    assert found.ignored == Counter({UNMAPPED: 1, "usage.fax": 1})
    assert [(r.record.value, r.fault) for r in found.rejects] == [
        (b"bad", Fault.UNMAPPED),
        (b"half", Fault.MALFORMED),
        (b"many", Fault.UNMAPPED),
    ]


def test_a_mapped_record_with_one_impossible_event_is_rejected_whole() -> None:
    def expand(values: list[bytes]) -> list[list[bytes] | str]:
        return [[encoded(event(id="a")), value] for value in values]

    records = [record(encoded(event("charge", amount_minor=-1)))]
    found = decode(records, Intake(PARTITIONS, expand=expand))
    assert found.batch.common.is_empty()
    assert len(found.rejects) == 1


def test_a_record_that_makes_the_mapping_fail_costs_only_itself() -> None:
    def expand(values: list[bytes]) -> list[list[bytes] | str]:
        if b"bad" in values:
            raise ZeroDivisionError
        return [[value] for value in values]

    records = [
        record(encoded(event("recharge"))),
        record(b"bad", offset=2),
        record(encoded(event("recharge")), offset=3),
    ]
    found = decode(records, Intake(PARTITIONS, expand=expand))
    assert found.batch.common.height == 2
    assert [(r.record.offset, r.fault, r.reason) for r in found.rejects] == [
        (2, Fault.UNMAPPED, "the mapping fails: ZeroDivisionError")
    ]
