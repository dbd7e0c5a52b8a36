"""Metrics say what happened: named and explained in one place, nothing personal, nothing left of a shard that went."""

import inspect
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.core.turn import Counts, DayRecord, Mute
from service.metrics import CONTENT_TYPE, Metric, Metrics, describe
from service.shard.world import Observer
from service.wire.rejects import Fault
from tests.doubles.exposition import NamedRule, exercise, open_episode, raised, state_with, turn_with

DOCUMENT = Path(__file__).parents[1] / "deploy/prometheus/README.md"
Labels = dict[str, str]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("1.2.3", "wall")


def samples(metrics: Metrics, name: str) -> list[tuple[Labels, float]]:
    text = metrics.render().decode()
    return [
        (sample.labels, sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    ]


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    found = [value for given, value in samples(metrics, name) if given == labels]
    assert len(found) <= 1
    return found[0] if found else None


def total(metrics: Metrics, name: str) -> float:
    return sum(value for _, value in samples(metrics, name))


@pytest.mark.parametrize("metric", describe(), ids=lambda metric: metric.name)
def test_every_metric_follows_the_conventions_of_names_and_says_what_it_is(metric: Metric) -> None:
    assert re.fullmatch(r"(churn|process)_[a-z]+(_[a-z]+)*", metric.name)
    assert metric.sentence.endswith(".")
    assert (metric.type == "counter") == metric.name.endswith("_total")
    if metric.type == "histogram":
        assert metric.name.endswith("_seconds")
    assert not {"subscriber", "subscriber_id", "msisdn", "path", "le"} & set(metric.labels)


@pytest.mark.parametrize("metric", describe(), ids=lambda metric: metric.name)
def test_every_metric_stands_in_the_document(metric: Metric) -> None:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    assert f"| `{metric.name}` | {metric.type} | {labels} | {metric.sentence} |" in DOCUMENT.read_text()


def test_the_document_names_no_metric_that_is_not_there() -> None:
    documented = re.findall(r"^\| `((?:churn|process)_\w+)` ", DOCUMENT.read_text(), re.MULTILINE)
    assert sorted(documented) == sorted(metric.name for metric in describe())


def test_what_is_exposed_is_what_is_described(metrics: Metrics) -> None:
    exercise(metrics)
    families = {
        f"{family.name}_total" if family.type == "counter" else family.name: family
        for family in text_string_to_metric_families(metrics.render().decode())
    }
    assert set(families) == {metric.name for metric in describe()}
    for metric in describe():
        family = families[metric.name]
        assert (family.type, family.documentation) == (metric.type, metric.sentence)
        assert {tuple(sorted(set(s.labels) - {"le"})) for s in family.samples} == {tuple(sorted(metric.labels))}


def test_every_method_is_exercised_by_the_exposition_double() -> None:
    methods = [name for name, _ in inspect.getmembers(Metrics, inspect.isfunction) if not name.startswith("_")]
    source = inspect.getsource(inspect.getmodule(exercise) or exercise)
    assert [name for name in methods if f"metrics.{name}(" not in source] == []


def test_metrics_are_the_observer_that_a_shard_reports_to(metrics: Metrics) -> None:
    observer: Observer = metrics
    asked = [name for name, _ in inspect.getmembers(Observer, inspect.isfunction) if not name.startswith("_")]
    assert asked
    for name in asked:
        wanted, given = inspect.signature(getattr(Observer, name)), inspect.signature(getattr(Metrics, name))
        assert list(wanted.parameters) == list(given.parameters), name
        assert callable(getattr(observer, name))


def test_two_processes_worth_of_metrics_do_not_share_a_registry(metrics: Metrics) -> None:
    metrics.snapshot_failed()
    assert value(metrics, "churn_snapshot_failures_total") == 1
    assert value(Metrics("1.2.3", "log"), "churn_snapshot_failures_total") == 0


def test_the_format_is_one_that_every_prometheus_reads(metrics: Metrics) -> None:
    assert CONTENT_TYPE == "text/plain; version=0.0.4; charset=utf-8"
    assert b"_created" not in metrics.render()


def test_every_record_ends_in_one_counter(metrics: Metrics) -> None:
    metrics.records_taken(3, 120, {"malformed": 2, "no_key": 1}, {"usage.hologram": 3})
    metrics.turn_committed(turn_with(Counts(counted=100, late=4, repeated=10), []))
    ends = ("counted", "repeated", "late", "rejected", "ignored")
    assert [total(metrics, f"churn_records_{end}_total") for end in ends] == [100, 10, 4, 3, 3]
    assert value(metrics, "churn_records_in_total", partition="3") == 120


def test_reasons_to_reject_start_at_zero_so_that_a_first_dead_letter_is_an_increase(metrics: Metrics) -> None:
    metrics.reasons_known(Fault)
    assert len(samples(metrics, "churn_records_rejected_total")) == len(Fault)
    assert total(metrics, "churn_records_rejected_total") == 0


def test_warnings_and_orders_are_counted_once_and_standing_ones_apart(metrics: Metrics) -> None:
    acknowledged = raised("drop_data", "risk", '{"call": "ordered"}') | {"transition": "acknowledged"}
    metrics.turn_committed(
        turn_with(
            Counts(),
            [
                raised("drop_data", "risk", '{"call": "ordered", "sms": "no_consent"}'),
                raised("drop_data", "risk", '{"call": "ordered"}'),
                acknowledged,
                raised("drop_voice", "risk", '{"call": "ordered"}', suppressed_by="standing"),
            ],
        )
    )
    labels = {"rule": "drop_data", "kind": "risk", "severity": "warning"}
    assert value(metrics, "churn_warnings_total", **labels, transition="raised") == 2
    assert value(metrics, "churn_warnings_total", **labels, transition="acknowledged") == 1
    assert value(metrics, "churn_warnings_suppressed_total", rule="drop_voice", reason="standing") == 1
    assert value(metrics, "churn_orders_total", channel="call", outcome="ordered") == 2
    assert value(metrics, "churn_orders_total", channel="sms", outcome="no_consent") == 1


def test_a_rulebooks_rules_start_at_zero_so_that_a_first_warning_is_an_increase(metrics: Metrics) -> None:
    metrics.rulebooks_judge(["aaaa"], [NamedRule("drop_data", "risk")])
    labels = {"rule": "drop_data", "kind": "risk", "severity": "critical"}
    assert value(metrics, "churn_warnings_total", **labels, transition="raised") == 0
    assert value(metrics, "churn_open_warnings", **labels) == 0
    metrics.rulebooks_judge(["bbbb"], [])
    assert samples(metrics, "churn_rulebook_info") == [({"hash": "bbbb"}, 1)]


def test_open_warnings_are_summed_over_the_shards_of_the_process(metrics: Metrics) -> None:
    metrics.shard_measured(0, state_with([open_episode(0, "critical", 10), open_episode(1, "critical", 10)]))
    metrics.shard_measured(1, state_with([open_episode(0, "critical", 10)]))
    labels = {"rule": "drop_data", "kind": "risk", "severity": "critical"}
    assert value(metrics, "churn_open_warnings", **labels) == 3
    metrics.shard_left(0)
    assert value(metrics, "churn_open_warnings", **labels) == 1
    metrics.shard_left(1)
    assert value(metrics, "churn_open_warnings", **labels) == 0


def test_resolved_and_standing_episodes_are_not_open_warnings(metrics: Metrics) -> None:
    episodes = [
        open_episode(0, "notice", 10, suppressed_by="standing"),
        open_episode(1, "notice", 10, state="resolved"),
    ]
    metrics.shard_measured(0, state_with([*episodes, open_episode(2, "notice", 10, state="acknowledged")]))
    assert value(metrics, "churn_open_warnings", rule="drop_data", kind="risk", severity="notice") == 1


def test_what_is_withheld_and_what_is_pending_is_counted_apart(metrics: Metrics) -> None:
    episodes = [
        open_episode(0, "notice", 10, suppressed_by="rule:silence"),
        open_episode(1, "notice", 10, suppressed_by="rule:outgoing"),
        open_episode(2, "notice", 10, suppressed_by="cap", state="resolved"),
        open_episode(3, "notice", 10, state="pending"),
    ]
    metrics.shard_measured(0, state_with(episodes))
    assert value(metrics, "churn_suppressed_warnings", reason="rule") == 2
    assert value(metrics, "churn_suppressed_warnings", reason="cap") == 0
    assert value(metrics, "churn_pending_warnings", rule="drop_data") == 1


def test_a_doubted_feed_a_held_close_and_mutes_are_said_and_taken_back(metrics: Metrics) -> None:
    state = state_with([open_episode(0, "notice", 1)])
    state.feed.withheld = {99: frozenset({"rural"}), 100: frozenset({"campus", "*", ""})}
    state.last_close = DayRecord(100, 0, "clock", "r", 1, 1, held=True)
    state.mutes = {
        name: Mute(name, {"rule": "drop_data"}, since, until, "m-07", "why")
        for name, since, until in (("now", 100, 101), ("over", 90, 100), ("ended", 101, 100))
    }
    metrics.shard_measured(0, state)
    markets = {labels["market"]: count for labels, count in samples(metrics, "churn_feed_withheld")}
    assert markets == {"(all)": 1, "(none)": 1, "campus": 1}
    assert value(metrics, "churn_close_held", partition="0") == 1
    assert value(metrics, "churn_mutes", partition="0") == 1
    metrics.shard_measured(0, state_with([open_episode(0, "notice", 1)]))
    assert total(metrics, "churn_feed_withheld") == 0
    assert value(metrics, "churn_close_held", partition="0") == 0


def test_money_at_risk_counts_a_subscriber_once_under_the_gravest_warning(metrics: Metrics) -> None:
    episodes = [
        open_episode(0, "notice", 500),
        open_episode(0, "critical", 500),
        open_episode(1, "notice", 70),
        open_episode(2, "critical", 1_000, kind="opportunity"),
    ]
    metrics.shard_measured(0, state_with(episodes))
    assert value(metrics, "churn_money_at_risk_minor", severity="critical") == 500
    assert value(metrics, "churn_money_at_risk_minor", severity="notice") == 70


def test_a_day_is_due_at_its_end_and_the_grace(metrics: Metrics) -> None:
    metrics.shard_measured(0, state_with([open_episode(0, "notice", 1)]))
    assert value(metrics, "churn_closed_day", partition="0") == 100
    assert value(metrics, "churn_next_close_timestamp_seconds", partition="0") == 102 * 86_400 + 7_200
    assert value(metrics, "churn_watermark_timestamp_seconds", partition="0") == 102 * 86_400


def test_lag_is_what_lies_between_cursor_and_end(metrics: Metrics) -> None:
    metrics.shard_moved(0, cursor=120, high_watermark=150)
    assert value(metrics, "churn_lag_records", partition="0") == 30
    metrics.shard_moved(0, cursor=150, high_watermark=149)
    assert value(metrics, "churn_lag_records", partition="0") == 0


def test_a_shard_is_in_one_state(metrics: Metrics) -> None:
    metrics.shard_entered(0, "restoring")
    metrics.shard_entered(0, "running")
    assert value(metrics, "churn_shard_state", partition="0", state="restoring") == 0
    assert value(metrics, "churn_shard_state", partition="0", state="running") == 1


def test_nothing_is_said_of_a_shard_that_went(metrics: Metrics) -> None:
    exercise(metrics)
    metrics.shard_left(0)
    gauges = [metric.name for metric in describe() if metric.type == "gauge" and "partition" in metric.labels]
    assert [name for name in gauges if samples(metrics, name)] == []


def test_label_values_from_outside_are_plain_words_and_bounded_in_number(metrics: Metrics) -> None:
    strange = {"13800138000": 1, 'a"b\n': 1, "x" * 41: 1, "": 1}
    metrics.records_taken(0, 0, {}, strange | {f"usage.kind{number}": 1 for number in range(1_000)})
    found = samples(metrics, "churn_records_ignored_total")
    assert len(found) <= 33
    assert sum(count for _, count in found) == 1_004
    assert not {"13800138000", 'a"b\n', "x" * 41} & {labels["type"] for labels, _ in found}


def test_requests_are_counted_by_template_and_known_method(metrics: Metrics) -> None:
    metrics.request_served("/v1/subscribers/{id}", "GET", 404, 0.01)
    metrics.request_served(None, "BREW", 404, 0.01)
    found = samples(metrics, "churn_http_requests_total")
    assert found == [
        ({"route": "/v1/subscribers/{id}", "method": "GET", "status": "404"}, 1),
        ({"route": "unmatched", "method": "other", "status": "404"}, 1),
    ]


def test_changes_of_segment_are_counted_by_where_they_lead(metrics: Metrics) -> None:
    turn = turn_with(Counts(), [], [(42, "campus"), (5, None), (42, "campus")])
    metrics.turn_committed(turn)
    assert value(metrics, "churn_segment_changes_total", segment="42", market="campus") == 2
    assert value(metrics, "churn_segment_changes_total", segment="5", market="") == 1
