"""Running one shard by hand: it is polled for, told to leave, cut off."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from service.shard import Shard, Stage
from tests.doubles.broker import until
from tests.doubles.stand import TOPICS, Stand, forever

AT = 1  # the partition that these tests live on


def shard_on(stand: Stand, partition: int = AT) -> Shard:
    async def ready(_: Shard) -> None:
        await asyncio.sleep(0)

    return Shard(partition, stand.world, stand.terms, forever, ready)


def pour(stand: Stand, shard: Shard, most: int = 10**9) -> None:
    """Hand a running shard at most so many usage records that it has not got, and all feedback, where it takes any."""
    for topic, limit in ((TOPICS.usage, most), (TOPICS.feedback, 10**9)):
        if topic not in shard.positions:
            continue
        partition = stand.broker.topics[topic][shard.partition]
        start = shard.positions[topic]
        end = min(partition.last_stable, start + limit)
        if end > start:
            shard.offer(topic, partition.committed(start, end), end)


def cursor_of(stand: Stand, partition: int = AT) -> int | None:
    return stand.broker.committed.get(("g", TOPICS.usage, partition))


async def running(shard: Shard) -> None:
    await until(lambda: shard.stage is Stage.RUNNING)


async def committed(stand: Stand, shard: Shard) -> None:
    """Until all that was handed over is committed."""
    end = shard.positions[TOPICS.usage]

    def done() -> bool:
        stand.clock.advance(timedelta(milliseconds=20))
        return cursor_of(stand, shard.partition) == end

    await until(done)


@asynccontextmanager
async def living(stand: Stand, partition: int = AT) -> AsyncIterator[Shard]:
    """A shard that runs, and is cut off at the end if it has not left."""
    shard = shard_on(stand, partition)
    task = asyncio.create_task(shard.run())
    try:
        await running(shard)
        yield shard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def live_through(stand: Stand, most: int = 10**9) -> None:
    """Take all there is, in polls of at most so many records, and leave in order."""
    async with living(stand) as shard:
        end = stand.broker.topics[TOPICS.usage][AT].high_watermark
        while shard.positions[TOPICS.usage] < end:
            pour(stand, shard, most)
            await committed(stand, shard)
        shard.leave(drain_s=10)
        await until(lambda: shard.stage is Stage.GONE)
