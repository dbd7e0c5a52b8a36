"""A hundred thousand random byte strings and fifty thousand spoiled events among valid ones: all are accounted for."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiokafka import ConsumerRecord

from tests.e2e.asking import Front, front_of
from tests.e2e.running import PARTITIONS, answer, committed, completed, environment, running_service
from tests.e2e.sending import Headers, Sent, send
from tests.wire.examples import BODIES, encoded, event, home_of

RANDOM, SPOILED, VALID = 100_000, 50_000, 50_000
ACCOUNTED_WITHIN_S = 120.0
FATES = ("counted", "late", "repeated", "rejected", "ignored")
TOLD = ("topic", "partition", "offset", "stage", "exception.class.name", "exception.message")


class Noise:
    """Records good and bad; the same seed gives the same, but for the day on which they happen."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.noon = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=2)

    def records(self) -> list[Sent]:
        mixed = [*self.random(RANDOM), *self.spoiled(SPOILED), *self.valid(VALID)]
        self.chance.shuffle(mixed)
        return mixed

    def random(self, count: int) -> Iterator[Sent]:
        """Bytes under keys, places and headers that have nothing to do with them."""
        names = ("content-type", "ce_id", "ce_type", "ce_time", "ce_specversion", "x")
        for _ in range(count):
            value = None if self.chance.random() < 0.01 else self.chance.randbytes(self.chance.randrange(60))
            key = None if self.chance.random() < 0.1 else self.chance.randbytes(self.chance.randrange(1, 12))
            headers: Headers = ()
            if self.chance.random() < 0.1:
                headers = ((self.chance.choice(names), self.chance.randbytes(8)), ("ce_type", b"recharge"))
            yield Sent(self.chance.randrange(PARTITIONS), key, value, headers)

    def spoiled(self, count: int) -> Iterator[Sent]:
        """Events of every type with some bytes changed, lost or added; a few on a partition that is not theirs."""
        for number in range(count):
            key, whole = self.event(self.chance.choice(list(BODIES)), f"spoiled-{number}")
            home = home_of(key) if number % 50 else self.chance.randrange(PARTITIONS)
            yield Sent(home, key, self.spoil(whole))

    def valid(self, count: int) -> Iterator[Sent]:
        """Usage that counts; each tenth is told twice."""
        for number in range(count):
            key, whole = self.event("usage.data", f"valid-{number - (number % 10 == 9)}", f"v-{number // 2 % 5_000}")
            yield Sent(home_of(key), key, whole)

    def event(self, kind: str, name: str, subscriber: str | None = None) -> tuple[bytes, bytes]:
        subscriber = subscriber or f"s-{self.chance.randrange(3_000)}"
        at = self.noon + timedelta(seconds=self.chance.randrange(3_600))
        told: dict[str, Any] = {"id": name, "subscriber_id": subscriber, "occurred_at": at.isoformat()}
        return subscriber.encode(), encoded(event(kind, **told))

    def spoil(self, value: bytes) -> bytes:
        changed = bytearray(value)
        for _ in range(self.chance.randrange(1, 4)):
            at = self.chance.randrange(len(changed))
            match self.chance.randrange(3):
                case 0:
                    changed[at] = self.chance.randrange(256)
                case 1:
                    del changed[at]
                case _:
                    changed.insert(at, self.chance.randrange(256))
        return bytes(changed)


@pytest.fixture(scope="module")
def records() -> list[Sent]:
    return Noise(1).records()


def test_nothing_falls_or_stalls_and_every_record_is_accounted_for(
    kafka_bootstrap: str, unique: str, tmp_path: Path, records: list[Sent]
) -> None:
    environ = environment(kafka_bootstrap, unique, tmp_path)
    environ["CHURN_KAFKA__BREAKER_SHARE"] = "1"  # three quarters of them are bad
    answer(environ, "topics", "create")
    with running_service(environ, tmp_path / "service.log") as service:
        front = front_of(service)
        completed(send(kafka_bootstrap, f"{unique}.usage.events", records))
        front.until(lambda: front.total("churn_records_in_total") == len(records), ACCOUNTED_WITHIN_S)
        counts = {fate: front.total(f"churn_records_{fate}_total") for fate in FATES}
        assert_still_takes_events(front, kafka_bootstrap, unique)
    log = service.log.read_text()
    assert "Traceback" not in log
    assert "falls" not in log
    assert sum(counts.values()) == len(records), counts
    assert min(counts.values()) > 0, counts
    assert counts["counted"] > VALID * 0.8
    assert counts["repeated"] >= VALID // 10
    topics = [f"{unique}.{name}" for name in ("usage.events", "usage.dead-letters", "usage.late")]
    found = completed(committed(kafka_bootstrap, topics))
    assert len(found[topics[1]]) == counts["rejected"]
    assert len(found[topics[2]]) == counts["late"]
    assert_letters_are_what_was_sent(found[topics[0]], found[topics[1]])


def assert_still_takes_events(front: Front, bootstrap: str, unique: str) -> None:
    """One event more for each shard, and its subscriber's record."""
    for partition in range(PARTITIONS):
        subscriber = next(name for name in (f"last-{n}" for n in range(100)) if home_of(name.encode()) == partition)
        told = event("usage.data", id="last", subscriber_id=subscriber, occurred_at=datetime.now(UTC).isoformat())
        completed(send(bootstrap, f"{unique}.usage.events", [Sent(partition, subscriber.encode(), encoded(told))]))
        front.until(lambda at=subscriber: front.ask(f"/v1/subscribers/{at}").status_code == 200)  # type: ignore[misc]  # bound early
    assert front.ask("/readyz").status_code == 200


def assert_letters_are_what_was_sent(log: Sequence[ConsumerRecord], letters: Sequence[ConsumerRecord]) -> None:
    """Each dead letter is its record, byte for byte, with where it stood and why it is there; none comes twice."""
    sent = {(one.partition, one.offset): one for one in log}
    places: Counter[tuple[int, int]] = Counter()
    for letter in letters:
        told = {name.removeprefix("__connect.errors."): value for name, value in letter.headers}
        place = int(told["partition"]), int(told["offset"])
        original = sent[place]
        assert (letter.key, letter.value) == (original.key, original.value)
        assert tuple(letter.headers)[: len(original.headers)] == tuple(original.headers)
        assert all(told[name] for name in TOLD)
        assert told["topic"].decode() == original.topic
        places[place] += 1
    assert max(places.values()) == 1
