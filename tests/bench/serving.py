"""The service as a bench asks it: in a process of its own, until its input ends; says when its shards closed days.

The settings come by environment; the first line of the output is its address, the last one JSON.
"""

import asyncio
import json
import logging
import os
import resource
import sys
import time

from service.app import Given, running
from service.commands.context import read_rulebook
from service.metrics import Metrics
from service.settings import load as load_settings


async def serve() -> None:
    """Run until standard input ends."""
    settings = load_settings(os.environ, None)
    closes: list[tuple[float, float]] = []  # begun and ended, seconds since 1970
    counted = Metrics.day_closed

    def noted(metrics: Metrics, seconds: float) -> None:
        closes.append((time.time() - seconds, time.time()))
        counted(metrics, seconds)

    setattr(Metrics, counted.__name__, noted)
    async with running(Given(settings, read_rulebook(settings))) as service:
        sys.stdout.write(f"{service.address}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)
        said = service.summary.as_json()
    rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    sys.stdout.write(json.dumps({"closes": closes, "counted": said["counted"], "rss_mb": rss_mb}) + "\n")


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(serve())
