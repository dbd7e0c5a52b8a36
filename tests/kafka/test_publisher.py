"""What a real broker's refusals become: a verdict, and never a commit without the output."""

import random

import pytest

from service.kafka.publisher import KafkaPublisher
from service.ports import Message, Refused, Unknown
from tests.kafka.worlds import KafkaWorld, message, read_all, values


async def test_a_message_too_large_is_refused_and_nothing_of_its_turn_is_committed(
    kafka_bootstrap: str, unique: str
) -> None:
    world = KafkaWorld(kafka_bootstrap, unique)
    try:
        topic, other = await world.make_topic("one", 1), await world.make_topic("two", 1)
        publisher, log = await world.publisher("p"), await world.log()
        # Random bytes, so that compression does not make them fit.
        huge = Message(topic, 0, b"k", random.Random(1).randbytes(4_000_000))
        with pytest.raises(Refused) as refused:
            await publisher.publish([message(other, "beside"), huge], {(topic, 0): 5})
        assert refused.value.message.topic == topic
        with pytest.raises(Unknown):
            await publisher.publish([message(topic, "more")], {})
        again = await world.publisher("p")
        await again.publish([message(topic, "after")], {})
        assert values(await read_all(log, topic)) == ["after"]
        assert await read_all(log, other) == []
        assert await world.group_offset(topic, 0) is None
    finally:
        await world.stop()


async def test_a_message_without_key_and_value_can_be_sent(kafka_bootstrap: str, unique: str) -> None:
    world = KafkaWorld(kafka_bootstrap, unique)
    try:
        topic = await world.make_topic("one", 1)
        publisher, log = await world.publisher("p"), await world.log()
        await publisher.publish([Message(topic, 0, None, None, (("why", b"empty"),))], {})
        (record,) = await read_all(log, topic)
        assert (record.key, record.value, record.headers) == (None, None, (("why", b"empty"),))
    finally:
        await world.stop()


async def test_a_publisher_that_does_not_run_knows_nothing() -> None:
    publisher = KafkaPublisher(KafkaWorld("127.0.0.1:1", "t").settings, "t-p")
    with pytest.raises(Unknown):
        await publisher.publish([message("one", "a")], {})
    await publisher.stop()
