"""A disorderly feed over many days at a steady rate, a process of its own; its last line is JSON: how many, how fast.

Most events come in order; some come twice, some days late, some cannot be read. Half of the subscribers fall silent
after the first fifth, so that some closes say more than one transaction holds. The settings come by environment.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from datetime import date, timedelta

import numpy as np

from service.kafka.feeder import KafkaFeeder
from service.ports import Lost
from service.settings import load as load_settings
from service.wire.topics import Topics
from tests.bench.feed import Chunk, Kind, chunk

_CHUNK = 20_000
_PORTIONS_A_SECOND = 10
_AGAIN_S = 1.0
_DAY_US = 86_400_000_000
_AT = b'"occurred_at":"'
_DATE = len("2024-03-05")
_TWICE, _LATE, _TOO_LATE, _TORN = 0.005, 0.005, 0.002, 0.001  # shares of events
_LATE_DAYS, _TOO_LATE_DAYS = 2, 9
_KINDS = {
    "usage.data": Kind(0.4, '"bytes":{},"rat":"5g","in_package":true,"roaming":false', 50_000_000),
    "usage.voice": Kind(0.3, '"seconds":{},"direction":"out","peer_network":"home"', 900),
    "charge": Kind(0.18, '"amount_minor":{},"kind":"usage","bill_month":"2024-03"', 300),
    "usage.sms": Kind(0.104, '"count":{},"direction":"out","roaming":false', 3),
    "consent.changed": Kind(0.01, '"channel":"call","granted":true,"form":{}', 9),
    "competitor.called": Kind(0.003, '"network":"other-{}"', 3),
    "complaint.opened": Kind(0.003, '"complaint_id":"c-{}","topic":"coverage"', 1_000_000),
}


def chunks(events: int, subscribers: int, days: int, seed: int) -> Iterator[Chunk]:
    """So many events, spread evenly over the days."""
    rng = np.random.default_rng(seed)
    for start in range(0, events, _CHUNK):
        numbers = np.arange(start, min(events, start + _CHUNK))
        speaking = subscribers if start < events / 5 else max(1, subscribers // 2)
        made = chunk(numbers, days * _DAY_US // events, speaking, rng, _KINDS)
        _disturb(made, rng)
        yield made


def _disturb(made: Chunk, rng: np.random.Generator) -> None:
    chances = np.cumsum([_TWICE, _LATE, _TOO_LATE, _TORN])
    fates = np.searchsorted(chances, rng.random(len(made.values)), side="right")
    for at in np.flatnonzero(fates < chances.size).tolist():
        value = made.values[at]
        if fates[at] == 0:
            former = int(rng.integers(0, at + 1))
            made.keys[at], made.values[at] = made.keys[former], made.values[former]
        elif fates[at] == chances.size - 1:
            made.values[at] = value[:-1]
        elif (begin := value.find(_AT)) >= 0:
            begin += len(_AT)
            late = timedelta(days=_LATE_DAYS if fates[at] == 1 else _TOO_LATE_DAYS)
            day = date.fromisoformat(value[begin : begin + _DATE].decode()) - late
            made.values[at] = value[:begin] + day.isoformat().encode() + value[begin + _DATE :]


class _Mouth:
    """A feeder that outlives its broker: what it could not send for certain is sent again, as a repeat."""

    def __init__(self) -> None:
        self._settings = load_settings(os.environ, None)
        self._feeder: KafkaFeeder | None = None

    async def send(self, made: Chunk) -> None:
        while True:
            try:
                if self._feeder is None:
                    self._feeder = await self._started()
                await self._feeder.send(made.keys, made.values)
            except Lost:
                await self.stop()
                await asyncio.sleep(_AGAIN_S)
            else:
                return

    async def _started(self) -> KafkaFeeder:
        settings = self._settings
        feeder = KafkaFeeder(settings.kafka, Topics(settings.topics.prefix), settings.topics.partitions)
        await feeder.start()
        return feeder

    async def stop(self) -> None:
        feeder, self._feeder = self._feeder, None
        if feeder is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(feeder.stop(), _AGAIN_S)


async def pour(events: int, subscribers: int, days: int, rate: int, seed: int) -> dict[str, float]:
    """Send so many events, each portion when it is due or as soon after as the broker takes it."""
    mouth, sent, portion = _Mouth(), 0, max(1, rate // _PORTIONS_A_SECOND)
    began_s = time.monotonic()
    try:
        for made in chunks(events, subscribers, days, seed):
            for start in range(0, len(made.keys), portion):
                await asyncio.sleep(max(0.0, began_s + sent / rate - time.monotonic()))  # the pace that is asked for
                part = slice(start, start + portion)
                await mouth.send(Chunk(made.keys[part], made.values[part]))
                sent += len(made.keys[part])
        took_s = time.monotonic() - began_s
    finally:
        await mouth.stop()
    return {"sent": sent, "seconds": round(took_s, 2)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("--events", "--subscribers", "--days", "--rate", "--seed"):
        parser.add_argument(name, type=int, required=True)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a lost broker is what is wanted here
    sys.stdout.write(json.dumps(asyncio.run(pour(**vars(parser.parse_args())))) + "\n")
