"""Each bench, small: that it works and says what it promises, not how fast."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
EVENTS = 20_000
EVENTS_OF_FEW = ("--events", str(EVENTS), "--subscribers", "2000")


@pytest.mark.parametrize("reading", [(), ("--getmany", "--turn-records", "3000")])
def test_throughput_drains_every_event_bare_and_whole(reading: Sequence[str], kafka_bootstrap: str) -> None:
    found = measured("throughput", kafka_bootstrap, *EVENTS_OF_FEW, *reading)
    assert found["whole_batches"] == (not reading)
    assert found["bare_drain_eps"] > 0
    assert found["end_to_end_eps"] > 0
    assert 150 <= found["event_bytes"] <= 210
    whole = found["end_to_end"]
    assert whole["counted"] == EVENTS
    assert whole["closes"] == found["partitions"], "each shard closes the day once"
    assert whole["warnings"] > 0
    assert set(whole["seconds"]) == {"poll", "decode", "step", "encode", "transactions"}
    assert found["untransacted"]["warnings"] == whole["warnings"]
    assert found["transacted_ratio"] > 0


def test_bad_lines_are_drained_beside_none(kafka_bootstrap: str) -> None:
    found = measured("bad_lines", kafka_bootstrap)
    assert EVENTS * 0.005 < found["bad_lines"] < EVENTS * 0.02
    assert found["clean_eps"] > 0
    assert found["bad_lines_eps"] > 0


def test_a_city_lives_through_a_day_and_comes_back(kafka_bootstrap: str) -> None:
    few = ("--days", "35", "--partitions", "3", "--windows", "1,30,90", "--transitions", "500", "--tail", "2000")
    found = measured("city", kafka_bootstrap, "--subscribers", "1500", *few, "--profiles")
    assert found["subscribers"] == found["known"] == 1500
    assert found["lines"] > 1500 * 34 / 2
    assert found["bytes_per_subscriber_repeats"] == 8 * 12
    assert found["bytes_per_subscriber"] == pytest.approx(sum(found["bytes_by_part"].values()), abs=1)
    assert found["raised"] > 0
    assert found["published"] == 501  # a third of 500 of each shard, rounded up
    assert set(found["day_close"]) == {"sums", "cohorts", "assign", "judge", "conclude"}
    assert found["restored"] == {"subscribers": 1500, "records": 2000}
    figures = {"rss_mb", "bootstrap_s", "day_close_s", "publish_s", "snapshot_s", "snapshot_mb", "restore_s"}
    assert figures <= found.keys()


def test_lookups_and_warnings_are_timed_while_a_feed_flows_and_days_close(kafka_bootstrap: str) -> None:
    sizes = ("--subscribers", "1000", "--partitions", "2", "--days", "9", "--lookups", "20", "--rate", "2000")
    found = measured("lookup", kafka_bootstrap, *sizes, "--seconds", "4")
    assert found["counted"] >= 8000, "every event of the feed, and the probes"
    assert found["closes"] == 2 * 2, "each shard closes the last day of history, and one of the feed"
    counts = {}
    for timed in ("lookup", "warning"):
        told = [found[f"{timed}{when}_ms"] for when in ("", "_during_close")]
        counts[timed] = sum(figures["count"] for figures in told)
        assert counts[timed] > 0
        assert all(figures["p50"] <= figures["p99"] <= figures["max"] for figures in told if figures["count"])
    assert set(found["lookups_not_answered"]) <= {"404"}
    unknown = sum(found["lookups_not_answered"].values())
    assert unknown < counts["lookup"] / 10, "few use nothing in nine days"
    assert found["warnings_not_seen"] == 0
    assert found["fed_eps"] > 0


def test_judging_is_timed_with_few_rules_and_with_many() -> None:
    sizes = ("--subscribers", "500", "--days", "61", "--few", "5", "--many", "10", "--turns", "1")
    found = measured("rules", "127.0.0.1:1", *sizes)
    assert (found["few"], found["many"]) == (5, 10)
    assert 400 < found["subscribers"] <= 500
    assert found["few_met"] < found["many_met"]
    assert found["ratio"] > 0


def measured(bench: str, bootstrap: str, *sizes: str) -> dict[str, Any]:
    done = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", "tests.bench", bench, *(sizes or EVENTS_OF_FEW), "--json"],
        cwd=ROOT,
        env=os.environ | {"CHURN_TEST_BOOTSTRAP_SERVERS": bootstrap},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
