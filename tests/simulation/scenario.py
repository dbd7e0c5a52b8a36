"""What a seed stands for: how many of everything, how often what goes wrong, and the events that arrive meanwhile."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from service.core.books import Books, Publication
from service.core.calendar import to_day
from service.core.rules import Book
from service.core.state import Config
from service.ports import Message
from service.shard import Terms
from service.wire.decode import Intake
from service.wire.partitioning import partition_of
from tests.core.rulebooks import MIXED, OTHER
from tests.doubles.stand import BEGIN, HOUR_US, TOPICS, micros
from tests.simulation.chance import Chance

SPEED = 7200.0  # of days, beside seconds: twelve of these are one of those
WINDOWS = (1, 7)
HORIZON_DAYS = 3
_HOUR_S = 3600 / SPEED
LARGEST = 16_000  # bytes of a value that the broker takes


@dataclass(frozen=True)
class Scenario:
    """Drawn from a seed; shares are of requests, transactions or writes."""

    seed: int
    machines: int
    partitions: int
    subscribers: int  # of a partition
    days: int
    wall: bool
    slice: int  # transitions that a slice of a close is planned for
    cores: int
    lost: float
    aborted: float
    unknown: float
    timed_out: float
    disk_failing: float
    disk_deadly: float
    disk_away: float
    blows_every_s: float  # between what befalls whole machines, the group or the broker
    struck: float  # share of commits after which a machine is killed at once
    transactional: float  # share of events that are fed in transactions
    terms: Terms = field(repr=False)

    @property
    def feed_s(self) -> float:
        return self.days * 24 * _HOUR_S


@dataclass(frozen=True)
class Arrival:
    """A message of the feed, when it is sent, and what must become of it: counts, bad or strange."""

    at_s: float
    message: Message
    fate: str
    told: dict[str, Any] = field(default_factory=dict)


def draw(seed: int) -> Scenario:
    chance = Chance(seed, "scenario")
    partitions, wall = chance.choice([2, 2, 2, 2, 3, 4]), chance.happens(0.35)
    turn_records = chance.choice([16, 80, 400])
    terms = Terms(
        rulebook=_book(Chance(seed, "rulebook")),
        intake=Intake(partitions),
        config=Config(windows_days=WINDOWS, horizon_days=HORIZON_DAYS, roaming_horizon_days=5),
        topics=TOPICS,
        wall=wall,
        turn_records=turn_records,
        turn_interval_s=chance.choice([0.0, 0.5, 1.0, 1.0, 2.0, 2.0]),
        mirror_interval_s=chance.choice([0.2, 1.0]),
        snapshot_records=chance.choice([8, 25, 10**6]),
        snapshot_interval_s=chance.choice([8.0, 600.0]),
        memory_bytes=1 << 40,
    )
    calm = chance.happens(0.1)
    return Scenario(
        seed=seed,
        machines=chance.choice([1, 2, 2, 3]),
        partitions=partitions,
        subscribers=chance.choice([2, 3, 3, 4]),
        days=chance.choice([2, 2, 3, 3]),
        wall=wall,
        slice=chance.choice([1, 1, 2, 4000]),
        cores=chance.choice([1, 2]),
        lost=0.0 if calm else chance.choice([0.0, 0.001, 0.01]),
        aborted=chance.choice([0.0, 0.05, 0.2]),
        unknown=chance.choice([0.0, 0.05, 0.2]),
        timed_out=chance.choice([0.0, 0.02, 0.1]),
        disk_failing=chance.choice([0.0, 0.0, 0.02, 0.2]),
        disk_deadly=chance.choice([0.0, 0.0, 0.02]),
        disk_away=chance.choice([0.0, 0.0, 0.01]),
        blows_every_s=1e9 if calm else chance.choice([2.0, 4.0, 10.0]),
        struck=0.0 if calm else chance.choice([0.0, 0.05, 0.15]),
        transactional=chance.choice([0.0, 0.1, 0.3]),
        terms=terms,
    )


def _book(chance: Chance) -> Book:
    """Rules that stay the same, or that others take the place of on a day, with a roll-back perhaps."""
    if chance.happens(0.4):
        return MIXED
    first = to_day(BEGIN.date())
    switched = first + chance.choice([1, 1, 2])
    publications = [Publication(OTHER.hash, switched, 1, "", "")]
    if chance.happens(0.5):
        publications.append(Publication(MIXED.hash, switched + chance.choice([0, 1]), 2, "", ""))
    return Books(MIXED, {one.hash: one for one in (MIXED, OTHER)}, tuple(publications))


def arrivals(scenario: Scenario) -> list[Arrival]:
    """The feed, in the order of sending."""
    chance = Chance(scenario.seed, "feed")
    feed: list[Arrival] = []
    for partition in range(scenario.partitions):
        for number, who in enumerate(_residents(partition, scenario)):
            for hour, kind, fields in _life(number, scenario.days, chance):
                feed += _sent(_event(len(feed), who, kind, hour, fields), partition, hour, chance)
        feed += _unreadable(partition, scenario, chance)
    return sorted(feed, key=lambda arrival: arrival.at_s)


def _residents(partition: int, scenario: Scenario) -> list[str]:
    names = (f"s{number}" for number in itertools.count())
    home = (name for name in names if partition_of(name.encode(), scenario.partitions, "murmur2") == partition)
    return list(itertools.islice(home, scenario.subscribers))


def _life(number: int, days: int, chance: Chance) -> Iterator[tuple[float, str, dict[str, Any]]]:
    """(hour, type, fields) of a subscriber's events: some fall silent half way, some complain, some leave."""
    joined = {"activated_on": "2010-01-01"}
    yield 0.1 + number / 100, "consent.changed", {"channel": "call", "granted": chance.happens(0.8)}
    yield 0.2 + number / 100, "subscriber.profile", {"fee_minor": 5, "market": "campus", **joined}
    silent_from = chance.choice([days, days, days // 2])
    for day in range(days):
        hour = 24 * day + 7 + chance.random() * 15
        if chance.happens(0.1):
            yield hour, "subscriber.profile", {"fee_minor": chance.randrange(8)}
        if chance.happens(0.15):
            yield hour, "complaint.opened", {"complaint_id": f"c{day}", "topic": "coverage"}
        if chance.happens(0.03):
            yield hour, "subscriber.status", {"status": chance.choice(["cancelled", "normal"])}
        if day < silent_from:
            yield hour, "usage.voice", {"seconds": 60 * chance.randrange(1, 9)}
            if chance.happens(0.6):
                yield hour + 0.2, "charge", {"amount_minor": chance.randrange(50, 700), "kind": "usage"}


def _event(number: int, who: str, kind: str, hour: float, fields: dict[str, Any]) -> dict[str, Any]:
    at_us = micros(BEGIN) + int(hour * HOUR_US)
    occurred_at = datetime.fromtimestamp(at_us / 1e6, UTC).isoformat()
    return {"id": f"e{number}", "type": kind, "subscriber_id": who, "occurred_at": occurred_at, **fields}


def _sent(told: dict[str, Any], partition: int, hour: float, chance: Chance) -> Iterator[Arrival]:
    """An event as it arrives: a little later, now and then days later, now and then once more."""
    late = chance.uniform(20, 110) if chance.happens(0.06) else chance.expovariate(2)
    message = Message(TOPICS.usage, partition, told["subscriber_id"].encode(), orjson.dumps(told))
    yield Arrival((hour + 0.02 + late) * _HOUR_S, message, "counts", told)
    if chance.happens(0.06):
        yield Arrival((hour + late + chance.uniform(0.05, 60)) * _HOUR_S, message, "counts", told)


def _unreadable(partition: int, scenario: Scenario, chance: Chance) -> Iterator[Arrival]:
    who = _residents(partition, scenario)[0]
    for number in range(scenario.days * 2):
        hour = chance.uniform(0.5, 24 * scenario.days)
        at_s = hour * _HOUR_S
        if chance.happens(0.4):
            strange = _event(number, who, "usage.telegraph", hour, {})
            yield Arrival(at_s, Message(TOPICS.usage, partition, who.encode(), orjson.dumps(strange)), "strange")
            continue
        bad: bytes = chance.choice(
            [b"no JSON", b"{" * LARGEST * 2, orjson.dumps(_event(number, who, "charge", hour + 99, {}))]
        )
        yield Arrival(at_s, Message(TOPICS.usage, partition, who.encode(), bad), "bad")
