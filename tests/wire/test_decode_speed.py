"""Bad lines cost what they are, not the speed of the batch: printed beside a clean batch (pytest -s shows it)."""

import time

from service.wire.decode import Intake, decode
from service.wire.records import Record
from tests.wire.examples import PARTITIONS, encoded, event, record

COUNT = 20_000
SHAPES = [
    ("usage.voice", {"seconds": 75, "billed_minutes": 2, "direction": "out", "peer_network": "other", "roaming": ...}),
    ("usage.data", {"bytes": 31_000_000, "rat": "4g", "in_package": True, "roaming": ...}),
    ("charge", {"amount_minor": 12, "kind": "usage", "bill_month": "2013-08"}),
    ("usage.sms", {"count": 1, "direction": "out", "roaming": ...}),
]


def records(bad_every: int) -> list[Record]:
    made = []
    for at in range(COUNT):
        event_type, body = SHAPES[at % len(SHAPES)]
        who = f"86-{at % 5000:09d}"
        value = encoded(event(event_type, subscriber_id=who, id=f"{event_type}-{at}", **body))
        made.append(record(value[:-9] if bad_every and at % bad_every == 0 else value, who, at))
    return made


def events_per_second(batch: list[Record]) -> float:
    took = []
    for _ in range(5):
        start = time.process_time()
        decode(batch, Intake(PARTITIONS))
        took.append(time.process_time() - start)
    return len(batch) / min(took)


def test_one_bad_line_in_a_hundred_leaves_the_speed() -> None:
    clean, spoilt = events_per_second(records(0)), events_per_second(records(100))
    print(f"decode: {clean:,.0f} events/s, with 1 % bad lines {spoilt:,.0f}")  # noqa: T201 - the figure is the point
    assert spoilt > clean / 2
