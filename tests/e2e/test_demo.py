"""The demo as people start it: its last line, its status, and nothing personal in what it prints."""

import json
import re
import subprocess

import pytest

from service.city.city import City
from service.city.profile import load_profile
from tests.e2e.running import PROGRAM, ROOT, answer, defaults

SUBSCRIBERS, DAYS = 1_500, 100
KEYS = {
    "subscribers", "events_in", "rejected", "repeated", "late", "ignored", "warnings", "outbound", "withheld", "wall_s",
}  # fmt: skip


def demo(days: int, level: str) -> subprocess.CompletedProcess[str]:
    size = ("--subscribers", str(SUBSCRIBERS), "--days", str(days), "--port", "0")
    return subprocess.run(  # noqa: S603 - our own program
        [*PROGRAM, "demo", "--exit", "--json", *size],
        cwd=ROOT,
        env={**defaults(), "CHURN_LOG__LEVEL": level},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def shown() -> subprocess.CompletedProcess[str]:
    return demo(DAYS, "info")


def test_every_rule_finds_somebody_and_the_last_line_says_whom_it_counted(
    shown: subprocess.CompletedProcess[str],
) -> None:
    assert shown.returncode == 0, shown.stderr[-2_000:]
    told = json.loads(shown.stdout.splitlines()[-1])
    assert told.keys() == KEYS
    assert told["subscribers"] == SUBSCRIBERS
    assert told["events_in"] > 50_000
    rules = answer(defaults(), "rules", "check")["rules"]
    assert {rule: told["warnings"].get(rule, 0) for rule in rules if not told["warnings"].get(rule)} == {}
    assert told["outbound"].keys() == {"call", "sms", "manager"}
    assert min(told["outbound"].values()) > 0
    assert min(told[name] for name in ("rejected", "repeated", "late", "ignored")) > 0


def test_nothing_that_is_printed_or_logged_names_a_subscriber(shown: subprocess.CompletedProcess[str]) -> None:
    people = City(load_profile(ROOT / "rules" / "profiles" / "demo.yaml"), SUBSCRIBERS, 1, days=DAYS).population
    personal = {*people["subscriber_id"], *people["msisdn"]}
    words = set(re.findall(r"\w+", shown.stdout + shown.stderr))
    assert "Living" in words
    assert "page" not in words, "it ends before anybody could look"
    assert personal & words == set()


def test_a_rule_that_finds_nobody_is_named_and_makes_the_status_1() -> None:
    done = demo(3, "warning")
    assert done.returncode == 1, done.stderr[-2_000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert not told["warnings"].get("outgoing_silence")
    assert re.search(r"No subscriber met .*outgoing_silence", done.stderr.splitlines()[-1])
