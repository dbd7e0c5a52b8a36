"""A restore says how far it has come, and how long it will take."""

import asyncio
from datetime import timedelta

from service.shard import Stage
from service.shard.restore import Way
from tests.doubles.broker import until
from tests.doubles.clock import ManualClock
from tests.doubles.stand import BEGIN, Stand, micros, month, neighbours
from tests.shard.runs import AT, live_through, shard_on


def test_a_way_is_told_with_what_is_left_of_it() -> None:
    clock = ManualClock(micros(BEGIN))
    way = Way(clock)
    told = [way.sentence]
    way.begin(1_000, 1_000)
    told.append(way.sentence)
    way.begin(1_000, 1_801_000)
    told.append(way.sentence)
    clock.advance(timedelta(seconds=4))
    way.at = 451_000
    told.append(way.sentence)
    whole = "1,800,000 records are read again"
    assert told == [None, None, f"0 of {whole}", f"450,000 of {whole}, about 12 s are left"]


async def test_a_shard_that_restores_says_how_far_it_is() -> None:
    stand = Stand()
    stand.feed(month(neighbours(AT, 9)))
    await live_through(stand)
    stand.store.kept.clear()
    shard = shard_on(stand)
    task = asyncio.create_task(shard.run())
    told = []

    def is_running() -> bool:
        told.append(shard.waits_for)
        stand.clock.advance(timedelta(seconds=1))
        return shard.stage is Stage.RUNNING

    await until(is_running)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    total = stand.broker.topics["usage.events"][AT].high_watermark
    assert f"0 of {total} records are read again" in told
    assert any(one is not None and one.endswith(" s are left") for one in told)
    assert told[-1] is None
