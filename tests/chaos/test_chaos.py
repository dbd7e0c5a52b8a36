"""Chaos, small: workers fall under load on a real Kafka, and everything is said once."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.chaos.disk import disk_at
from tests.chaos.faults import WEIGHTS, plan

ROOT = Path(__file__).parents[2]


def test_a_seed_draws_the_same_faults_each_kind_at_least_once() -> None:
    faults = plan(20, 300, 3, seed=7)
    assert faults == plan(20, 300, 3, seed=7) != plan(20, 300, 3, seed=8)
    assert Counter(fault.kind for fault in faults).keys() == WEIGHTS.keys()
    assert [fault.at_s for fault in faults] == sorted(fault.at_s for fault in faults)
    assert faults[-1].at_s < 300
    assert {fault.kind for fault in plan(1, 300, 3, seed=7)} == {"kill"}
    assert {fault.kind for fault in plan(5, 300, 3, seed=7, kinds=["stop"])} == {"stop"}


def test_a_full_disk_takes_nothing_until_it_is_freed(tmp_path: Path) -> None:
    with disk_at(tmp_path / "disk", 1) as disk:
        (disk.folder / "before").write_bytes(b"x")
        disk.fill()
        if disk.way == "tmpfs filled" or os.geteuid() != 0:  # nobody can forbid root to write
            with pytest.raises(OSError, match=r"No space left|Permission denied"):
                (disk.folder / "full").write_bytes(b"x" * 8192)
        disk.free()
        (disk.folder / "after").write_bytes(b"x" * 8192)


def test_workers_that_fall_under_load_say_everything_once() -> None:
    sizes = ("--rate", "1000", "--subscribers", "2000", "--partitions", "4", "--days", "20")
    done = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", "tests.chaos", "--kills", "4", "--seconds", "36", "--seed", "2", *sizes, "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.stdout, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 0, (found, done.stderr[-3000:])
    assert found["faults"] == {"kill": 1, "stop": 1, "cut": 1, "broker": 1}
    assert found["events"] == 36_000
    flaws = ("missing", "duplicates", "unexpected", "changed", "reordered")
    assert [found[flaw] for flaw in flaws] == [0] * len(flaws)
    told = {"churn.warnings", "outbound.call", "usage.late", "usage.dead-letters", "churn.decisions"}
    assert found["messages"].keys() >= told
    assert found["transitions"] == found["messages"]["churn.warnings"]
    assert found["messages"]["churn.decisions"] >= 4 * 19, "each shard closes all days but the last one"
    assert found["stopped"] == [0, 0, 0]
