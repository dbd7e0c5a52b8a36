"""The facade of the metrics: callers say what happened and never touch a metric object."""

import json
import platform
from collections import Counter as Tally
from collections.abc import Iterable, Mapping
from typing import Literal

import polars as pl
import prometheus_client as prometheus

from service.metrics.catalogue import CATALOGUE, OF_A_SHARD, Metric
from service.metrics.labels import OTHER, Bounded, Sums
from service.metrics.shapes import Committed, Judged, Measured

CONTENT_TYPE = prometheus.CONTENT_TYPE_PLAIN_0_0_4  # what every Prometheus reads
UNMATCHED = "unmatched"  # the route of requests that no route took

TransactionResult = Literal["committed", "aborted", "unknown", "fenced"]
_RESULTS = ("committed", "aborted", "unknown", "fenced")
_SEVERITIES = ("notice", "warning", "critical")
_TRANSITIONS = ("raised", "acknowledged", "resolved")
_CHANNELS = ("call", "sms", "manager")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OPEN = ("raised", "acknowledged", "snoozed", "recovering")
_REASONS = ("experimental", "standing", "mute", "rule", "holiday", "breaker", "cap")
_SUMS = (
    "open_warnings", "suppressed_warnings", "pending_warnings", "money_at_risk_minor", "segment_subscribers",
    "feed_withheld",
)  # fmt: skip
_ALL_MARKETS, _NO_MARKET = "(all)", "(none)"  # a feed in all, and that of who belongs to no market
_SHOWN = {"*": _ALL_MARKETS, "": _NO_MARKET}
_US = 1_000_000


class Metrics:
    """The metrics of one process. What speaks of shards belongs to one thread, the rest may be called from any."""

    def __init__(self, version: str, clock: str) -> None:
        prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]  # the library gives it no types
        self._registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=self._registry)
        self._counters: dict[str, prometheus.Counter] = {}
        self._gauges: dict[str, prometheus.Gauge] = {}
        self._timings: dict[str, prometheus.Histogram] = {}
        for metric in CATALOGUE:
            self._make(metric)
        self._sums = {name: Sums(self._gauges[f"churn_{name}"]) for name in _SUMS}
        self._reasons, self._types, self._markets = Bounded(64), Bounded(32), Bounded(64)
        self._frames: dict[int, pl.DataFrame] = {}  # the episodes last measured
        self._states: dict[int, str] = {}
        self._set("build_info", 1, version, platform.python_version())
        self._set("clock_info", 1, clock)
        for reason in _REASONS:
            self._sums["suppressed_warnings"].expect((reason,))
        self._sums["feed_withheld"].expect((_ALL_MARKETS,))
        for result in _RESULTS:
            self._count("transactions", 0, result)
        for channel in _CHANNELS:
            self._count("orders", 0, channel, "ordered")

    def render(self) -> bytes:
        """Everything in Prometheus' text format, of CONTENT_TYPE."""
        return prometheus.generate_latest(self._registry)

    # records and turns

    def records_taken(
        self, partition: int, records: int, rejected: Mapping[str, int], ignored: Mapping[str, int]
    ) -> None:
        """So many records are committed, the rejected by reason and the ignored by type among them."""
        self._count("records_in", records, partition)
        for reason, count in rejected.items():
            self._count("records_rejected", count, self._reasons.admit(reason))
        for type_, count in ignored.items():
            self._count("records_ignored", count, self._types.admit(type_))

    def reasons_known(self, reasons: Iterable[str]) -> None:
        """Why records may be rejected; each counter starts at zero, so that a first dead letter is an increase."""
        for reason in reasons:
            self._count("records_rejected", 0, self._reasons.admit(reason))

    def turn_committed(self, turn: Committed) -> None:
        """A turn's transaction is committed: count where its records ended, its warnings and orders."""
        self._count("records_counted", turn.counts.counted)
        self._count("records_repeated", turn.counts.repeated)
        self._count("records_late", turn.counts.late)
        # Turns are small and many: a line at a time is soonest counted.
        told = Tally(
            turn.transitions.select("suppressed_by", "rule", "kind", "severity", "transition", "orders").iter_rows()
        )
        for (suppressed_by, *labels, orders), count in told.items():
            rule, _, _, transition = labels
            if suppressed_by is None:
                self._count("warnings", count, *labels)
            if transition == "raised":
                self._count_raised(rule, orders, count, suppressed_by)

        for line, count in Tally(turn.segments.select("segment", "market").iter_rows()).items():
            self._count("segment_changes", count, line[0], self._markets.admit(line[1] or ""))

    def _count_raised(self, rule: str, orders: str | None, count: int, suppressed_by: str | None) -> None:
        if suppressed_by is not None:
            self._count("warnings_suppressed", count, rule, suppressed_by.partition(":")[0])
            return
        for channel, outcome in json.loads(orders or "{}").items():
            self._count("orders", count, channel, outcome)

    def batch_finished(self, seconds: float) -> None:
        """A polled batch is committed to its last turn, after so long."""
        self._time("turn", seconds)

    def transaction_ended(self, result: TransactionResult, seconds: float) -> None:
        """A transaction came to its end."""
        self._count("transactions", 1, result)
        self._time("transaction", seconds)

    def day_closed(self, seconds: float) -> None:
        """A shard closed a day, down to its last slice."""
        self._time("day_close", seconds)

    # shards

    def partitions_known(self, partitions: int) -> None:
        """How many partitions the usage topic has."""
        self._set("partitions", partitions)

    def shard_entered(self, partition: int, state: str) -> None:
        """A shard is in another state: restoring, running ..."""
        former = self._states.get(partition, state)
        self._set("shard_state", 0, partition, former)
        self._set("shard_state", 1, partition, state)
        self._states[partition] = state

    def shard_left(self, partition: int) -> None:
        """A shard lives here no longer: nothing is said of it any more."""
        self._states.pop(partition, None)
        self._frames.pop(partition, None)
        for sums in self._sums.values():
            sums.replace(partition, {})
        for name in OF_A_SHARD:
            self._gauges[name].remove_by_labels({"partition": str(partition)})

    def usage_held(self, partition: int, *, held: bool) -> None:
        """Whether a shard takes no usage because too much of it is bad."""
        self._set("usage_held", int(held), partition)

    def shard_restored(self, seconds: float) -> None:
        """A shard was restored and runs."""
        self._time("restore", seconds)

    def shard_moved(self, partition: int, cursor: int, high_watermark: int) -> None:
        """How far a shard has read, and how far it could."""
        self._set("lag_records", max(0, high_watermark - cursor), partition)

    def shard_measured(self, partition: int, state: Measured) -> None:
        """What a shard's state holds now; cheap unless its episodes changed, so call it after every commit."""
        self._set("subscribers", state.subscribers, partition)
        self._set("state_bytes", state.nbytes, partition)
        self._set("repeats_bytes", state.repeats.nbytes, partition)
        if state.watermark_us is not None:
            self._set("watermark_timestamp_seconds", state.watermark_us / _US, partition)
        if state.closed_day is not None:
            self._set("closed_day", state.closed_day, partition)
            self._set("next_close_timestamp_seconds", state.due_us(state.closed_day + 1) / _US, partition)
        self._measure_judgement(partition, state)
        frame = state.episodes.frame
        if self._frames.get(partition) is not frame:
            self._frames[partition] = frame
            self._sums["open_warnings"].replace(partition, _open_warnings(frame))
            self._sums["suppressed_warnings"].replace(partition, _suppressed_warnings(frame))
            self._sums["pending_warnings"].replace(partition, _pending_warnings(frame))
            self._sums["money_at_risk_minor"].replace(partition, _money_at_risk(frame))

    def _measure_judgement(self, partition: int, state: Measured) -> None:
        """What kept the last close from judging, or from publishing."""
        closed_day = -1 if state.closed_day is None else state.closed_day
        markets = (self._markets.admit(_SHOWN.get(name, name)) for name in state.feed.withheld.get(closed_day, ()))
        self._sums["feed_withheld"].replace(partition, Tally((market,) for market in markets))
        self._set("close_held", int(state.last_close is not None and state.last_close.held), partition)
        in_force = sum(1 for mute in state.mutes.values() if mute.until >= max(mute.since, closed_day + 1))
        self._set("mutes", in_force, partition)

    def segments_counted(self, partition: int, tally: pl.DataFrame) -> None:
        """Subscribers of a shard (columns segment, market, subscribers) after it closed a day."""
        counts: Tally[tuple[str, ...]] = Tally()
        for segment, market, subscribers in tally.select("segment", "market", "subscribers").iter_rows():
            counts[(str(segment), self._markets.admit(market or ""))] += subscribers
        self._sums["segment_subscribers"].replace(partition, counts)

    # snapshots

    def snapshot_saved(self, partition: int, seconds: float, size_bytes: int, at_us: int) -> None:
        """A snapshot of a shard was written at an instant (UTC microseconds)."""
        self._time("snapshot", seconds)
        self._set("snapshot_bytes", size_bytes, partition)
        self.snapshot_found(partition, at_us)

    def snapshot_found(self, partition: int, at_us: int) -> None:
        """A shard starts from a snapshot that was written at an instant (UTC microseconds)."""
        self._set("snapshot_timestamp_seconds", at_us / _US, partition)

    def snapshot_failed(self) -> None:
        """A snapshot could not be written."""
        self._count("snapshot_failures", 1)

    # the world

    def broker_answers(self, *, connected: bool) -> None:
        """Whether the broker answers."""
        self._set("broker_connected", int(connected))

    def consumer_restarted(self) -> None:
        """The group was joined anew, for shards were fed nothing."""
        self._count("consumer_restarts", 1)

    def rulebooks_judge(self, hashes: Iterable[str], rules: Iterable[Judged]) -> None:
        """Which rulebooks judge here, one as a rule.

        Counters of `rules`, of those and of rulebooks to come, start at zero, so that a first warning is an increase.
        """
        self._gauges["churn_rulebook_info"].clear()
        for rulebook_hash in hashes:
            self._set("rulebook_info", 1, rulebook_hash)
        for rule in rules:
            for severity in _SEVERITIES:
                self._sums["open_warnings"].expect((rule.id, rule.kind, severity))
                for transition in _TRANSITIONS:
                    self._count("warnings", 0, rule.id, rule.kind, severity, transition)
            self._count("warnings_suppressed", 0, rule.id, "cap")
            self._sums["pending_warnings"].expect((rule.id,))
        for severity in _SEVERITIES:
            self._sums["money_at_risk_minor"].expect((severity,))

    def rulebooks_refused(self, count: int) -> None:
        """So many published rulebooks, which are to judge or will be, cannot be used here."""
        self._set("rulebook_refused", count)

    def request_served(self, route: str | None, method: str, status: int, seconds: float) -> None:
        """An HTTP answer began after so long. `route` is the template, /v1/subscribers/{id}; None: no route took it."""
        route = route or UNMATCHED
        method = method if method in _METHODS else OTHER
        self._count("http_requests", 1, route, method, status)
        self._timings["churn_http_request_seconds"].labels(route, method).observe(seconds)

    def stream_opened(self) -> None:
        """A client connected to the live stream."""
        self._gauges["churn_stream_clients"].inc()

    def stream_closed(self) -> None:
        """A client of the live stream went."""
        self._gauges["churn_stream_clients"].dec()

    def _make(self, metric: Metric) -> None:
        name, labels, registry = metric.name, metric.labels, self._registry
        if metric.type == "counter":
            self._counters[name] = prometheus.Counter(name, metric.sentence, labels, registry=registry)
        elif metric.type == "gauge":
            self._gauges[name] = prometheus.Gauge(name, metric.sentence, labels, registry=registry)
        else:
            buckets = metric.buckets
            self._timings[name] = prometheus.Histogram(
                name, metric.sentence, labels, registry=registry, buckets=buckets
            )

    def _count(self, name: str, count: int, *labels: object) -> None:
        counter = self._counters[f"churn_{name}_total"]
        (counter.labels(*labels) if labels else counter).inc(count)

    def _set(self, name: str, value: float, *labels: object) -> None:
        gauge = self._gauges[f"churn_{name}"]
        (gauge.labels(*labels) if labels else gauge).set(value)

    def _time(self, name: str, seconds: float) -> None:
        self._timings[f"churn_{name}_seconds"].observe(seconds)


def _open_warnings(episodes: pl.DataFrame) -> dict[tuple[str, ...], float]:
    counts = _published(episodes).group_by("rule", "kind", "severity").len()
    return {(rule, kind, severity): count for rule, kind, severity, count in counts.iter_rows()}


def _suppressed_warnings(episodes: pl.DataFrame) -> dict[tuple[str, ...], float]:
    withheld = episodes.filter(pl.col("state").is_in(_OPEN) & pl.col("suppressed_by").is_not_null())
    counts = withheld.group_by(pl.col("suppressed_by").str.split(":").list.first()).len()
    return {(reason,): count for reason, count in counts.iter_rows()}


def _pending_warnings(episodes: pl.DataFrame) -> dict[tuple[str, ...], float]:
    counts = episodes.filter(pl.col("state") == "pending").group_by("rule").len()
    return {(rule,): count for rule, count in counts.iter_rows()}


def _money_at_risk(episodes: pl.DataFrame) -> dict[tuple[str, ...], float]:
    """By severity; a subscriber with several warnings counts once, under the gravest."""
    gravity = pl.col("severity").replace_strict(_SEVERITIES, range(len(_SEVERITIES)), return_dtype=pl.Int8)
    of_each = (
        _published(episodes)
        .filter(pl.col("kind") == "risk")
        .group_by("row")
        .agg(gravity.max(), pl.col("money_at_risk_minor").max())
    )
    sums = of_each.group_by("severity").agg(pl.col("money_at_risk_minor").sum())
    return {(_SEVERITIES[gravest],): money for gravest, money in sums.iter_rows()}


def _published(episodes: pl.DataFrame) -> pl.DataFrame:
    return episodes.filter(pl.col("state").is_in(_OPEN) & pl.col("suppressed_by").is_null())
