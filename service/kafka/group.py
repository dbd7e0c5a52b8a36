"""Who is in the consumer group."""

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from service.kafka.connection import client_options
from service.settings import KafkaSettings


async def machines(settings: KafkaSettings) -> tuple[str, ...]:
    """Of each member of the group the machine that it connects from; none where the broker does not say."""
    admin = AIOKafkaAdminClient(**client_options(settings))
    try:
        await admin.start()
        answers = await admin.describe_consumer_groups([settings.group_id])
        told = [group for answer in answers for group in answer.to_object()["groups"]]
        return tuple(member["client_host"].removeprefix("/") for group in told for member in group["members"])
    except (KafkaError, OSError):
        return ()
    finally:
        await admin.close()
