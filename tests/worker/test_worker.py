"""The worker: it hosts what the group assigns, polls for what has room, answers, and ends in order."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from service.ports import Message, NotReady, Snapshot, StoredPiece, WarningQuery
from service.shard import World
from service.worker import Summary, Worker
from service.worker.memory import BASE_BYTES
from tests.doubles.broker import MemoryIntake, MemorySender, until
from tests.doubles.stand import (
    BEGIN,
    GROUP,
    PARTITIONS,
    TOPICS,
    MemoryStore,
    Stand,
    home,
    month,
    neighbours,
    transactional_id,
    usage,
)

CITY = [who for partition in range(PARTITIONS) for who in neighbours(partition, 6)]
MONTH = month(CITY, days=8)


def worker_on(stand: Stand, world: World | None = None) -> Worker:
    intake = MemoryIntake(stand.broker, [TOPICS.usage, TOPICS.feedback], GROUP)
    return Worker(world or stand.world, stand.terms, intake, MemorySender(stand.broker))


@asynccontextmanager
async def working(stand: Stand, world: World | None = None, worker: Worker | None = None) -> AsyncIterator[Worker]:
    worker = worker or worker_on(stand, world)
    task = asyncio.create_task(worker.run())
    try:
        yield worker
        await worker.stop(10)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def all_committed(stand: Stand) -> Callable[[], bool]:
    def done() -> bool:
        stand.clock.advance(timedelta(milliseconds=20))
        return all(
            stand.broker.committed.get((GROUP, TOPICS.usage, number)) == partition.high_watermark
            for number, partition in enumerate(stand.broker.topics[TOPICS.usage])
            if partition.high_watermark
        )

    return done


def ready(worker: Worker) -> Callable[[], bool]:
    return lambda: bool(worker.readiness()["ready"])


@pytest.fixture(scope="module")
def expected() -> list[set[Any]]:
    """What one undisturbed worker says, by partition."""

    async def live() -> list[set[Any]]:
        stand = Stand()
        stand.feed(MONTH)
        async with working(stand):
            await until(all_committed(stand), 60)
        return [set(stand.said(partition)) for partition in range(PARTITIONS)]

    return asyncio.run(live())


async def test_a_worker_refuses_what_does_not_fit_into_memory_and_lives_with_the_rest() -> None:
    stand = Stand(memory_bytes=BASE_BYTES + 100_000_000)
    stand.feed(MONTH)
    stand.store.held = {2: 1_000_000_000}
    async with working(stand) as worker:
        others = [number for number in range(PARTITIONS) if number != 2]
        await until(lambda: sorted(worker.readiness()["shards"]) == others)
        await until(lambda: set(worker.readiness()["shards"].values()) == {"running"})
        told = worker.readiness()
        assert (told["ready"], told["reason"]) == (
            False,
            "Partitions 2 do not fit into memory: start another worker.",
        )


async def test_a_worker_is_ready_when_all_its_shards_run() -> None:
    stand = Stand()
    worker = worker_on(stand)
    assert worker.readiness()["ready"] is False
    async with working(stand) as worker:
        await until(ready(worker))
        said = worker.readiness()
        assert said["shards"] == dict.fromkeys(range(PARTITIONS), "running")
        assert (said["live"], said["broker"], said["reason"]) == (True, True, None)
    assert "stopping" in worker.readiness()["reason"]


async def test_shards_that_fall_before_their_first_commit_miss_nothing(expected: list[set[Any]]) -> None:
    stand = Stand(turn_records=10)
    stand.feed(MONTH)
    for partition in range(PARTITIONS):
        stand.broker.faults[transactional_id(partition)].append("fence")
    async with working(stand):
        await until(all_committed(stand), 60)
    assert stand.witness.results.count("fenced") == PARTITIONS
    assert sum(turn.counts.counted for turn in stand.witness.turns) == len(MONTH)
    assert [set(stand.said(partition)) for partition in range(PARTITIONS)] == expected


async def test_two_workers_say_what_one_says(expected: list[set[Any]]) -> None:
    stand = Stand(turn_records=60)
    stand.feed(MONTH)
    async with working(stand) as one:
        await until(lambda: len(stand.said()) > 10, 30)
        async with working(stand) as two:
            await until(lambda: ready(one)() and ready(two)(), 30)
            assert one.readiness()["shards"].keys() | two.readiness()["shards"].keys() == set(range(PARTITIONS))
            await until(all_committed(stand), 60)
    assert [set(stand.said(partition)) for partition in range(PARTITIONS)] == expected
    assert len(stand.said()) == len(set(stand.said()))


async def test_workers_that_come_and_go_say_what_one_says(expected: list[set[Any]]) -> None:
    stand = Stand(turn_records=40)
    stand.feed(MONTH)
    async with working(stand):
        for _ in range(4):
            async with working(stand) as guest:
                await until(ready(guest), 30)
        await until(all_committed(stand), 60)
    assert [set(stand.said(partition)) for partition in range(PARTITIONS)] == expected
    assert len(stand.said()) == len(set(stand.said()))


def days_of(stand: Stand) -> dict[tuple[int, bytes], bytes]:
    """The last word on every closed day, by partition and key."""
    return {
        (record.partition, record.key): record.value
        for record in stand.records(TOPICS.decisions)
        if record.key is not None and record.value is not None and record.key.startswith(b"day/")
    }


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("count", [1, 2, 4])
async def test_the_same_log_through_any_number_of_workers_gives_the_same_messages_and_day_records(
    expected: list[set[Any]], count: int, *, killed: bool
) -> None:
    alone = Stand()
    alone.feed(MONTH)
    async with working(alone):
        await until(all_committed(alone), 60)
    stand = Stand(turn_records=40)
    stand.feed(MONTH)
    workers = [worker_on(stand) for _ in range(count)]
    tasks = [asyncio.create_task(worker.run()) for worker in workers]
    if killed:
        for number in range(count):
            said = len(stand.said())
            await until(lambda said=said: len(stand.said()) > said + 5 or all_committed(stand)(), 30)  # type: ignore[misc]  # the default is this round's
            tasks[number].cancel()
            for place in workers[number]._places.values():
                place.task.cancel()
            stand.broker.leave(GROUP, workers[number]._intake)  # type: ignore[arg-type]  # as its session ends
            workers[number] = worker_on(stand)
            tasks.append(asyncio.create_task(workers[number].run()))
    await until(all_committed(stand), 60)
    for worker in workers:
        await worker.stop(10)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [set(stand.said(partition)) for partition in range(PARTITIONS)] == expected
    assert len(stand.said()) == len(set(stand.said()))
    assert days_of(stand) == days_of(alone)
    assert len(days_of(stand)) == PARTITIONS * 7


async def test_stopping_commits_keeps_snapshots_and_leaves_the_group() -> None:
    stand = Stand()
    stand.feed(MONTH)
    async with working(stand) as worker:
        await until(lambda: sum(shard.display.cursor or 0 for shard in worker._shards().values()) == len(MONTH), 60)
    assert all_committed(stand)()
    assert set(stand.store.kept) == set(range(PARTITIONS))
    assert stand.broker.members(GROUP) == 0


async def test_a_lost_broker_is_waited_for(expected: list[set[Any]]) -> None:
    stand = Stand(turn_records=50)
    stand.feed(MONTH)
    async with working(stand) as worker:
        await until(lambda: len(stand.said()) > 5, 30)
        stand.broker.reachable = False
        await until(lambda: not worker.readiness()["broker"])
        assert "broker" in worker.readiness()["reason"]
        assert worker.readiness()["ready"] is False
        stand.broker.reachable = True
        await until(ready(worker), 30)
        await until(all_committed(stand), 60)
    assert [set(stand.said(partition)) for partition in range(PARTITIONS)] == expected


def reported(who: str, number: int) -> Message:
    """What became of a call, told on the partition of who was called."""
    told = {"id": f"r{number}", "type": "contact.reported", "subscriber_id": who, "warning_id": "w"}
    more = {"channel": "call", "outcome": "reached", "occurred_at": BEGIN.isoformat()}
    return Message(TOPICS.feedback, home(who), who.encode(), json.dumps({**told, **more}).encode())


class SlowStore(MemoryStore):
    """Writing a snapshot takes until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.free = threading.Event(), threading.Event()

    def save(self, partition: int, snapshot: Snapshot) -> dict[str, StoredPiece]:
        self.entered.set()
        assert self.free.wait(30)
        return super().save(partition, snapshot)


async def test_a_partition_that_is_back_before_its_shard_has_left_is_hosted_once() -> None:
    stand, store = Stand(snapshot_records=1), SlowStore()
    world = replace(stand.world, store=store)
    who = neighbours(2, 1)[0]
    stand.feed([usage(who, "usage.sms", 1, count=1)])
    async with working(stand, world) as worker:
        await until(store.entered.is_set)
        intake = worker._intake
        assert isinstance(intake, MemoryIntake)
        former = worker._places[2]
        intake.assign(frozenset({0, 1}))
        intake.assign(frozenset(range(PARTITIONS)))
        await until(lambda: worker._places[2] is not former)  # another one waits for its end
        store.free.set()
        await until(ready(worker), 30)
        assert former.task.done()
        stand.feed([usage(who, "usage.sms", 2, count=1)])
        await until(all_committed(stand))


@pytest.mark.parametrize("is_restarted", [True, False])
async def test_a_shard_does_not_run_without_records_that_were_deleted(
    caplog: pytest.LogCaptureFixture, *, is_restarted: bool
) -> None:
    stand = Stand()
    who, other = neighbours(2, 1)[0], neighbours(1, 1)[0]
    stand.feed([usage(one, "usage.sms", number, count=1) for number in range(10) for one in (who, other)])
    deleted = "usage.events-2 begins at 20, its records from"

    async def refused(worker: Worker) -> None:
        await until(lambda: deleted in str(worker.readiness()["reason"]))
        assert "CHURN_KAFKA__ACCEPT_GAPS=true accepts that" in worker.readiness()["reason"]
        await until(lambda: worker.readiness()["shards"][1] == "running")
        assert worker.desk.subscriber(other) is not None
        with pytest.raises(NotReady):
            worker.desk.subscriber(who)

    def lose() -> None:
        stand.feed([usage(who, "usage.sms", number, count=1) for number in range(10, 20)])
        stand.broker.truncate(TOPICS.usage, 2, 20)
        stand.feed([usage(who, "usage.sms", 30, count=1)])

    async with working(stand) as worker:
        await until(all_committed(stand))
        if not is_restarted:
            lose()
            await refused(worker)
    if is_restarted:
        lose()
    async with working(stand) as worker:
        await refused(worker)
    assert "shard 2 does not run" in caplog.text
    stand.terms = replace(stand.terms, accept_gaps=True)
    async with working(stand) as worker:
        await until(all_committed(stand))
        assert worker.desk.subscriber(who) is not None


async def test_a_shard_does_not_run_without_reports_that_were_deleted() -> None:
    stand = Stand()
    who = neighbours(2, 1)[0]
    stand.feed([usage(who, "usage.sms", 1, count=1), *(reported(who, number) for number in range(3))])
    async with working(stand) as worker:
        await until(lambda: stand.broker.committed.get((GROUP, TOPICS.feedback, 2)) == 3)
    stand.feed([reported(who, number) for number in range(3, 6)])
    stand.broker.truncate(TOPICS.feedback, 2, 5)
    async with working(stand) as worker:
        deleted = "feedback-2 begins at 5, its records from 3 on are deleted"
        await until(lambda: deleted in str(worker.readiness()["reason"]))
        assert (2, "running") not in stand.witness.stages[stand.witness.stages.index((2, "gone")) :]
    stand.terms = replace(stand.terms, accept_gaps=True)
    async with working(stand) as worker:
        await until(lambda: stand.broker.committed.get((GROUP, TOPICS.feedback, 2)) == 6)


async def test_nothing_is_missed_of_a_topic_older_than_the_service() -> None:
    stand = Stand()
    who = neighbours(2, 1)[0]
    stand.feed([usage(who, "usage.sms", number, count=1) for number in range(10)])
    stand.broker.truncate(TOPICS.usage, 2, 5)
    async with working(stand) as worker:
        await until(all_committed(stand))
        assert [snapshot.manifest["cursor"] for snapshot in stand.store.kept[2]] == [5]
    del stand.store.kept[2][1:]  # as if it had fallen before it could keep another
    async with working(stand) as worker:
        await until(ready(worker))
        record = worker.desk.subscriber(who)
    assert record is not None
    assert sum(day["sms"] for day in record["daily"]) == 5


async def test_records_deleted_before_they_were_read_are_said_and_passed_where_that_is_accepted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stand = Stand(accept_gaps=True)
    who = neighbours(2, 1)[0]
    stand.feed([usage(who, "usage.sms", number, count=1) for number in range(10)])
    async with working(stand) as worker:
        await until(all_committed(stand))
        stand.feed([usage(who, "usage.sms", number, count=1) for number in range(10, 20)])
        stand.broker.truncate(TOPICS.usage, 2, 20)
        stand.feed([usage(who, "usage.sms", 30, count=1)])
        await until(all_committed(stand))
        record = worker.desk.subscriber(who)
    assert record is not None
    assert "usage.events-2 begins at 20, its records from 10 on are deleted" in caplog.text


async def test_the_desk_answers_for_shards_that_run_here() -> None:
    stand = Stand()
    stand.feed([usage(who, "subscriber.profile", 0.5, msisdn=f"+86{n}", market="campus") for n, who in enumerate(CITY)])
    stand.feed(MONTH)
    async with working(stand) as worker:
        await until(all_committed(stand), 60)
        desk = worker.desk
        record = await asyncio.to_thread(desk.subscriber, CITY[0])
        assert record is not None
        assert (record["subscriber_id"], record["msisdn"]) == (CITY[0], "+860")
        assert desk.subscriber("nobody") is None
        assert desk.holder("+863") == CITY[3]
        assert desk.holder("+99") is None
        page = desk.warnings(WarningQuery(limit=5))
        assert page.missing == ()
        assert page.warnings.height == 5
        last = page.warnings.row(-1, named=True)
        following = desk.warnings(WarningQuery(limit=5, before=(last["raised_us"], last["episode_id"])))
        assert not set(page.warnings["episode_id"]) & set(following.warnings["episode_id"])
        assert following.warnings["raised_us"].max() <= last["raised_us"]
        campus = desk.warnings(WarningQuery(limit=500, market="campus"))
        assert campus.warnings["market"].unique().to_list() == ["campus"]
        assert desk.warnings(WarningQuery(market="moon")).warnings.is_empty()
        assert desk.roll("nothing", 5) is None


async def test_an_absent_shard_is_said() -> None:
    stand = Stand()
    worker = worker_on(stand)
    with pytest.raises(NotReady) as not_ready:
        worker.desk.subscriber(CITY[0])
    assert len(not_ready.value.partitions) == 1
    assert worker.desk.warnings(WarningQuery()).missing == tuple(range(PARTITIONS))
    with pytest.raises(NotReady):
        worker.desk.warning("e")
    with pytest.raises(NotReady):
        worker.desk.holder("+86")
    assert worker.desk.mutes().missing == tuple(range(PARTITIONS))


async def test_the_summary_accounts_for_every_record() -> None:
    stand = Stand()
    who = CITY[0]
    repeated = usage(who, "usage.sms", 1, count=1)
    stand.feed([repeated, repeated, usage(who, "usage.sms", 1, count=-1), usage(who, "weather.changed", 1)])
    stand.feed(MONTH)
    summary = Summary(stand.witness)
    world = World(stand.log, stand.world.publisher, stand.store, stand.clock, summary)
    async with working(stand, world):
        await until(all_committed(stand), 60)
    said = summary.as_json()
    assert said["events_in"] == len(MONTH) + 4
    assert said["events_in"] == sum(said[name] for name in ("counted", "repeated", "late", "rejected", "ignored"))
    assert (said["repeated"], said["rejected"], said["ignored"]) == (1, 1, 1)
    raised = [name for topic, name, _ in stand.said() if topic == TOPICS.warnings and str(name).endswith(".raised")]
    assert sum(said["warnings"].values()) == len(raised)
    assert said["outbound"] == {"call": len(stand.records(TOPICS.outbound("call")))}
