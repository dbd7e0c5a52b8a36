"""The live tail: committed warnings only, from where it is told, and honest about what is deleted."""

import asyncio
from collections.abc import Mapping
from contextlib import aclosing

from service.kafka.tail import KafkaAlertTail
from service.ports import Alert, Message
from tests.kafka.worlds import KafkaWorld


async def test_the_tail_gives_committed_alerts_in_order(kafka_bootstrap: str, unique: str) -> None:
    world = KafkaWorld(kafka_bootstrap, unique)
    try:
        topic = await world.make_topic("warnings", 2)
        publisher = await world.publisher("p")
        tail = KafkaAlertTail(world.settings, topic)
        before = await tail.positions()
        assert before == {0: 0, 1: 0}
        await publisher.publish([alert(topic, 0, "a"), alert(topic, 0, "b"), alert(topic, 1, "c")], {})
        found = await follow(tail, before, 3)
        assert [(one.offset, one.data["n"]) for one in found if one.partition == 0] == [(0, "a"), (1, "b")]
        assert {one.headers["ce_id"] for one in found} == {"a", "b", "c"}
        later = {one.partition: one.offset + 1 for one in found}
        await publisher.publish([alert(topic, 1, "d")], {})
        assert [one.data["n"] for one in await follow(tail, later, 1)] == ["d"]
    finally:
        await world.stop()


async def test_what_is_no_warning_of_ours_is_passed_over(kafka_bootstrap: str, unique: str) -> None:
    world = KafkaWorld(kafka_bootstrap, unique)
    try:
        topic = await world.make_topic("warnings", 1)
        publisher = await world.publisher("p")
        headless = Message(topic, 0, b"k", b"5", (("ce_id", None),))  # type: ignore[arg-type]  # as Kafka allows it
        strange = [headless, Message(topic, 0, b"k", b"[]"), Message(topic, 0, b"k", b"[" * 100_000)]
        await publisher.publish([Message(topic, 0, b"k", b"{not json"), *strange, alert(topic, 0, "a")], {})
        (found,) = await follow(KafkaAlertTail(world.settings, topic), {0: 0}, 1)
        assert found.data == {"n": "a"}
    finally:
        await world.stop()


def alert(topic: str, partition: int, name: str) -> Message:
    return Message(topic, partition, b"k", f'{{"n":"{name}"}}'.encode(), (("ce_id", name.encode()),))


async def follow(tail: KafkaAlertTail, positions: Mapping[int, int], count: int) -> list[Alert]:
    found: list[Alert] = []
    async with asyncio.timeout(30), aclosing(tail.follow(positions)) as alerts:  # type: ignore[type-var]  # a generator
        async for one in alerts:
            found.append(one)
            if len(found) == count:
                break
    return found
