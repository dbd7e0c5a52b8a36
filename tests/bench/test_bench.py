"""Each bench, small: that it works and says what it promises, not how fast."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
EVENTS = 20_000


def test_throughput_drains_every_event_bare_and_whole(kafka_bootstrap: str) -> None:
    done = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", "tests.bench", "throughput", "--events", str(EVENTS), "--subscribers", "2000", "--json"],
        cwd=ROOT,
        env=os.environ | {"CHURN_TEST_BOOTSTRAP_SERVERS": kafka_bootstrap},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["bare_drain_eps"] > 0
    assert found["end_to_end_eps"] > 0
    assert 150 <= found["event_bytes"] <= 210
    whole = found["end_to_end"]
    assert whole["counted"] == EVENTS
    assert whole["closes"] == found["partitions"], "each shard closes the day once"
    assert whole["warnings"] > 0
    assert set(whole["seconds"]) == {"poll", "decode", "step", "encode", "transactions"}
