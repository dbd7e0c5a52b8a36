"""Whatever bytes come, every record ends in the batch, among the rejects or among the ignored."""

import random
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from service.wire.decode import Decoded, Intake, decode
from service.wire.events import STRUCTS
from service.wire.feedback import decode_feedback
from service.wire.records import Record
from tests.wire.examples import BODIES, NOON_US, PARTITIONS, encoded, event, record

RULES = Intake(PARTITIONS)
VALID = [encoded(event(name)) for name in BODIES]

HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["content-type", "ce_id", "ce_type", "ce_time", "ce_subject", "ce_specversion", "x"]),
        st.one_of(st.binary(max_size=20), st.just(b"application/cloudevents+json"), st.just(b"recharge")),
    ),
    max_size=4,
).map(tuple)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(sorted({name for struct in STRUCTS.values() for name in struct.__struct_fields__}))
CHANGED = st.builds(
    lambda name, changes: encoded(event(name, **changes)),
    st.sampled_from(list(BODIES)),
    st.dictionaries(FIELDS, JSON | st.text(st.characters()), max_size=3),
)
VALUES = st.none() | st.binary(max_size=200) | CHANGED | st.sampled_from(VALID)
KEYS = st.none() | st.just(b"s-1") | st.binary(max_size=10)


def accounted(records: Sequence[Record], found: Decoded) -> bool:
    rows = found.batch.common
    assert sum(frame.height for frame in found.batch.fields.values()) == rows.height
    assert rows["offset"].is_sorted()
    assert not {reject.record.offset for reject in found.rejects} & set(rows["offset"].to_list())
    return len(records) == rows.height + len(found.rejects) + found.ignored.total()


@settings(max_examples=300)
@given(st.lists(st.tuples(VALUES, KEYS, HEADERS, st.integers(-(10**6), 2**62)), max_size=8))
def test_nothing_raises_and_nothing_is_lost(
    drawn: list[tuple[bytes | None, bytes | None, tuple[tuple[str, bytes], ...], int]],
) -> None:
    records = [
        record(value, key, offset, headers=headers, timestamp_us=stamp)
        for offset, (value, key, headers, stamp) in enumerate(drawn)
    ]
    assert accounted(records, decode(records, RULES))
    told = decode_feedback(records, RULES)
    assert len(records) == told.frame.height + len(told.rejects) + told.ignored.total()


def test_random_bytes_and_mutations_of_valid_events_are_all_accounted_for() -> None:
    chance = random.Random(1)
    values = [chance.randbytes(chance.randrange(60)) for _ in range(100_000)]
    values += [_mutated(chance.choice(VALID), chance) for _ in range(50_000)]
    records = [record(value, offset=at) for at, value in enumerate(values)]
    found = decode(records, RULES)
    assert accounted(records, found)
    assert 0 < found.batch.common.height < 50_000
    assert found.batch.common["occurred_us"].max() <= NOON_US + 1_000_000 + RULES.tolerance_us  # type: ignore[operator]  # a column of integers


def _mutated(value: bytes, chance: random.Random) -> bytes:
    changed = bytearray(value)
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(changed))
        match chance.randrange(3):
            case 0:
                changed[at] = chance.randrange(256)
            case 1:
                del changed[at]
            case _:
                changed.insert(at, chance.randrange(256))
    return bytes(changed)
