"""What a real broker's refusals become: a verdict, and never a commit without the output."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

import pytest

from service.kafka.publisher import KafkaPublisher
from service.ports import Fenced, Message, Refused, Unknown
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


class Delayed(KafkaPublisher):
    """Waits for something between its last send and its commit, or right before it sends."""

    def __init__(
        self, world: KafkaWorld, transactional_id: str, wait: Callable[[], Awaitable[object]], *, first: bool = False
    ) -> None:
        super().__init__(world.settings.model_copy(update={"transaction_timeout_ms": 500}), transactional_id)
        self._wait = wait
        self._first = first

    async def _send(self, messages: Sequence[Message]) -> None:
        if self._first:
            await self._wait()
        await super()._send(messages)
        if not self._first:
            await self._wait()


@pytest.mark.parametrize("offsets", [{}, {("usage", 0): 5}], ids=["plain", "offsets"])
async def test_a_transaction_that_takes_too_long_is_ended_by_the_broker_and_its_publisher_is_fenced(
    kafka_bootstrap: str, unique: str, offsets: dict[tuple[str, int], int]
) -> None:
    world = KafkaWorld(kafka_bootstrap, unique)
    topic, log = await world.make_topic("one", 1), await world.log()

    async def is_ended() -> None:
        async with asyncio.timeout(60):
            while (ends := await log.ends(topic, 0)).last_stable < ends.high_watermark:  # noqa: ASYNC110 - see below
                await asyncio.sleep(0.05)  # until a condition holds, for which the broker has no event

    slow = Delayed(world, f"{unique}-p", is_ended)
    try:
        await slow.start()
        with pytest.raises(Fenced):
            await slow.publish([message(topic, "too late")], offsets)
        with pytest.raises(Unknown):
            await slow.publish([message(topic, "more")], {})
        again = await world.publisher("p")
        await again.publish([message(topic, "again")], {})
        assert values(await read_all(log, topic)) == ["again"]
    finally:
        await slow.stop()
        await world.stop()


@pytest.mark.parametrize("first", [True, False], ids=["before it sends", "before it commits"])
@pytest.mark.parametrize("empty", [True, False], ids=["offsets only", "with outputs"])
async def test_who_is_fenced_in_the_midst_of_a_transaction_has_said_nothing(
    kafka_bootstrap: str, unique: str, *, first: bool, empty: bool
) -> None:
    world = KafkaWorld(kafka_bootstrap, unique)
    topic, log = await world.make_topic("one", 1), await world.log()
    said = [] if empty else [message(topic, "former")]

    async def take_over() -> None:
        newer = await world.publisher("p")
        await newer.publish([message(topic, "newer")], {(topic, 0): 7})

    former = Delayed(world, f"{unique}-p", take_over, first=first)
    try:
        await former.start()
        with pytest.raises(Fenced):
            await former.publish(said, {(topic, 0): 5})
        assert values(await read_all(log, topic)) == ["newer"]
        assert await world.group_offset(topic, 0) == 7
    finally:
        await former.stop()
        await world.stop()


async def test_a_publisher_that_does_not_run_knows_nothing() -> None:
    publisher = KafkaPublisher(KafkaWorld("127.0.0.1:1", "t").settings, "t-p")
    with pytest.raises(Unknown):
        await publisher.publish([message("one", "a")], {})
    await publisher.stop()
