"""What a whole life under the shipped rules says of one subscriber: how many cases, how often, and how many orders."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta

import polars as pl

from service.core.calendar import to_day
from service.core.events import CHANNELS
from service.core.state import Config
from service.history.past import Lot, Past, live_through
from service.rulebook.loading import default_folder, load
from service.rulebook.mapping import EVENTS
from tests.rulebook.folders import SIGNALS

RULEBOOK = load(default_folder(), SIGNALS)
FIRST = date(2026, 1, 1)
NOON = time(12)
DAYS = 165

Told = tuple[int, str, dict[str, object]]  # day, event type, its fields


def speaking(days: int) -> Iterator[Told]:
    for day in range(days):
        yield day, "usage.voice", {"seconds": 1200}
        yield day, "usage.data", {"bytes": 30_000_000}
        yield day, "charge", {"amount_minor": 600, "kind": "usage"}


def flapping() -> Iterator[Told]:
    """Half a month's charges are taken back and made again every other day, for sixty days."""
    yield from speaking(DAYS)
    for day in range(90, 150, 4):
        yield day, "charge", {"amount_minor": -9000, "kind": "refund"}
        yield day + 2, "charge", {"amount_minor": 9000, "kind": "usage"}


def leaving() -> Iterator[Told]:
    """Cancels the bundle, calls a competitor, and uses the line no more."""
    yield 0, "bundle.linked", {"bundle_id": "b1", "kind": "package"}
    yield from speaking(90)
    yield 90, "bundle.unlinked", {"bundle_id": "b1", "reason": "cancelled"}
    yield 92, "competitor.called", {"network": "telecom"}


def porting() -> Iterator[Told]:
    yield from leaving()
    yield 89, "np.requested", {"to_network": "telecom"}


def life(told: Iterator[Told]) -> Past:
    """The life of a long-known subscriber who agreed to be contacted."""
    profile: Told = (0, "subscriber.profile", {"activated_on": "2020-01-01"})
    consents: list[Told] = [(0, "consent.changed", {"channel": channel, "granted": True}) for channel in CHANNELS]
    lines = []
    for place, (day, kind, fields) in enumerate([profile, *consents, *told]):
        at = datetime.combine(FIRST + timedelta(days=day), NOON, UTC)
        event = {"id": str(place), "type": kind, "subscriber_id": "s", "occurred_at": at.isoformat(), **fields}
        lines.append(("s", kind, round(at.timestamp() * 1_000_000), json.dumps(event).encode()))
    names = ("subscriber_id", "type", "occurred_us", "value")
    events = pl.DataFrame(lines, schema={name: EVENTS[name] for name in names}, orient="row").select(list(EVENTS))
    last = to_day(FIRST + timedelta(days=DAYS - 1))
    return live_through(events, Lot(Config(), RULEBOOK), last, judged=True)[0]


def raised(past: Past) -> Counter[str]:
    """How many episodes of each rule there were."""
    told = pl.concat(past.transitions).filter(pl.col("raised_on").is_not_null())
    return Counter(told.unique("episode_id")["rule"])


def ordered(past: Past) -> list[tuple[str, date]]:
    """The orders made: channel and day."""
    return list(past.state.episodes.contacts.select("channel", "day").iter_rows())


def test_sixty_days_of_flapping_around_a_threshold_are_one_case_and_one_order() -> None:
    past = life(flapping())
    assert raised(past) == {"spend_drop": 1}
    assert ordered(past) == [("call", FIRST + timedelta(days=90))]
    states = pl.concat(past.transitions)["state"].to_list()
    # It clears and holds again fifteen times, which is told; at last it recovers for a week.
    assert states == ["raised", *["recovering", "raised"] * 14, "recovering", "resolved"]


def test_a_subscriber_who_meets_many_rules_is_one_order() -> None:
    past = life(leaving())
    daily = {"spend_drop", "voice_drop", "data_drop", "outgoing_silence"}
    assert raised(past) == dict.fromkeys({"bundle_cancelled", "competitor_called", *daily}, 1)
    assert ordered(past) == [("call", FIRST + timedelta(days=90))]
    # What has deepened while it was withheld says so of its orders too.
    assert not pl.concat(past.transitions)["orders"].str.contains("wanted").any()


def test_who_asks_to_port_is_no_order_at_all() -> None:
    past = life(porting())
    assert raised(past).keys() > {"port_requested", "bundle_cancelled", "outgoing_silence", "spend_drop"}
    assert ordered(past) == []
    orders = pl.concat(past.transitions)["orders"]
    assert not orders.str.contains("ordered").any()
