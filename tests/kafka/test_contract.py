"""What the shell relies on, asked of the broker in memory and of a real Kafka alike."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from service.kafka.publisher import KafkaPublisher
from service.ports import Aborted, Ends, Fenced, Publisher, Refused, Truncated, Unknown
from tests.doubles.broker import until
from tests.kafka.worlds import KafkaWorld, MemoryWorld, World, message, poll_until, read_all, values


@pytest.fixture(params=["memory", "kafka"])
async def world(request: pytest.FixtureRequest, unique: str) -> AsyncIterator[World]:
    if request.param == "memory":
        yield MemoryWorld()
        return
    kafka = KafkaWorld(request.getfixturevalue("kafka_bootstrap"), unique)
    yield kafka
    await kafka.stop()


async def test_a_transaction_is_seen_whole_over_all_its_topics(world: World) -> None:
    one, two = await world.make_topic("one", 2), await world.make_topic("two", 2)
    publisher, log = await world.publisher("p"), await world.log()
    await publisher.publish([message(one, "a", 1), message(two, "b"), message(one, "c", 1)], {})
    assert values(await read_all(log, one, 1)) == ["a", "c"]
    assert values(await read_all(log, two)) == ["b"]


async def test_a_record_comes_back_as_it_was_sent(world: World) -> None:
    topic = await world.make_topic("one", 1)
    publisher, log = await world.publisher("p"), await world.log()
    await publisher.publish([message(topic, "a", key="k1")], {})
    (record,) = await read_all(log, topic)
    assert (record.topic, record.partition, record.offset) == (topic, 0, 0)
    assert (record.key, record.value, record.headers) == (b"k1", b"a", (("h", b"1"),))
    assert record.timestamp_us > 1_300_000_000_000_000


async def test_thousands_of_messages_keep_their_order(world: World) -> None:
    topic = await world.make_topic("one", 1)
    publisher, log = await world.publisher("p"), await world.log()
    sent = [f"{number}:{'x' * 300}" for number in range(5_000)]
    await publisher.publish([message(topic, value) for value in sent], {})
    assert values(await read_all(log, topic)) == sent


async def test_offsets_are_mirrored_with_the_transaction(world: World) -> None:
    usage, out = await world.make_topic("usage", 1), await world.make_topic("out", 1)
    publisher = await world.publisher("p")
    await publisher.publish([message(out, "a")], {(usage, 0): 17})
    await mirrored(world, usage, 17)
    await publisher.publish([], {(usage, 0): 18})
    await mirrored(world, usage, 18)


async def test_control_records_move_the_end_beyond_the_last_record(world: World) -> None:
    topic = await world.make_topic("one", 1)
    publisher, log = await world.publisher("p"), await world.log()
    await publisher.publish([message(topic, "a")], {})
    await publisher.publish([message(topic, "b")], {})
    records = await read_all(log, topic)
    ends = await log.ends(topic, 0)
    assert [record.offset for record in records] == [0, 2]
    assert ends == Ends(last_stable=4, high_watermark=4)


async def test_reading_a_stretch_stops_at_its_end(world: World) -> None:
    topic = await world.make_topic("one", 1)
    sender, log = await world.sender(), await world.log()
    for number in range(10):
        await sender.send(message(topic, str(number)))
    found = [record async for records in log.read(topic, 0, 3, 7) for record in records]
    assert values(found) == ["3", "4", "5", "6"]
    assert [record async for records in log.read(topic, 0, 4, 4) for record in records] == []


async def test_deleted_records_are_named_not_passed_over(world: World) -> None:
    topic = await world.make_topic("one", 1)
    sender, log = await world.sender(), await world.log()
    for number in range(10):
        await sender.send(message(topic, str(number)))
    assert await log.beginning(topic, 0) == 0
    await world.truncate(topic, 0, 4)
    assert await log.beginning(topic, 0) == 4
    with pytest.raises(Truncated, match="begins at 4, its records from 3 on are deleted"):
        _ = [records async for records in log.read(topic, 0, 3, 7)]
    assert [values(records) async for records in log.read(topic, 0, -1, 6)] == [["4", "5"]]


async def test_the_newer_publisher_fences_the_older(world: World) -> None:
    topic = await world.make_topic("one", 1)
    former, log = await world.publisher("p"), await world.log()
    await former.publish([message(topic, "a")], {})
    newer = await world.publisher("p")
    with pytest.raises(Fenced):
        await former.publish([message(topic, "zombie")], {})
    with pytest.raises(Unknown):
        await former.publish([message(topic, "zombie again")], {})
    await newer.publish([message(topic, "b")], {})
    assert values(await read_all(log, topic)) == ["a", "b"]


async def test_a_zombie_without_outputs_is_fenced_too(world: World) -> None:
    usage = await world.make_topic("usage", 1)
    former = await world.publisher("p")
    newer = await world.publisher("p")
    with pytest.raises(Fenced):
        await former.publish([], {(usage, 0): 5})
    await newer.publish([], {(usage, 0): 6})
    await mirrored(world, usage, 6)


async def test_a_new_publisher_settles_the_transaction_left_open(world: World) -> None:
    topic = await world.make_topic("one", 1)
    former, log = await world.publisher("p"), await world.log()
    await leave_open(world, former, topic)
    newer = await world.publisher("p")
    ends = await log.ends(topic, 0)
    assert ends.last_stable == ends.high_watermark
    await newer.publish([message(topic, "b")], {})
    assert values(await read_all(log, topic)) == ["b"]


async def test_what_was_decided_is_in_the_log_once_a_newer_publisher_has_started(world: World) -> None:
    topic = await world.make_topic("one", 1)
    if isinstance(world, MemoryWorld):
        world.broker.markers_s = lambda: 3_600.0
    former, log = await world.publisher("p"), await world.log()
    await former.publish([message(topic, "a")], {})
    await former.publish([message(topic, "b")], {})
    await world.publisher("p")
    assert await log.ends(topic, 0) == Ends(last_stable=4, high_watermark=4)
    assert values(await read_all(log, topic)) == ["a", "b"]


async def test_a_message_too_large_is_refused_by_name_and_its_transaction_aborted(world: World) -> None:
    topic = await world.make_topic("one", 1, {"max.message.bytes": "1000"})
    publisher, log = await world.publisher("p"), await world.log()
    small, large = message(topic, "small"), message(topic, random.Random(1).randbytes(2_000).hex())
    with pytest.raises(Refused) as refused:
        await publisher.publish([small, large], {})
    assert refused.value.message == large
    with pytest.raises(Unknown):
        await publisher.publish([small], {})
    assert values(await read_all(log, topic)) == []


async def test_an_open_transaction_holds_the_last_stable_offset_back(world: World) -> None:
    topic = await world.make_topic("one", 1)
    sender, log = await world.sender(), await world.log()
    await sender.send(message(topic, "a"))
    await leave_open(world, await world.publisher("p"), topic)
    assert await log.ends(topic, 0) == Ends(last_stable=1, high_watermark=2)


async def test_an_aborted_transaction_is_never_seen_and_can_be_sent_again(world: World) -> None:
    topic = await world.make_topic("one", 1)
    publisher, log = await world.publisher("p"), await world.log()
    with pytest.raises(Aborted):
        await abort(world, publisher, topic)
    await publisher.publish([message(topic, "again")], {})
    assert values(await read_all(log, topic)) == ["again"]


async def test_a_group_gets_all_partitions_held_back_until_resumed(world: World) -> None:
    usage, feedback = await world.make_topic("usage", 3), await world.make_topic("feedback", 3)
    sender = await world.sender()
    for number in range(3):
        await sender.send(message(usage, f"u{number}", number))
    await sender.send(message(feedback, "f1", 1))
    seen: list[frozenset[int] | None] = []
    intake = world.intake([usage, feedback])
    await intake.start(seen.append)
    try:
        await until(lambda: bool(seen) and seen[-1] == frozenset({0, 1, 2}))
        assert await intake.poll([0, 1, 2], 100) == []
        await intake.resume(1, {usage: 0, feedback: 0})
        polled = await poll_until(intake, [0, 1, 2], 2)
        assert {(one.topic, one.partition, one.end) for one in polled} == {(usage, 1, 1), (feedback, 1, 1)}
        assert await intake.reachable()
    finally:
        await intake.stop()


async def test_what_is_not_asked_for_stays_where_it_is(world: World) -> None:
    usage = await world.make_topic("usage", 2)
    sender = await world.sender()
    for number in (0, 1, 0, 1):
        await sender.send(message(usage, f"u{number}", number))
    intake = world.intake([usage])
    await intake.start(lambda _: None)
    try:
        await asyncio.gather(intake.resume(0, {usage: 0}), intake.resume(1, {usage: 1}))
        first = await poll_until(intake, [0], 2)
        assert [(one.partition, values(one.records)) for one in first] == [(0, ["u0", "u0"])]
        second = await poll_until(intake, [1], 1)
        assert [(one.partition, values(one.records)) for one in second] == [(1, ["u1"])]
    finally:
        await intake.stop()


async def test_a_resume_between_two_lives_is_left_alone(world: World) -> None:
    usage = await world.make_topic("usage", 1)
    intake = world.intake([usage])
    await intake.resume(0, {usage: 0})
    await intake.start(lambda _: None)
    await intake.stop()
    await intake.resume(0, {usage: 0})
    assert not await intake.poll([0], 1)


async def test_a_resume_is_done_before_anybody_polls(world: World) -> None:
    usage, feedback = await world.make_topic("usage", 1), await world.make_topic("feedback", 1)
    sender = await world.sender()
    for number in range(4):
        await sender.send(message(usage, f"u{number}"))
    seen: list[frozenset[int] | None] = []
    intake = world.intake([usage, feedback])
    await intake.start(seen.append)
    try:
        await until(lambda: bool(seen) and seen[-1] == frozenset({0}))
        await intake.resume(0, {usage: 2, feedback: 0})
        assert [values(one.records) for one in await poll_until(intake, [0], 2)] == [["u2", "u3"]]
        resuming = intake.resume(0, {usage: 1, feedback: 0}).__await__()
        with pytest.raises(StopIteration):
            next(resuming)
        assert [values(one.records) for one in await poll_until(intake, [0], 3)] == [["u1", "u2", "u3"]]
    finally:
        await intake.stop()


async def test_a_topic_that_is_not_named_yields_nothing_until_it_is(world: World) -> None:
    usage, feedback = await world.make_topic("usage", 2), await world.make_topic("feedback", 2)
    sender = await world.sender()
    for number in range(2):
        await sender.send(message(usage, f"u{number}", number))
    intake = world.intake([usage, feedback])
    await intake.start(lambda _: None)
    try:
        await asyncio.gather(*(intake.resume(number, {usage: 0, feedback: 0}) for number in range(2)))
        await poll_until(intake, [0, 1], 2)
        await intake.resume(0, {feedback: 0})
        for number in range(2):
            await sender.send(message(usage, f"more{number}", number))
        await sender.send(message(feedback, "f"))
        polled = await poll_until(intake, [0, 1], 2)
        assert {(one.topic, one.partition) for one in polled} == {(usage, 1), (feedback, 0)}
        await intake.resume(0, {usage: 0, feedback: 1})
        (again,) = await poll_until(intake, [0, 1], 2)
        assert (again.topic, again.partition, values(again.records)) == (usage, 0, ["u0", "more0"])
    finally:
        await intake.stop()


async def test_a_partition_that_is_resumed_again_yields_nothing_from_where_it_stood(world: World) -> None:
    usage = await world.make_topic("usage", 1)
    sent = [str(number) for number in range(12_000)]
    publisher = await world.publisher("feed")
    for half in (sent[:6_000], sent[6_000:]):
        await publisher.publish([message(usage, value) for value in half], {})
    intake = world.intake([usage])
    await intake.start(lambda _: None)
    try:
        await intake.resume(0, {usage: 1})
        async with asyncio.timeout(20):
            while not await intake.poll([0], 1):  # what follows has come as well, and waits to be asked for
                pass
        resuming = asyncio.ensure_future(intake.resume(0, {usage: 0}))
        await asyncio.sleep(0)
        polled = await poll_until(intake, [0], len(sent))
        await resuming
        assert [value for one in polled for value in values(one.records)] == sent
    finally:
        await intake.stop()


async def test_the_position_passes_control_records(world: World) -> None:
    usage = await world.make_topic("usage", 1)
    publisher = await world.publisher("feed")
    await publisher.publish([message(usage, "u")], {})
    intake = world.intake([usage])
    await intake.start(lambda _: None)
    try:
        await intake.resume(0, {usage: 0})
        ends: list[int] = []
        async with asyncio.timeout(20):
            while ends[-1:] != [2]:
                ends += [one.end for one in await intake.poll([0], 100)]
        assert sorted(ends) == ends
    finally:
        await intake.stop()


async def test_a_second_member_takes_over_a_share_with_all_its_topics(world: World) -> None:
    usage, feedback = await world.make_topic("usage", 4), await world.make_topic("feedback", 4)
    seen: dict[str, frozenset[int] | None] = {}
    first, second = world.intake([usage, feedback]), world.intake([usage, feedback])
    await first.start(lambda partitions: seen.update(first=partitions))
    try:
        joining = asyncio.ensure_future(second.start(lambda partitions: seen.update(second=partitions)))
        await until(lambda: len(seen.get("second") or ()) == 2, 30)
        await joining
        await until(lambda: len(seen["first"] or ()) == 2, 30)
        assert (seen["first"] or set()) | (seen["second"] or set()) == {0, 1, 2, 3}
        await second.stop()
        await until(lambda: len(seen["first"] or ()) == 4, 30)
    finally:
        await first.stop()


async def mirrored(world: World, topic: str, offset: int) -> None:
    """Return when the group stands at an offset: a commit is answered before its markers are written."""
    async with asyncio.timeout(20):
        while await world.group_offset(topic, 0) != offset:  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(0)


async def leave_open(world: World, publisher: Publisher, topic: str) -> None:
    """Send one record in a transaction that is neither committed nor aborted."""
    if isinstance(world, MemoryWorld):
        world.broker.faults["p"].append("unknown-lost")
        with pytest.raises(Unknown):
            await publisher.publish([message(topic, "open")], {})
        return
    assert isinstance(publisher, KafkaPublisher)
    await publisher._producer.begin_transaction()
    await publisher._producer.send_and_wait(topic, b"open", partition=0)


async def abort(world: World, publisher: Publisher, topic: str) -> None:
    """Publish so that the transaction aborts before its commit."""
    if isinstance(world, MemoryWorld):
        world.broker.faults["p"].append("abort")
        await publisher.publish([message(topic, "aborted")], {})
        return
    assert isinstance(publisher, KafkaPublisher)
    # aiokafka refuses a partition that does not exist by an assertion, with the other batches on their way.
    await publisher.publish([message(topic, "aborted"), message(topic, "nowhere", 7)], {})
