"""Two hundred seeds hold, and a seed is the very same history wherever it is played."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.simulation.history import simulate

ROOT = Path(__file__).parents[2]
SEEDS = 200
WITHIN_S = 1800  # of a busy machine
PLAYED_TWICE = (1, 4, 6)


def command(*options: str, hash_seed: int = 0) -> tuple[int, str, dict[str, Any]]:
    """Exit status, output and what the last line of `python -m tests.simulation` tells."""
    done = subprocess.run(  # noqa: S603 - our own arguments
        [sys.executable, "-m", "tests.simulation", *options, "--json"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, done.stdout, json.loads(done.stdout.splitlines()[-1])


def test_whatever_befalls_it_the_service_says_all_and_once() -> None:
    status, said, found = command("--seeds", str(SEEDS))
    assert status == 0, said
    assert (found["seeds"], found["failed"]) == (SEEDS, [])
    assert found["warnings"] > SEEDS


def test_a_seed_is_the_same_history_in_every_process() -> None:
    seed = PLAYED_TWICE[0]
    (_, one, first), (_, two, second) = (command("--seed", str(seed), hash_seed=number) for number in (1, 2))
    assert one.splitlines()[:-1] == two.splitlines()[:-1]
    assert first["digest"] == second["digest"]
    assert simulate(seed).digest == simulate(seed).digest


def test_a_seed_is_the_same_history_when_played_again_and_no_other_seeds() -> None:
    digests = [[simulate(seed).digest for seed in PLAYED_TWICE] for _ in range(2)]
    assert digests[0] == digests[1]
    assert len(set(digests[0])) == len(PLAYED_TWICE)
