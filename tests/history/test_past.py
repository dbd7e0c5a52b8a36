"""A file is complete: who is silent in it is silent."""

import json
from datetime import UTC, datetime, timedelta

import polars as pl

from service.core.calendar import to_day
from service.core.rules import Limits, Rulebook
from service.core.state import Config
from service.core.step import close_through
from service.history.past import Lot, live, live_through

FIRST = datetime(2026, 3, 2, 12, tzinfo=UTC)
TALKING_DAYS = 21
RULEBOOK = Rulebook("gate", (), limits=Limits(feed_least_active=1))


def talk() -> pl.DataFrame:
    """One subscriber who speaks every day for three weeks, then no more."""
    at = [FIRST + timedelta(days=day) for day in range(TALKING_DAYS)]
    told = {"type": "usage.sms", "subscriber_id": "a", "count": 1}
    values = [json.dumps({"id": str(n), "occurred_at": one.isoformat(), **told}).encode() for n, one in enumerate(at)]
    times_us = [round(one.timestamp()) * 1_000_000 for one in at]
    return pl.DataFrame({"subscriber_id": "a", "occurred_us": times_us, "value": values})


def test_the_silence_of_a_file_is_not_taken_for_that_of_a_feed() -> None:
    lot, day = Lot(Config(partitions=4), RULEBOOK), to_day(FIRST.date()) + TALKING_DAYS
    fed = live(talk(), lot)
    close_through(fed.state, RULEBOOK, day, "clock")
    assert fed.state.feed.withheld[day] == {"", "*"}
    read, last = live_through(talk(), lot, day)
    assert (read.state.feed.withheld, read.state.config.partitions) == ({}, 1)
    assert last == FIRST.date() + timedelta(days=TALKING_DAYS - 1)
