"""Making the topics, and checking that those that are there are as the service needs them."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from aiokafka import errors as kafka
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from service.kafka.connection import BrokerMissing, client_options, reach
from service.settings import KafkaSettings
from service.wire.topics import DAY_MS, TopicSpec

# What makes a topic unfit; for how much longer than it must it keeps its records is the operator's to choose.
_NEEDED = ("cleanup.policy", "message.timestamp.type")

_KEPT, _IN_SYNC = "retention.ms", "min.insync.replicas"
_LOOKS, _LOOK_S = 100, 0.05  # five seconds at most


class TopicProblem(Exception):  # noqa: N818 - read by people as a sentence
    """The broker does not make a topic; the sentence says why."""


async def create_topics(settings: KafkaSettings, specs: Sequence[TopicSpec], replication: int) -> list[str]:
    """Make those that are missing; returns their names. Raises: BrokerMissing, TopicProblem."""
    async with _admin(settings) as admin:
        there = set(await admin.list_topics())
        missing = [spec for spec in specs if spec.name not in there]
        if not missing:
            return []
        if admin._client.cluster.controller is None:  # noqa: SLF001 - told nowhere else
            # An embedded mock cluster: topics appear when asked for, as they like.
            await admin.describe_topics([spec.name for spec in missing])
            return [spec.name for spec in missing]
        answer = (await admin.create_topics([_new(spec, replication) for spec in missing])).to_object()
        made = _made(answer)
        await _become_known(admin, made)
    return made


def _made(answer: Mapping[str, Any]) -> list[str]:
    made = []
    for one in answer["topic_errors"]:
        error = kafka.for_code(one["error_code"])
        if error is kafka.NoError:
            made.append(one["topic"])
        elif error is not kafka.TopicAlreadyExistsError:
            reason = one.get("error_message") or error.__name__
            raise TopicProblem(f"The broker does not make the topic {one['topic']}: {reason}")
    return made


async def check_topics(settings: KafkaSettings, specs: Sequence[TopicSpec]) -> list[str]:
    """One sentence for each topic that is missing or unfit, with the remedy. Raises: BrokerMissing."""
    async with _admin(settings) as admin:
        there = set(await admin.list_topics())
        known = [spec for spec in specs if spec.name in there]
        shapes = {one["topic"]: one for one in await admin.describe_topics([spec.name for spec in known])}
        embedded = admin._client.cluster.controller is None  # noqa: SLF001 - told nowhere else
        configs = {} if embedded else await _configs(admin, [spec.name for spec in known])
    problems = []
    if missing := [spec.name for spec in specs if spec.name not in there]:
        problems.append(f"{_named(missing, 'is', 'are')} missing: churn-warning topics create")
    odd: dict[tuple[int, int], list[str]] = defaultdict(list)
    for spec in known:
        count = len(shapes[spec.name]["partitions"])
        if count != spec.partitions and not embedded:
            odd[count, spec.partitions].append(spec.name)
    problems += [
        f"{_named(names, 'has', 'have')} {has} partitions, not {wanted} (CHURN_TOPICS__PARTITIONS): "
        "make them again, or set the variable to the usage topic's count"
        for (has, wanted), names in odd.items()
    ]
    for spec in known:
        problems += _faults(spec, configs.get(spec.name, {}), shapes[spec.name]["partitions"])
    return problems


def _faults(spec: TopicSpec, has: Mapping[str, str], partitions: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is wrong with a topic of such a configuration (empty: not known), each with the remedy."""
    told = [
        f"The topic {spec.name} has {name}={has[name]}, not {spec.config[name]}: {_altering(spec, name)}"
        for name in _NEEDED
        if name in spec.config and has.get(name, spec.config[name]) != spec.config[name]
    ]
    kept_ms = int(has.get(_KEPT, -1))
    if 0 <= kept_ms < spec.least_days * DAY_MS:
        told.append(
            f"The topic {spec.name} keeps its records for {kept_ms / DAY_MS:.3g} days, but a restart may need those of "
            f"{spec.least_days} (CHURN_TIME__LATE_DAYS...): {_altering(spec, _KEPT)}"
        )
    replicas = min((len(partition["replicas"]) for partition in partitions), default=1)
    if replicas < (least := int(has.get(_IN_SYNC, 1))):
        told.append(
            f"The topic {spec.name} has {replicas} replicas, but takes nothing from fewer than {least} ({_IN_SYNC}): "
            f"give it more by kafka-reassign-partitions.sh, or alter that to {replicas}"
        )
    return told


def _altering(spec: TopicSpec, name: str) -> str:
    return f"kafka-configs.sh --alter --topic {spec.name} --add-config {name}={spec.config[name]}"


def _named(topics: Sequence[str], one: str, several: str) -> str:
    return f"The topic {topics[0]} {one}" if len(topics) == 1 else f"The topics {', '.join(topics)} {several}"


async def _become_known(admin: Any, names: Sequence[str]) -> None:  # noqa: ANN401 - aiokafka has no types
    """Return when the broker tells of topics that it has just made: its answer comes before its own metadata."""
    for _ in range(_LOOKS):
        if set(names) <= set(await admin.list_topics()):
            return
        await asyncio.sleep(_LOOK_S)


def _new(spec: TopicSpec, replication: int) -> NewTopic:
    # aiokafka takes -1, the broker's default, only beside an (empty) assignment of replicas.
    assignments: dict[str, Any] = {"replica_assignments": {}} if replication == -1 else {}
    return NewTopic(spec.name, spec.partitions, replication, **assignments, topic_configs=dict(spec.config))


async def _configs(admin: Any, names: Sequence[str]) -> Mapping[str, Mapping[str, str]]:  # noqa: ANN401 - aiokafka has no types
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    return {
        resource[3]: {entry[0]: entry[1] for entry in resource[4]}
        for answer in answers
        for resource in answer.resources
    }


@contextlib.asynccontextmanager
async def _admin(settings: KafkaSettings) -> AsyncIterator[Any]:
    await reach(settings)
    admin = AIOKafkaAdminClient(**client_options(settings))
    try:
        await admin.start()
        yield admin
    except (KafkaError, OSError) as error:
        raise BrokerMissing(
            f"The broker at {settings.bootstrap_servers} does not answer about topics ({error}): "
            "start one (deploy/kafka), or correct CHURN_KAFKA__BOOTSTRAP_SERVERS"
        ) from error
    finally:
        await admin.close()
