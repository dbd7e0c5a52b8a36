"""Usage events for a bench, made a column at a time: the same options give the same bytes."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl

CHUNK = 100_000

_FIRST_US = round(datetime(2024, 3, 4, 12, tzinfo=UTC).timestamp()) * 1_000_000
# A night and its grace lie in the middle, so that each shard closes a day while it is busy.
_SPAN_US = 30 * 3_600_000_000
_SHARES = {"usage.data": 0.42, "usage.voice": 0.3, "charge": 0.18, "usage.sms": 0.098, "competitor.called": 0.002}
_BODIES = {
    "usage.data": '"bytes":{},"rat":"5g","in_package":true,"roaming":false',
    "usage.voice": '"seconds":{},"direction":"out","peer_network":"home"',
    "charge": '"amount_minor":{},"kind":"usage","bill_month":"2024-03"',
    "usage.sms": '"count":{},"direction":"out","roaming":false',
    "competitor.called": '"network":"other-{}"',
}
_MOST = {"usage.data": 50_000_000, "usage.voice": 900, "charge": 300, "usage.sms": 3, "competitor.called": 3}


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some events in the order in which they happened."""

    keys: list[bytes]
    values: list[bytes]


def chunks(events: int, subscribers: int, seed: int = 1) -> Iterator[Chunk]:
    """So many events, spread evenly over thirty hours; each subscriber as likely as any."""
    rng = np.random.default_rng(seed)
    for start in range(0, events, CHUNK):
        yield _chunk(np.arange(start, min(events, start + CHUNK)), events, subscribers, rng)


def _chunk(numbers: np.ndarray, events: int, subscribers: int, rng: np.random.Generator) -> Chunk:
    kinds = rng.choice(len(_SHARES), numbers.size, p=list(_SHARES.values()))
    frame = pl.DataFrame(
        {
            "number": numbers,
            "subscriber_id": rng.integers(0, subscribers, numbers.size) + 861_380_000_000_000,
            "at": _FIRST_US + numbers * (_SPAN_US // events),
            "share": rng.random(numbers.size),
        }
    )
    head = pl.concat_str(
        pl.lit('{"id":"evt-'),
        pl.col("number").cast(pl.String).str.zfill(12),
        pl.lit('","subscriber_id":"'),
        "subscriber_id",
        pl.lit('","occurred_at":"'),
        pl.from_epoch("at", "us").dt.to_string("%Y-%m-%dT%H:%M:%S.%3fZ"),
        pl.lit('",'),
    )
    parts = []
    for number, kind in enumerate(_SHARES):
        body = pl.format(_BODIES[kind], 1 + (pl.col("share") * _MOST[kind]).cast(pl.Int64))
        part = frame.filter(pl.Series(kinds == number))
        value = pl.concat_str(head, pl.lit(f'"type":"{kind}",'), body, pl.lit("}"))
        parts.append(part.select("number", key=pl.col("subscriber_id").cast(pl.String), value=value))
    made = pl.concat(parts).sort("number")
    return Chunk(_octets(made["key"]), _octets(made["value"]))


def _octets(texts: pl.Series) -> list[bytes]:
    return texts.cast(pl.Binary).to_list()
