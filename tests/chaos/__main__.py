"""Chaos on a real Kafka: workers are killed, stopped and cut off under load, and what they say must be said once.

Prints what was found as one line of JSON; status 1 where anything is missing, came again, or says something else.
"""

import argparse
import json
import logging
import sys
from pathlib import Path

from tests.chaos.faults import WEIGHTS
from tests.chaos.ordeal import measure

_FLAWS = ("missing", "duplicates", "unexpected", "changed", "reordered")


def main() -> int:
    """Run it as the options say."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument(
        "--kills", type=int, default=20, help="faults: each kind at least once, half of the others SIGKILL"
    )
    parser.add_argument("--seconds", type=int, default=300, help="of the feed, in which they happen")
    parser.add_argument("--seed", type=int, default=1, help="of the faults and the feed")
    parser.add_argument("--rate", type=int, default=10_000, help="events a second")
    parser.add_argument("--days", type=int, default=20, help="over which the events of the feed are spread")
    parser.add_argument("--subscribers", type=int, default=200_000)
    parser.add_argument("--history", type=int, default=0, help="days of all of them, loaded before the feed")
    parser.add_argument("--partitions", type=int, default=6)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--kinds", default=",".join(WEIGHTS), help="of faults (default: all)")
    parser.add_argument("--snapshots", type=int, default=8, help="seconds of the feed between two of a shard")
    parser.add_argument("--settle", type=float, default=300, help="seconds at most until all is committed")
    parser.add_argument("--folder", type=Path, help="keep logs and the broker's data here (default: nowhere)")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    options = parser.parse_args()
    if unknown := set(options.kinds.split(",")) - WEIGHTS.keys():
        parser.error(f"there are no faults {sorted(unknown)}; there are {', '.join(WEIGHTS)}")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a lost broker is what is wanted here
    logging.getLogger("httpx").setLevel(logging.WARNING)
    found = measure(options)
    table = "".join(f"{name:>20}  {value}\n" for name, value in found.items())
    sys.stdout.write(json.dumps(found) + "\n" if options.json else table)
    return 1 if found["settled_s"] is None or any(found[name] for name in _FLAWS) else 0


if __name__ == "__main__":
    sys.exit(main())
