"""Whole batches against `getmany` on a real Kafka, record by record: nobody can tell which of the two has read."""

import asyncio
import gzip
import logging
import struct
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiokafka
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition

from service.kafka import batches
from service.kafka.batches import BatchReader
from service.kafka.log import reader, started, stopped
from service.ports import Record
from tests.kafka.worlds import KafkaWorld

COMPACTED = {"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.01"}
COMPRESSIONS = (None, "gzip", "snappy", "lz4", "zstd")


@pytest.fixture
async def world(kafka_bootstrap: str, unique: str) -> AsyncIterator[KafkaWorld]:
    kafka = KafkaWorld(kafka_bootstrap, unique)
    yield kafka
    await kafka.stop()


async def test_batches_of_every_compression_with_headers_and_without_keys_or_values(world: KafkaWorld) -> None:
    topic = await world.make_topic("one", 1)
    for compression in COMPRESSIONS:
        await send(world, topic, 300, compression_type=compression)
    found = await same_both_ways(world, topic)
    assert len(found) == 300 * len(COMPRESSIONS)
    assert {record.key is None for record in found} == {record.value is None for record in found} == {True, False}
    assert {len(record.headers) for record in found} == {0, 2}


async def test_a_position_in_the_middle_of_a_batch(world: KafkaWorld) -> None:
    topic = await world.make_topic("one", 1)
    await send(world, topic, 500, compression_type="lz4")
    for start in (1, 250, 499, 500):
        assert [record.offset for record in await same_both_ways(world, topic, start)] == list(range(start, 500))


@pytest.mark.parametrize("isolation", ["read_committed", "read_uncommitted"])
async def test_control_batches_and_aborted_transactions(world: KafkaWorld, isolation: str) -> None:
    topic = await world.make_topic("one", 1)
    async with producing(world, transactional_id=f"{topic}.a") as one, producing(world) as plain:
        for number in range(6):
            await one.begin_transaction()
            for at in range(20):
                await one.send(topic, f"{number}.{at}".encode(), partition=0)
                if at == 10:  # of others, in the midst of the transaction
                    await one.flush()
                    await plain.send_and_wait(topic, f"plain.{number}".encode(), partition=0)
            await (one.abort_transaction() if number % 2 else one.commit_transaction())
    found = await same_both_ways(world, topic, isolation=isolation)
    assert len(found) == (66 if isolation == "read_committed" else 126)
    await same_both_ways(world, topic, 30, isolation)


async def test_gaps_that_compaction_left(world: KafkaWorld) -> None:
    topic = await world.make_topic("one", 1, COMPACTED)
    async with producing(world, compression_type="lz4") as producer, asyncio.timeout(60):
        for number in range(3):
            await filled(producer, topic, [f"{number}.{at}" for at in range(200)])
        while len(found := await same_both_ways(world, topic)) > 450:
            await filled(producer, topic, ["again"])  # the active segment is rolled by what is written next
    offsets = [record.offset for record in found]
    assert offsets == sorted(set(offsets))
    assert offsets != list(range(offsets[0], offsets[-1] + 1)), "nothing was compacted"
    await same_both_ways(world, topic, offsets[1] - 1)


async def test_many_batches_come_in_bounded_pieces(world: KafkaWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_PIECE", 30)
    topic = await world.make_topic("one", 1)
    for _ in range(10):
        await send(world, topic, 25)
    consumer = await started(reader(world.settings))
    try:
        tp = TopicPartition(topic, 0)
        consumer.assign([tp])
        consumer.seek(tp, 7)
        batch_reader = BatchReader(consumer, whole_batches=True)
        sizes, ends = list[int](), list[tuple[int, int]]()
        async with asyncio.timeout(20):
            while sum(sizes) < 243:
                found = await batch_reader.take([tp], 200, 60)
                sizes += [len(records) for records in found.values()]
                ends += [(await consumer.position(tp), int(records.offsets[-1]) + 1) for records in found.values()]
    finally:
        await stopped(consumer)
    assert max(sizes) <= 2 * (30 + 25)
    assert len(sizes) > 2
    assert all(position == end for position, end in ends)


@pytest.mark.parametrize("check_crcs", [True, False])
def test_a_batch_with_a_wrong_checksum_is_refused_where_checksums_are_checked(*, check_crcs: bool) -> None:
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 10)
    for at in range(3):
        builder.append(at, 1_700_000_000_000, b"k", b"value", [])
    spoilt = bytes(builder.build()).replace(b"value", b"wrong", 1)
    tp = TopicPartition("one", 0)
    one_by_one, by_batch = (
        PartitionRecords(tp, MemoryRecords(spoilt), [], 0, None, None, check_crcs, READ_COMMITTED) for _ in range(2)
    )
    if check_crcs:
        with pytest.raises(CorruptRecordException):
            next(one_by_one)
        with pytest.raises(CorruptRecordException):
            next(batches._pieces(by_batch))
    else:
        (records,) = batches._pieces(by_batch)
        assert records.values == [one.value for one in one_by_one] == [b"wrong", b"value", b"value"]


async def test_another_version_of_the_client_is_read_record_by_record(
    world: KafkaWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    topic = await world.make_topic("one", 1)
    await send(world, topic, 5)
    monkeypatch.setattr(batches, "TESTED", ("0.0.1",))
    with caplog.at_level(logging.WARNING, batches.__name__):
        assert len(await read(world, topic, 0, whole_batches=True)) == 5
    assert [record.getMessage() for record in caplog.records if record.name == batches.__name__] == [
        f"records are read one by one: whole batches are not tested with aiokafka {aiokafka.__version__}"
    ]


@pytest.mark.parametrize("zipped", [True, False])
async def test_a_header_whose_name_is_not_utf8_costs_nothing(world: KafkaWorld, *, zipped: bool) -> None:
    topic = await world.make_topic("one", 1)
    async with producing(world, enable_idempotence=False) as producer:
        batch = producer.create_batch()
        for at in range(5):
            headers = [("odd-name", b"1"), ("h", None)] if at == 2 else [("h", b"2")]
            batch.append(key=b"k", value=f"v{at}".encode(), timestamp=1_700_000_000_000 + at, headers=headers)
        batch._buffer = renamed(batch._build(), zipped=zipped)
        await (await producer.send_batch(batch, topic, partition=0))
        await producer.send_and_wait(topic, b"after", partition=0)
    found = await same_both_ways(world, topic)
    assert [record.value for record in found] == [b"v0", b"v1", b"v2", b"v3", b"v4", b"after"]
    assert [record.timestamp_us for record in found[:5]] == [(1_700_000_000_000 + at) * 1000 for at in range(5)]
    assert [record.headers for record in found[1:4]] == [
        (("h", b"2"),),
        (("odd-n\udcffm\udcfe", b"1"), ("h", None)),
        (("h", b"2"),),
    ]
    assert [record.value for record in await same_both_ways(world, topic, 3)] == [b"v3", b"v4", b"after"]


def renamed(built: bytes, *, zipped: bool) -> bytes:
    """A batch in which "odd-name" is called something that no client of Python's would send."""
    data = bytearray(built.replace(b"odd-name", b"odd-n\xffm\xfe"))
    if zipped:
        data[61:] = gzip.compress(data[61:])
        struct.pack_into(">i", data, 8, len(data) - 12)
        struct.pack_into(">h", data, 21, 1)
    struct.pack_into(">I", data, 17, calc_crc32c(bytes(data[21:])))
    return bytes(data)


def producing(world: KafkaWorld, **options: Any) -> AIOKafkaProducer:
    return AIOKafkaProducer(bootstrap_servers=world.settings.bootstrap_servers, **options)


async def send(world: KafkaWorld, topic: str, count: int, **options: Any) -> None:
    """One batch of records: with and without keys, values, headers and a time of their own."""
    async with producing(world, enable_idempotence=True, max_batch_size=1 << 20, **options) as producer:
        batch = producer.create_batch()
        for at in range(count):
            batch.append(
                key=None if at % 3 == 0 else f"k{at}".encode(),
                value=None if at % 5 == 0 else b"x" * at,
                timestamp=1_700_000_000_000 + at * 7 if at % 2 else None,
                headers=[("h", b"1"), ("ü", b"")] if at % 4 == 0 else [],
            )
        await (await producer.send_batch(batch, topic, partition=0))


async def filled(producer: AIOKafkaProducer, topic: str, values: Sequence[str]) -> None:
    """Few keys again and again, and one that is never written a second time."""
    for at, value in enumerate(values):
        key = value.encode() if at == 77 else str(at % 7).encode()
        await producer.send(topic, value.encode() * 50, key, partition=0)
    await producer.flush()


async def same_both_ways(
    world: KafkaWorld, topic: str, start: int = 0, isolation: str = "read_committed"
) -> list[Record]:
    """What both ways of reading find from `start` on.

    A cleaner that runs between two reads changes what there is: records read one by one before and after tell
    whether it did.
    """
    before = await read(world, topic, start, isolation, whole_batches=False)
    async with asyncio.timeout(120):
        while True:
            by_batch = await read(world, topic, start, isolation, whole_batches=True)
            after = await read(world, topic, start, isolation, whole_batches=False)
            if before == after:
                break
            before = after
    assert by_batch == after
    return by_batch


async def read(
    world: KafkaWorld, topic: str, start: int, isolation: str = "read_committed", *, whole_batches: bool
) -> list[Record]:
    """Everything from `start` to the end by position."""
    consumer = await started(reader(world.settings, isolation))
    try:
        tp = TopicPartition(topic, 0)
        consumer.assign([tp])
        end = (await consumer.end_offsets([tp]))[tp]
        consumer.seek(tp, start)
        batch_reader = BatchReader(consumer, whole_batches=whole_batches)
        found: list[Record] = []
        async with asyncio.timeout(20):
            while await consumer.position(tp) < end:
                for records in (await batch_reader.take([tp], 200, 10_000)).values():
                    found += records
        return found
    finally:
        await stopped(consumer)
