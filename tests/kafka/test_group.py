"""What the broker tells of the group's members."""

import asyncio

from service.app import unshared
from service.kafka.consumer import KafkaIntake
from service.kafka.group import machines
from service.settings import KafkaSettings
from tests.kafka.worlds import KafkaWorld


async def test_the_machines_of_a_group_are_known(kafka_bootstrap: str, unique: str) -> None:
    world = KafkaWorld(kafka_bootstrap, unique)
    topic = await world.make_topic("one", 1)
    assert await machines(world.settings) == ()
    intake, joined = KafkaIntake(world.settings, [topic]), asyncio.Event()
    await intake.start(lambda partitions: joined.set() if partitions else None)
    try:
        await asyncio.wait_for(joined.wait(), 20)
        assert await machines(world.settings) == ("127.0.0.1",)
    finally:
        await intake.stop()


async def test_a_broker_that_does_not_say_is_not_waited_for() -> None:
    assert await machines(KafkaSettings(bootstrap_servers="127.0.0.1:1")) == ()


def test_a_local_folder_is_no_place_for_the_snapshots_of_several_machines() -> None:
    assert unshared("snapshots", {"10.0.0.1"}) is None
    assert unshared("s3://bucket/snapshots", {"10.0.0.1", "10.0.0.2"}) is None
    said = unshared("snapshots", {"10.0.0.2", "10.0.0.1"})
    assert said is not None
    assert "'snapshots', but the group has members on 10.0.0.1, 10.0.0.2" in said
