"""Benches by name: `python -m tests.bench throughput --json`. Figures are printed, never asserted."""

import argparse
import json
import sys
from typing import Any

from tests.bench import bad_lines, city, lookup, past, rules, throughput

BENCHES = {
    "throughput": throughput,
    "bad_lines": bad_lines,
    "city": city,
    "lookup": lookup,
    "rules": rules,
    "past": past,
}


def main() -> None:
    """Run one bench and print what it found."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    benches = parser.add_subparsers(dest="bench", required=True, metavar="NAME")
    for name, bench in BENCHES.items():
        chosen = benches.add_parser(name, help=bench.__doc__, description=bench.__doc__)
        bench.add_options(chosen)
        chosen.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    options = parser.parse_args()
    found = BENCHES[options.bench].measure(options)
    sys.stdout.write(json.dumps(found) + "\n" if options.json else _table(found))


def _table(found: dict[str, Any]) -> str:
    return "".join(f"{name:>16}  {value}\n" for name, value in found.items())


if __name__ == "__main__":
    main()
