"""The topics are made as their use demands."""

from service.wire.topics import Topics

DAY_MS = 86_400_000


def test_every_topic_has_the_partitions_of_usage_but_the_last_two() -> None:
    specs = {spec.name: spec.partitions for spec in Topics("t.").specs(partitions=12, input_days=42)}
    assert specs == {
        "t.usage.events": 12,
        "t.churn.feedback": 12,
        "t.churn.decisions": 12,
        "t.churn.warnings": 12,
        "t.churn.segments": 12,
        "t.outbound.call": 12,
        "t.outbound.sms": 12,
        "t.outbound.manager": 12,
        "t.usage.late": 12,
        "t.usage.dead-letters": 12,
        "t.churn.directory": 1,
        "t.churn.rulebook": 1,
    }


def test_input_bears_the_brokers_time_and_is_kept_as_long_as_told() -> None:
    configs = {spec.name: spec.config for spec in Topics().specs(partitions=4, input_days=42)}
    for name in ("usage.events", "churn.feedback"):
        assert configs[name]["message.timestamp.type"] == "LogAppendTime"
        assert configs[name]["retention.ms"] == str(42 * DAY_MS)


def test_what_is_remembered_by_key_is_compacted_and_nothing_else() -> None:
    compacted = {s.name for s in Topics().specs(4, 42) if s.config["cleanup.policy"] == "compact"}
    assert compacted == {"churn.decisions", "churn.directory", "churn.rulebook"}
