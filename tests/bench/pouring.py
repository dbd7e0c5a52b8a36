"""A feed at a steady rate, in a process of its own; its last line is JSON: when it began, ended, how many were sent.

The settings come by environment.
"""

import argparse
import asyncio
import json
import os
import sys
import time

from service.kafka.feeder import KafkaFeeder
from service.settings import load as load_settings
from service.wire.topics import Topics
from tests.bench.feed import chunks

_PORTIONS_A_SECOND = 10


async def pour(events: int, subscribers: int, rate: int) -> dict[str, float]:
    """Send so many events, each portion when it is due or as soon after as the broker takes it."""
    settings = load_settings(os.environ, None)
    feeder = KafkaFeeder(settings.kafka, Topics(settings.topics.prefix), settings.topics.partitions)
    await feeder.start()
    began_s, sent, portion = time.time(), 0, max(1, rate // _PORTIONS_A_SECOND)
    try:
        for chunk in chunks(events, subscribers):
            for start in range(0, len(chunk.keys), portion):
                await asyncio.sleep(max(0.0, began_s + sent / rate - time.time()))  # the pace that is asked for
                values = chunk.values[start : start + portion]
                await feeder.send(chunk.keys[start : start + portion], values)
                sent += len(values)
    finally:
        await feeder.stop()
    return {"began_s": began_s, "ended_s": time.time(), "sent": sent}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("--events", "--subscribers", "--rate"):
        parser.add_argument(name, type=int, required=True)
    sys.stdout.write(json.dumps(asyncio.run(pour(**vars(parser.parse_args())))) + "\n")
