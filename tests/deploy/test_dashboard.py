"""The dashboard: every query of every panel gives a series from a real Prometheus that scrapes a service."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from service.metrics import Metrics, describe
from tests.deploy.demonstration import demonstration
from tests.deploy.scraping import scraping, until
from tests.doubles.exposition import exposition

GRAFANA = Path(__file__).parents[2] / "deploy/grafana"
DASHBOARD: dict[str, Any] = json.loads((GRAFANA / "dashboards/churn-warning.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [
    pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")
    for panel in PANELS
    for target in panel["targets"]
]
SUFFIXES = ("_bucket", "_sum", "_count")
BUILT_IN = {"__rate_interval": "10s", "__interval": "10s", "__range": "1m"}


def chosen(variable: dict[str, Any]) -> str:
    """What a variable stands for when nobody has chosen anything."""
    value = variable["current"]["value"]
    return str(variable["allValue"] if value == ["$__all"] else value)


VARIABLES = BUILT_IN | {variable["name"]: chosen(variable) for variable in DASHBOARD["templating"]["list"]}


def resolve(expression: str) -> str:
    """A query as Grafana would send it."""
    return re.sub(r"\$(\w+)", lambda found: VARIABLES[found[1]], expression)


Look = Callable[[str], bool]
WITHIN_S = 60


@contextmanager
def double(folder: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """The address of a service to which everything has happened, and nothing to do there."""
    del folder
    with exposition(Metrics("0.0.0", "log")) as address:
        yield address, lambda: None


@contextmanager
def demo(folder: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """The address of a running demo, and how to visit it."""
    with demonstration(folder) as running:
        yield running.address, running.visit


SERVICES = [double, demo]


@pytest.fixture(scope="module", params=SERVICES, ids=lambda service: service.__name__)
def finds(
    request: pytest.FixtureRequest, require_tool: Callable[[str, str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Look]:
    """Whether a query gives a number, asked of a Prometheus that scrapes a service which is visited meanwhile."""
    program = require_tool("prometheus", "prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    with request.param(folder) as (target, visit), scraping(program, target, folder) as prometheus:

        def look(expression: str) -> bool:
            visit()
            return prometheus.is_ready() and prometheus.has_numbers(expression)

        yield look


@pytest.mark.parametrize("expression", QUERIES)
async def test_every_query_gives_a_series(finds: Look, expression: str) -> None:
    asked = resolve(expression)
    await until(lambda: finds(asked), f"no number from {asked}", within_s=WITHIN_S)


@pytest.mark.parametrize("variable", [v for v in DASHBOARD["templating"]["list"] if v["type"] == "query"])
async def test_every_variable_offers_something(finds: Look, variable: dict[str, Any]) -> None:
    metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"]).groups()  # type: ignore[union-attr]  # a test fails on None
    asked = f'count by ({label}) ({metric}{{{label}!=""}})'
    await until(lambda: finds(asked), f"no value of {label}", within_s=WITHIN_S)


@pytest.mark.parametrize(
    "recorded", ["churn:watermark_age:seconds", "churn:close_overdue:seconds", "churn:http_request:p95_5m"]
)
async def test_recorded_series_are_there(finds: Look, recorded: str) -> None:
    await until(lambda: finds(recorded), f"no {recorded}", within_s=WITHIN_S)


@pytest.mark.parametrize(
    "healthy",
    [
        "min(churn_broker_connected) == 1",
        'sum(churn_shard_state{state="running"}) == max(churn_partitions)',
        'sum(churn_warnings_total{transition="raised"}) > 0',
    ],
)
async def test_a_service_in_good_health_looks_like_it(finds: Look, healthy: str) -> None:
    await until(lambda: finds(healthy), f"never true: {healthy}", within_s=WITHIN_S)


def test_every_metric_of_ours_is_shown_somewhere() -> None:
    shown = " ".join(target["expr"] for panel in PANELS for target in panel["targets"])
    ours = [metric.name for metric in describe() if metric.name.startswith("churn_")]
    unseen = [name for name in ours if name not in shown]
    assert sorted(unseen) == [
        "churn_consumer_restarts_total",  # only an alert asks
        "churn_next_close_timestamp_seconds",  # only an alert asks
        "churn_partitions",  # only an alert asks
        "churn_rulebook_refused",  # only an alert asks
    ]


def test_queries_name_metrics_that_exist() -> None:
    names = {metric.name for metric in describe()}
    known = names | {name + suffix for name in names for suffix in SUFFIXES}
    for panel in PANELS:
        for target in panel["targets"]:
            assert set(re.findall(r"\b(?:churn|process)_\w+", target["expr"])) <= known, panel["title"]


def test_panels_say_what_they_show_and_lie_beside_one_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        assert panel["type"] == "row" or panel["description"].endswith(".")
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_grafana_is_told_where_prometheus_and_the_dashboard_are() -> None:
    yaml = YAML(typ="safe")
    compose = yaml.load((GRAFANA.parent / "compose.yaml").read_text())["services"]
    [source] = yaml.load((GRAFANA / "provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    [provider] = yaml.load((GRAFANA / "provisioning/dashboards/churn-warning.yaml").read_text())["providers"]
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in compose
    assert source["uid"] == VARIABLES["datasource"]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in compose["grafana"]["volumes"]


def test_prometheus_scrapes_the_service_of_the_compose_file() -> None:
    yaml = YAML(typ="safe")
    compose = yaml.load((GRAFANA.parent / "compose.yaml").read_text())["services"]
    [job] = yaml.load((GRAFANA.parent / "prometheus/prometheus.yml").read_text())["scrape_configs"]
    [target] = job["static_configs"][0]["targets"]
    host, port = target.split(":")
    assert compose[host]["ports"] == [f"127.0.0.1:8080:{port}"]
