"""Who has a warning: the open episodes of a shard as plain values, the one reader of their columns among the tools."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import polars as pl

from service.core.episodes import OPEN
from service.core.state import State

ORDERED = "ordered"


@dataclass(frozen=True, slots=True)
class Warned:
    """An open episode. `suppressed_by` says why it is not published, None where it is."""

    subscriber: str
    rule: str
    severity: str
    raised_on: str
    suppressed_by: str | None
    orders: Mapping[str, str]
    why: Mapping[str, str]


def warned(state: State, subscriber: str | None = None) -> Iterator[Warned]:
    """All open episodes of a shard, or of one subscriber, by subscriber and rule."""
    frame = state.episodes.frame.filter(pl.col("state").is_in(OPEN)).sort("subscriber_id", "rule")
    if subscriber is not None:
        frame = frame.filter(pl.col("subscriber_id") == subscriber)
    for line in frame.iter_rows(named=True):
        yield Warned(
            subscriber=line["subscriber_id"],
            rule=line["rule"],
            severity=line["severity"],
            raised_on=str(line["raised_on"]),
            suppressed_by=line["suppressed_by"],
            orders=json.loads(line["orders"]),
            why=json.loads(line["why"]),
        )
