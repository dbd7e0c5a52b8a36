"""What the intake does where there is nothing to ask a broker for."""

import asyncio

from service.kafka.consumer import KafkaIntake
from service.settings import KafkaSettings


async def test_a_poll_of_partitions_that_do_not_flow_lets_others_run() -> None:
    intake = KafkaIntake(KafkaSettings(), ["usage.events"])
    ran = asyncio.Event()
    asyncio.get_running_loop().call_soon(ran.set)

    assert await intake.poll([0], 1) == []

    assert ran.is_set(), "or a worker that polls again and again would hold up the restore it polls for"
