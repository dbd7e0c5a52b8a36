"""A partition that comes back: what another owner said meanwhile is not said again, nor passed over."""

import asyncio

import pytest

from service.shard import Shard, Stage
from tests.doubles.broker import until
from tests.doubles.stand import TOPICS, Stand, month, neighbours, transactional_id
from tests.shard.runs import AT, committed, live_through, pour, running

WHO = neighbours(AT, 9)
BEFORE = 40  # records that the first owner commits


@pytest.mark.parametrize("fault", ["unknown-lost", "unknown-committed"])
async def test_a_shard_that_waits_to_try_again_notices_that_another_owner_has_gone_on(fault: str) -> None:
    undisturbed, stand = Stand(), Stand()
    for one in (undisturbed, stand):
        one.feed(month(WHO))
    await live_through(undisturbed)
    settled = asyncio.Event()
    settled.set()

    async def still_ours(_: int) -> bool:
        await settled.wait()
        return True

    async def ready(_: Shard) -> None:
        await asyncio.sleep(0)

    shard = Shard(AT, stand.world, stand.terms, still_ours, ready)
    task = asyncio.create_task(shard.run())
    await running(shard)
    pour(stand, shard, BEFORE)
    await committed(stand, shard)
    settled.clear()  # the group shares out anew, and the shard is not told that it has lost the partition
    stand.broker.faults[transactional_id(AT)].append(fault)
    pour(stand, shard)
    await until(lambda: "unknown" in stand.witness.results)
    await live_through(stand)
    settled.set()
    await until(lambda: stand.witness.restored == 3)
    await running(shard)
    shard.leave(drain_s=10)
    await task
    assert shard.stage is Stage.GONE
    assert stand.witness.results.count("unknown") == 1
    assert [said[1] for said in stand.said(AT)] == [said[1] for said in undisturbed.said(AT)]
    assert stand.broker.committed["g", TOPICS.usage, AT] == len(month(WHO))
