"""Alerts: Prometheus takes them, each is shown to fire and to keep quiet, and each names metrics that exist."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from service.metrics import describe

FOLDER = Path(__file__).parents[2] / "deploy/prometheus"
SUFFIXES = ("_bucket", "_sum", "_count")


def read(name: str) -> Any:
    return YAML(typ="safe").load((FOLDER / name).read_text())


RULES = [rule for group in read("rules.yml")["groups"] for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}


def promtool(program: str, *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603 - our own arguments
        [program, *arguments], cwd=FOLDER, capture_output=True, text=True, check=False, timeout=60
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def test_prometheus_takes_the_scrape_configuration_and_its_rules(require_tool: Callable[[str, str], str]) -> None:
    said = promtool(require_tool("promtool", "prometheus"), "check", "config", "prometheus.yml")
    assert f"SUCCESS: {len(RULES)} rules found" in said


def test_alerts_fire_when_they_should_and_only_then(require_tool: Callable[[str, str], str]) -> None:
    assert "SUCCESS" in promtool(require_tool("promtool", "prometheus"), "test", "rules", "rules_test.yml")


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_is_shown_to_fire_and_to_keep_quiet(alert: str) -> None:
    tests = [
        (test, case)
        for test in read("rules_test.yml")["tests"]
        for case in test["alert_rule_test"]
        if case["alertname"] == alert
    ]
    assert any(case["exp_alerts"] for _, case in tests)
    assert any(not case["exp_alerts"] for _, case in tests), "no moment at which it should keep quiet"


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_says_how_urgent_it_is_and_what_to_do(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["description"].endswith(".")
    documented = f"| `{alert}` | {rule['labels']['severity']} |"
    assert documented in (FOLDER / "README.md").read_text()


def test_rules_name_metrics_and_labels_that_exist() -> None:
    names = {metric.name for metric in describe()}
    for rule in RULES:
        for name in re.findall(r"\bchurn_\w+", rule["expr"]):
            assert name in names | {metric + suffix for metric in names for suffix in SUFFIXES}, rule
        recorded = {other["record"] for other in RULES if "record" in other}
        assert set(re.findall(r"\bchurn:[\w:]+", rule["expr"])) <= recorded
