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


@pytest.mark.parametrize("reading", [(), ("--getmany", "--turn-records", "3000")])
def test_throughput_drains_every_event_bare_and_whole(reading: Sequence[str], kafka_bootstrap: str) -> None:
    found = measured("throughput", kafka_bootstrap, *reading)
    assert found["whole_batches"] == (not reading)
    assert found["bare_drain_eps"] > 0
    assert found["end_to_end_eps"] > 0
    assert 150 <= found["event_bytes"] <= 210
    whole = found["end_to_end"]
    assert whole["counted"] == EVENTS
    assert whole["closes"] == found["partitions"], "each shard closes the day once"
    assert whole["warnings"] > 0
    assert set(whole["seconds"]) == {"poll", "decode", "step", "encode", "transactions"}


def test_bad_lines_are_drained_beside_none(kafka_bootstrap: str) -> None:
    found = measured("bad_lines", kafka_bootstrap)
    assert EVENTS * 0.005 < found["bad_lines"] < EVENTS * 0.02
    assert found["clean_eps"] > 0
    assert found["bad_lines_eps"] > 0


def measured(bench: str, bootstrap: str, *options: str) -> dict[str, Any]:
    done = subprocess.run(  # noqa: S603 - our own module
        [
            sys.executable,
            "-m",
            "tests.bench",
            bench,
            "--events",
            str(EVENTS),
            "--subscribers",
            "2000",
            "--json",
            *options,
        ],
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
