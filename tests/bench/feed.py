"""Usage events for a bench, made a column at a time: the same options give the same bytes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl

CHUNK = 100_000

_FIRST_US = round(datetime(2024, 3, 4, 12, tzinfo=UTC).timestamp()) * 1_000_000
# A night and its grace lie in the middle, so that each shard closes a day while it is busy.
_SPAN_US = 30 * 3_600_000_000


@dataclass(frozen=True, slots=True)
class Kind:
    """Events of a type: the share that they have, their fields, and the most of the number that stands in them."""

    share: float
    body: str
    most: int


USUAL = {
    "usage.data": Kind(0.42, '"bytes":{},"rat":"5g","in_package":true,"roaming":false', 50_000_000),
    "usage.voice": Kind(0.3, '"seconds":{},"direction":"out","peer_network":"home"', 900),
    "charge": Kind(0.18, '"amount_minor":{},"kind":"usage","bill_month":"2024-03"', 300),
    "usage.sms": Kind(0.098, '"count":{},"direction":"out","roaming":false', 3),
    "competitor.called": Kind(0.002, '"network":"other-{}"', 3),
}


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some events in the order in which they happened."""

    keys: list[bytes]
    values: list[bytes]


def chunks(events: int, subscribers: int, seed: int = 1) -> Iterator[Chunk]:
    """So many events, spread evenly over thirty hours; each subscriber as likely as any."""
    rng = np.random.default_rng(seed)
    for start in range(0, events, CHUNK):
        numbers = np.arange(start, min(events, start + CHUNK))
        yield chunk(numbers, _SPAN_US // events, subscribers, rng)


def chunk(
    numbers: np.ndarray, apart_us: int, subscribers: int, rng: np.random.Generator, kinds: Mapping[str, Kind] = USUAL
) -> Chunk:
    """The events of these numbers in a feed whose events are so far apart."""
    chosen = rng.choice(len(kinds), numbers.size, p=[kind.share for kind in kinds.values()])
    frame = pl.DataFrame(
        {
            "number": numbers,
            "subscriber_id": rng.integers(0, subscribers, numbers.size) + 861_380_000_000_000,
            "at": _FIRST_US + numbers * apart_us,
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
    for number, (name, kind) in enumerate(kinds.items()):
        body = pl.format(kind.body, 1 + (pl.col("share") * kind.most).cast(pl.Int64))
        part = frame.filter(pl.Series(chosen == number))
        value = pl.concat_str(head, pl.lit(f'"type":"{name}",'), body, pl.lit("}"))
        parts.append(part.select("number", key=pl.col("subscriber_id").cast(pl.String), value=value))
    made = pl.concat(parts).sort("number")
    return Chunk(_octets(made["key"]), _octets(made["value"]))


def _octets(texts: pl.Series) -> list[bytes]:
    return texts.cast(pl.Binary).to_list()
