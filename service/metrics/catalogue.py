"""Every metric, with its labels and one sentence."""

from typing import NamedTuple

import prometheus_client as prometheus

_FAST_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SLOW_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metric(NamedTuple):
    """A metric as people see it; a counter's name ends in _total, a histogram's series in _bucket, _sum and _count."""

    name: str
    type: str  # counter | gauge | histogram
    labels: tuple[str, ...]
    sentence: str
    buckets: tuple[float, ...] = ()


def _counter(name: str, sentence: str, *labels: str) -> Metric:
    return Metric(f"churn_{name}_total", "counter", labels, sentence)


def _gauge(name: str, sentence: str, *labels: str) -> Metric:
    return Metric(f"churn_{name}", "gauge", labels, sentence)


def _timing(name: str, sentence: str, *labels: str, buckets: tuple[float, ...] = _FAST_S) -> Metric:
    return Metric(f"churn_{name}_seconds", "histogram", labels, sentence, buckets)


# Instants are timestamps, not ages: an age would stand still with the loop that sets it.
CATALOGUE = (
    _counter("records_in", "Records taken from the usage topic, good and bad.", "partition"),
    _counter("records_counted", "Usage records that are in state."),
    _counter("records_repeated", "Usage records that were in state already and count once."),
    _counter("records_late", "Usage records beyond their late horizon, sent to the late topic."),
    _counter("records_rejected", "Records that could not be taken and went to the dead letters.", "reason"),
    _counter("records_ignored", "Records of a type that the service does not know.", "type"),
    _counter(
        "warnings", "Transitions of warnings that were published.", "rule", "kind", "severity", "transition"
    ),
    _counter("warnings_suppressed", "Warnings raised and not published then, by what withheld them.", "rule", "reason"),
    _counter("orders", "Outbound orders of raised warnings: ordered, or why withheld.", "channel", "outcome"),
    _gauge("open_warnings", "Published warnings not resolved yet.", "rule", "kind", "severity"),
    _gauge("suppressed_warnings", "Open warnings that are withheld now, by what withholds them.", "reason"),
    _gauge("pending_warnings", "Cases that hold, but not for as long as their rule wants yet.", "rule"),
    _gauge("mutes", "Mutes in force, the same in every shard.", "partition"),
    _gauge(
        "money_at_risk_minor",
        "A year's revenue of subscribers with open risk warnings, each once under the gravest, in minor units.",
        "severity",
    ),
    _gauge("subscribers", "Subscribers known.", "partition"),
    _gauge("segment_subscribers", "Subscribers by segment on the last closed day.", "segment", "market"),
    _counter("segment_changes", "Subscribers who came into a segment when a day closed.", "segment", "market"),
    _gauge("partitions", "Partitions of the usage topic, whoever owns them."),
    _gauge("shard_state", "One for the state that a shard is in here, zero for those it was in.", "partition", "state"),
    _gauge("usage_held", "One while a shard takes no usage because too much of it is bad, else zero.", "partition"),
    _gauge(
        "feed_withheld",
        "Shards in which a market was not judged for drops and silence at the last close, its feed being doubted.",
        "market",
    ),
    _gauge("close_held", "One where the last close would have published too much and waits for release.", "partition"),
    _gauge("lag_records", "Records between a shard's cursor and the end of its partition.", "partition"),
    _gauge("watermark_timestamp_seconds", "The latest event time that a shard believes in.", "partition"),
    _gauge("closed_day", "The last closed day of a shard, as days since 1970.", "partition"),
    _gauge("next_close_timestamp_seconds", "The event time at which a shard's next day is due to close.", "partition"),
    _gauge("state_bytes", "Memory held by a shard's columns, without the repeats.", "partition"),
    _gauge("repeats_bytes", "Memory held to recognise a shard's repeated records.", "partition"),
    _timing("turn", "Time from a polled batch to its commit."),
    _timing("day_close", "Time to close one day of one shard, until its last slice is committed.", buckets=_SLOW_S),
    _timing("transaction", "Time of one transaction, from its beginning to its result."),
    _counter("transactions", "Transactions by what became of them.", "result"),
    _timing("snapshot", "Time to write one snapshot.", buckets=_SLOW_S),
    _counter("snapshot_failures", "Snapshots that could not be written: no space, no right, no object store."),
    _gauge("snapshot_bytes", "Size of a shard's newest snapshot.", "partition"),
    _gauge("snapshot_timestamp_seconds", "When a shard's newest snapshot was written.", "partition"),
    _timing("restore", "Time to restore one shard, until it is running.", buckets=_SLOW_S),
    _gauge("broker_connected", "One while the broker answers, else zero."),
    _counter("consumer_restarts", "Times that the group was joined anew because partitions with records gave none."),
    _counter("http_requests", "HTTP requests by route template, never by path.", "route", "method", "status"),
    _timing("http_request", "Time until an HTTP answer begins.", "route", "method"),
    _gauge("stream_clients", "Clients connected to the live stream of warnings."),
    _gauge("rulebook_info", "One for each rulebook that judges here.", "hash"),
    _gauge("rulebook_refused", "Published rulebooks, in force or to come, that cannot be used here."),
    _gauge("build_info", "One, with the versions that run.", "version", "python"),
    _gauge("clock_info", "One, with the clock that closes days: log or wall.", "clock"),
)  # fmt: skip
OF_A_SHARD = [metric.name for metric in CATALOGUE if metric.type == "gauge" and "partition" in metric.labels]


def describe() -> list[Metric]:
    """Every metric that is exposed: ours, then the process's own."""
    registry = prometheus.CollectorRegistry()
    prometheus.ProcessCollector(registry=registry)
    process = [
        Metric(
            f"{family.name}_total" if family.type == "counter" else family.name, family.type, (), family.documentation
        )
        for family in registry.collect()
    ]
    return [*CATALOGUE, *process]
