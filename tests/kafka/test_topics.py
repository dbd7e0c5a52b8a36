"""Topics are made once, as the service needs them, and what is unfit is said with its remedy."""

from dataclasses import replace

import pytest

from service.kafka.connection import BrokerMissing, client_options, reach
from service.kafka.topics import check_topics, create_topics
from service.settings import KafkaSettings
from service.wire.topics import Topics, TopicSpec


async def test_topics_are_made_once_and_found_fit(kafka_bootstrap: str, unique: str) -> None:
    settings = KafkaSettings(bootstrap_servers=kafka_bootstrap)
    specs = Topics(f"{unique}.").specs(3, 40)
    [problem] = await check_topics(settings, specs)
    assert problem.endswith(" are missing: churn-warning topics create")
    assert all(spec.name in problem for spec in specs)
    assert sorted(await create_topics(settings, specs, -1)) == sorted(spec.name for spec in specs)
    assert await create_topics(settings, specs, -1) == []
    assert await check_topics(settings, specs) == []


async def test_unfit_topics_are_named(kafka_bootstrap: str, unique: str) -> None:
    settings = KafkaSettings(bootstrap_servers=kafka_bootstrap)
    topics = Topics(f"{unique}.")
    await create_topics(settings, [TopicSpec(topics.usage, 2, {}), TopicSpec(topics.decisions, 3, {})], -1)
    wanted = [spec for spec in topics.specs(3, 40) if spec.name in {topics.usage, topics.decisions}]
    problems = "\n".join(await check_topics(settings, wanted))
    assert f"{topics.usage} has 2 partitions, not 3" in problems
    assert f"{topics.usage} has message.timestamp.type=CreateTime, not LogAppendTime" in problems
    assert f"{topics.decisions} has cleanup.policy=delete, not compact" in problems


async def test_topics_that_forget_too_soon_or_take_nothing_are_named_with_what_mends_them(
    kafka_bootstrap: str, unique: str
) -> None:
    settings = KafkaSettings(bootstrap_servers=kafka_bootstrap)
    topics = Topics(f"{unique}.")
    wanted = [spec for spec in topics.specs(2, 42, 35) if spec.name in {topics.usage, topics.feedback, topics.late}]
    spoiled = {topics.usage: {"retention.ms": "86400000"}, topics.feedback: {"retention.ms": "-1"}}
    spoiled[topics.late] = {"retention.ms": "1", "min.insync.replicas": "2"}
    await create_topics(settings, [replace(one, config={**one.config, **spoiled[one.name]}) for one in wanted], -1)
    assert await check_topics(settings, wanted) == [
        (
            f"The topic {topics.usage} keeps its records for 1 days, but a restart may need those of 35 "
            f"(CHURN_TIME__LATE_DAYS...): kafka-configs.sh --alter --topic {topics.usage} "
            "--add-config retention.ms=3628800000"
        ),
        (
            f"The topic {topics.late} has 1 replicas, but takes nothing from fewer than 2 (min.insync.replicas): "
            "give it more by kafka-reassign-partitions.sh, or alter that to 1"
        ),
    ]


async def test_a_missing_broker_is_one_sentence_with_the_remedy() -> None:
    settings = KafkaSettings(bootstrap_servers="127.0.0.1:1")
    with pytest.raises(BrokerMissing, match=r"127\.0\.0\.1:1.*CHURN_KAFKA__BOOTSTRAP_SERVERS"):
        await reach(settings)


def test_unreadable_certificates_are_named() -> None:
    settings = KafkaSettings.model_validate({"security_protocol": "SSL", "ssl_ca_file": "/no/such.pem"})
    with pytest.raises(BrokerMissing, match=r"CHURN_KAFKA__SSL_CA_FILE=/no/such\.pem"):
        client_options(settings)
