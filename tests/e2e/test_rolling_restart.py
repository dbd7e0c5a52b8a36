"""Three replicas, restarted one after another while events flow: each answer of each is right, or an honest 503."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import orjson
from aiokafka import AIOKafkaProducer

from tests.doubles.stand import PARTITIONS, home, neighbours
from tests.e2e.asking import Front, addresses, until
from tests.e2e.running import Service, answer, environment, started_service

CITY = [who for partition in range(PARTITIONS) for who in neighbours(partition, 5)]
SETTINGS = {
    "CHURN_HTTP__PEER_TOKEN": "of these replicas alone",
    "CHURN_KAFKA__SESSION_TIMEOUT_MS": "3000",
    "CHURN_KAFKA__HEARTBEAT_INTERVAL_MS": "500",
    "CHURN_SNAPSHOTS__EVERY_RECORDS": "500",
}
SOON_S = 90.0


@dataclass
class Feed:
    """What was told so far: by partition, in the order of the log, whose record it is."""

    told: list[list[str]] = field(default_factory=lambda: [[] for _ in range(PARTITIONS)])
    stop: threading.Event = field(default_factory=threading.Event)

    def counted(self, who: str, cursor: int) -> int:
        """How many messages somebody has sent by the records before a cursor."""
        return self.told[home(who)][:cursor].count(who)

    async def flow(self, bootstrap: str, topic: str) -> None:
        """One record of each in turn until told to stop; their order is known before they are sent."""
        async with AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True) as producer:
            number = 0
            while not self.stop.is_set():
                sending = []
                for who in CITY:
                    number += 1
                    event = {"id": f"e{number}", "type": "usage.sms", "subscriber_id": who, "count": 1}
                    value = orjson.dumps({**event, "occurred_at": "2025-03-01T08:00:00Z"})
                    self.told[home(who)].append(who)
                    sending.append(await producer.send(topic, value, key=who.encode(), partition=home(who)))
                await asyncio.gather(*sending)
                await asyncio.to_thread(self.stop.wait, 0.05)


@contextmanager
def flowing(bootstrap: str, topic: str) -> Iterator[Feed]:
    feed = Feed()
    thread = threading.Thread(target=lambda: asyncio.run(feed.flow(bootstrap, topic)))
    thread.start()
    try:
        yield feed
    finally:
        feed.stop.set()
        thread.join()


@dataclass
class Answers:
    """What was answered, by status; each answer is checked when it comes."""

    feed: Feed
    settled: bool = False  # until then a shard may stand before the first record of somebody
    right: int = 0
    honest: int = 0
    turn: int = 0

    def ask(self, address: str) -> bool:
        """Look the next one up; whether there was an answer of a record."""
        self.turn += 1
        who = CITY[self.turn % len(CITY)]
        try:
            said = httpx.get(f"{address}/v1/subscribers/{who}", timeout=20)
        except httpx.TransportError:
            return False  # nobody is there: no answer at all
        if said.status_code == 503:
            assert said.headers["Retry-After"]
            self.honest += 1
            return False
        if said.status_code == 404 and not self.settled:
            return False
        assert said.status_code == 200, said.text
        record = said.json()
        cursor, partition = record["as_of"]["cursor"], record["as_of"]["partition"]
        assert (record["subscriber_id"], partition) == (who, home(who))
        assert sum(day["sms"] or 0 for day in record["daily"]) == self.feed.counted(who, cursor)
        self.right += 1
        return True


def address_of(service: Service) -> str:
    until(service, lambda: bool(addresses(service)), SOON_S)
    return addresses(service)[0][0]


def test_every_answer_of_every_replica_is_right_or_an_honest_503(
    kafka_bootstrap: str, unique: str, tmp_path: Path
) -> None:
    environ = {**environment(kafka_bootstrap, unique, tmp_path), **SETTINGS}
    answer(environ, "topics", "create")
    with ExitStack() as stack:
        feed = stack.enter_context(flowing(kafka_bootstrap, f"{unique}.usage.events"))
        answers = Answers(feed)
        replicas: list[Service] = []

        def start(number: int) -> Service:
            return stack.enter_context(
                started_service(environ, tmp_path / f"{len(list(tmp_path.iterdir()))}-{number}.log")
            )

        def all_answer() -> bool:
            """Whether each tells of every partition."""
            for replica in replicas:
                address = address_of(replica)
                if not all(answers.ask(address) for _ in CITY):
                    return False
            return True

        replicas += [start(number) for number in range(3)]
        until(replicas[0], all_answer, SOON_S)
        answers.settled, before = True, answers.right
        for number, replica in enumerate(list(replicas)):
            replica.process.terminate()
            others = [one for one in replicas if one is not replica]
            until(others[0], lambda others=others, old=replica: has_ended(old, others, answers), SOON_S)  # type: ignore[misc]  # the defaults are the loop's
            assert replica.process.returncode == 0, replica.last_lines()
            replicas[number] = start(number)
            until(others[0], all_answer, SOON_S)
        assert answers.right > before + 3 * len(CITY)
        for replica in replicas:
            assert Front(replica, address_of(replica)).ask("/readyz").status_code == 200
            replica.process.terminate()
        for replica in replicas:
            assert replica.process.wait(20) == 0, replica.last_lines()


def has_ended(old: Service, others: list[Service], answers: Answers) -> bool:
    """Whether one has; the others are asked meanwhile."""
    for other in others:
        answers.ask(address_of(other))
    return old.process.poll() is not None
