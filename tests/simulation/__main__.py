"""Histories by seed: `python -m tests.simulation --seeds 200`; a seed that fails is named with what replays it."""

import argparse
import hashlib
import json
import multiprocessing
import os
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import count, islice
from time import monotonic

# The frames are tiny: more threads would only wait for each other. To be said before polars is imported.
os.environ.setdefault("POLARS_MAX_THREADS", "1")

from tests.simulation.history import Outcome, simulate

REPLAY = ".venv/bin/python -m tests.simulation --seed {}"


def main() -> int:
    """Play seeds; exit status 1 where one fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, metavar="N", help="play so many (200)")
    parser.add_argument("--from", type=int, default=0, dest="first", metavar="N", help="the first of them (0)")
    parser.add_argument("--soak", type=float, metavar="SECONDS", help="play one after another for so long instead")
    parser.add_argument("--seed", type=int, metavar="N", help="play one and print its history")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, metavar="N", help="side by side")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    options = parser.parse_args()
    if options.seed is not None:
        outcome = simulate(options.seed)
        sys.stdout.write("\n".join(outcome.trace) + "\n")
        return _tell([outcome], as_json=options.json)
    seeds: Iterable[int] = count(options.first)
    if options.soak is None:
        seeds = islice(seeds, options.seeds)
    return _tell(_played(seeds, options.processes, options.soak), as_json=options.json)


def _played(seeds: Iterable[int], processes: int, soak_s: float | None) -> Iterator[Outcome]:
    """Outcomes as they come; no new seed is begun once the time is over."""
    stop_s = None if soak_s is None else monotonic() + soak_s
    left = iter(seeds)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        playing = {pool.submit(simulate, seed) for seed in islice(left, 2 * processes)}
        while playing:
            done: set[Future[Outcome]]
            done, playing = wait(playing, return_when=FIRST_COMPLETED)
            for one in done:
                yield one.result()
            if stop_s is None or monotonic() < stop_s:
                playing |= {pool.submit(simulate, seed) for seed in islice(left, len(done))}


def _tell(outcomes: Iterable[Outcome], *, as_json: bool) -> int:
    began_s, played, steps, said, virtual_s = monotonic(), 0, 0, 0, 0.0
    failed: list[int] = []
    digests: dict[int, str] = {}
    for outcome in outcomes:
        played, steps, said = played + 1, steps + outcome.steps, said + outcome.said
        virtual_s += outcome.virtual_s
        digests[outcome.seed] = outcome.digest
        if outcome.problems:
            failed.append(outcome.seed)
            sys.stdout.write(f"seed {outcome.seed} fails: {REPLAY.format(outcome.seed)}\n")
            sys.stdout.writelines(f"    {problem}\n" for problem in outcome.problems[:5])
            sys.stdout.flush()
    found = {
        "seeds": played,
        "failed": sorted(failed),
        "seconds": round(monotonic() - began_s, 1),
        "virtual_hours": round(virtual_s / 3600, 2),
        "steps": steps,
        "warnings": said,
        "digest": hashlib.sha256(str(sorted(digests.items())).encode()).hexdigest(),
    }
    sys.stdout.write(
        json.dumps(found) + "\n" if as_json else "".join(f"{name:>16}  {v}\n" for name, v in found.items())
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
