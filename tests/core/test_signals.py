"""Every signal is documented, can be computed of whomever, has its type, and is what a plain computation says."""

import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from statistics import mean
from typing import Any

import numpy as np
import polars as pl
import pytest

from service.core.calendar import to_day
from service.core.events import STATUSES
from service.core.moves import KEEP_DAYS, MOVES
from service.core.rules import Dimension, Rulebook
from service.core.signals import Terms, View, catalogue, columns, topics
from service.core.state import Config, State, new_state
from service.core.step import close_through, step
from tests.core.streams import Event, cut, used
from tests.doubles.panes import kept

START = datetime(2026, 1, 5, tzinfo=UTC)
FIRST = to_day(START.date())
NOTHING = Rulebook(hash="none", rules=())
CONFIG = Config(windows_days=(1, 7, 30, 90), year_on_year=True, photo_month=2026 * 12, horizon_days=400)
TERMS = Terms(CONFIG.windows_days, year_on_year=True, photo_month=2026 * 12)
TOPS = {"spend": (0, 500), "voice": (0, 30), "data": (0, 10), "tenure": (90, 180)}
TIERED = Rulebook(hash="tiers", rules=(), dimensions=tuple(Dimension(name, 100, tops) for name, tops in TOPS.items()))

MONTH = 2026 * 12

# How each kind of event is told, by a source of chance.
TOLD: tuple[Callable[[Random], tuple[str, dict[str, Any]]], ...] = (
    lambda r: ("usage.voice", {"seconds": r.randrange(3000)}),
    lambda r: ("usage.voice", {"seconds": r.randrange(99), "direction": "in"}),
    lambda r: ("usage.sms", {"count": r.randrange(1, 3), "direction": r.choice(["in", "out"])}),
    lambda r: ("usage.data", {"bytes": r.randrange(90)}),
    lambda r: ("charge", {"amount_minor": r.randrange(900), "kind": "usage"}),
    lambda r: ("charge", {"amount_minor": -r.randrange(1, 300), "kind": "refund"}),
    lambda r: (
        "charge",
        {"amount_minor": r.randrange(900), "kind": "recurring", "bill_month": MONTH + r.randrange(5)},
    ),
    lambda r: ("subscriber.status", {"status": r.choice(STATUSES[:4])}),
    lambda r: ("subscriber.profile", {"fee_minor": r.choice([None, 10, 20, 30])}),
    lambda r: ("balance", {"amount_minor": 5, "arrears_minor": r.choice([None, 0, 0, 7, 9])}),
    lambda r: ("recharge", {"amount_minor": r.randrange(1, 9)}),
    lambda r: (
        "quota",
        {
            "package_id": r.choice("pq"),
            "measure": r.choice(["data", "data", "voice"]),
            "total": r.randrange(9),
            "used": r.randrange(12),
            "resets_on": (START + timedelta(days=30 * r.randrange(1, 9))).date(),
        },
    ),
    lambda r: ("forwarding.set", {"peer_network": r.choice([None, "mobile", "unicom"])}),
    lambda r: ("competitor.called", {"network": r.choice([None, "mobile", "unicom"])}),
    lambda r: (r.choice(["group.joined", "group.left"]), {"group_id": "g"}),
    lambda r: (r.choice(["np.queried", "np.code_issued", "np.requested"]), {"to_network": "x"}),
    lambda _: ("device.changed", {"generation": "5g"}),
    lambda r: ("complaint.opened", {"complaint_id": r.choice("cde")}),
    lambda r: (
        "bundle.linked",
        {
            "bundle_id": r.choice("bd"),
            "kind": r.choice(["package_plan", "vpn", "family", "broadband"]),
            "hard": r.choice([True, False]),
            "blocks_port": r.choice([True, False]),
            "ends_on": r.choice([None, (START + timedelta(days=r.randrange(150))).date()]),
        },
    ),
    lambda r: ("bundle.unlinked", {"bundle_id": r.choice("bd"), "reason": r.choice([None, "cancelled", "replaced"])}),
    lambda r: ("bill.closed", {"bill_month": MONTH + r.randrange(4), "total_minor": r.randrange(9000)}),
)


def stream(seed: int) -> list[Event]:
    """Events of two subscribers in the order of the log, some of them late; and one who is told of once."""
    chance = Random(seed)
    hours = 0
    events = [Event("first", "z", "usage.data", START, {"bytes": 0})]
    for number in range(chance.randrange(60, 260)):
        hours += chance.choice([0, 1, 5, 20, 40])
        back = chance.choice([0, 0, 0, 0, 10, 100])
        kind, fields = chance.choice(TOLD)(chance)
        # Distinct instants: two moves of one instant are one.
        at = START + timedelta(hours=max(hours - back, 0), microseconds=number + 1)
        events.append(Event(str(number), chance.choice("ab"), kind, at, fields))
    return events


def sizes(seed: int) -> Iterator[int]:
    """Where to cut a stream."""
    chance = Random(-seed)
    return iter([chance.randrange(1, 40) for _ in range(12)])


def closed(events: list[Event], sizes: Iterable[int] = ()) -> tuple[State, int]:
    """The state after the close of the last event's day, and that day."""
    state = new_state(CONFIG)
    for batch in cut(events, sizes):
        step(state, NOTHING, batch)
    last = max(day(event) for event in events)
    close_through(state, NOTHING, last, "clock")
    return state, last


def day(event: Event) -> int:
    return to_day(event.at.date())


def signals(state: State, who: str, names: Iterable[str], rulebook: Rulebook = TIERED) -> dict[str, Any]:
    row = state.roster.number(who)
    return columns(View.under(rulebook, state, np.array([row], np.int32)), names).row(0, named=True)


# What all signals are


def test_each_signal_is_documented_once() -> None:
    known = catalogue(TERMS)
    assert len(known) == sum(len(signals) for signals in topics(TERMS).values())
    for name, signal in known.items():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
        assert len(signal.meaning) > 3
        assert not signal.meaning.endswith(".")
        assert signal.null_when
        assert signal.unit or signal.dtype in (pl.String, pl.Boolean), f"{name} has no unit"
        assert signal.least is None or signal.most is None or signal.least < signal.most
        assert not signal.among or signal.dtype == pl.String


def assert_sound(frame: pl.DataFrame) -> None:
    for name, signal in catalogue(TERMS).items():
        values = frame[name]
        assert values.dtype == signal.dtype, name
        assert not signal.among or values.drop_nulls().is_in(signal.among).all(), name
        assert signal.null_when != "never" or not values.null_count(), f"{name} is null"
        if signal.dtype.is_numeric() and values.drop_nulls().len():
            assert signal.least is None or float(values.min()) >= signal.least, name  # type: ignore[arg-type]  # numbers
            assert signal.most is None or float(values.max()) <= signal.most, name  # type: ignore[arg-type]  # numbers


def test_each_signal_can_be_had_where_nothing_is_known() -> None:
    names = list(catalogue(TERMS))
    state = new_state(CONFIG)
    frame = columns(View.under(TIERED, state, np.empty(0, np.int32)), names)
    assert frame.columns == names
    assert frame.height == 0
    state, _ = closed([Event("1", "a", "usage.data", START, {"bytes": 1})])
    assert_sound(columns(View.under(TIERED, state, state.rows), names))
    for name in names:  # each alone too: one line a row
        assert columns(View(state, np.zeros(3, np.int32)), [name]).height == 3


@pytest.mark.parametrize("seed", range(4))
def test_each_signal_is_of_its_type_and_within_its_bounds(seed: int) -> None:
    state, _ = closed(stream(seed))
    assert_sound(columns(View.under(TIERED, state, state.rows), list(catalogue(TERMS))))


# What those with state of their own are: a plain second computation


def plain(events: list[Event], last: int) -> dict[str, Any]:
    """Of one subscriber's events, in the order of the log."""
    return {**_used(events, last), **_told(events, last), **_moves(events, last), **_quotas(events, last)}


def _used(events: list[Event], last: int) -> dict[str, Any]:
    days = defaultdict(set)
    totals: dict[tuple[str, int], int] = defaultdict(int)
    for event in events:
        for measure, amount in used(event).items():
            totals[measure, day(event)] += amount
    for (measure, on), amount in totals.items():
        if amount > 0:
            days[measure].add(on)
    active = sorted(on for on in days["outgoing"] if on > last - 90)
    gaps = [after - before for before, after in itertools.pairwise(active)]
    spans = {w: len([on for on in days["outgoing"] if on > last - w]) for w in CONFIG.windows_days}
    return {
        "outgoing_gap_days": pytest.approx(mean(gaps)) if len(gaps) >= 5 else None,
        **{f"zero_days_{w}d": w - active for w, active in spans.items()},
    } | {f"days_since_{m}": last - max(days[m]) if days[m] else None for m in ("outgoing", "voice", "data", "sms")}


def _standing(events: list[Event], kind: str, field: str) -> list[tuple[int, Any]]:
    """(day, value) of each telling that came to stand; None is no telling of the field, but tells the time."""
    latest: datetime | None = None
    stood: list[tuple[int, Any]] = []
    for event in (e for e in events if e.type == kind):
        is_current = latest is None or event.at >= latest
        latest = event.at if is_current else latest
        value = event.fields.get(field)
        if value is not None and (is_current or not stood):
            stood.append((day(event), value))
    return stood


def _told(events: list[Event], last: int) -> dict[str, Any]:
    since = owed = None
    for on, amount in _standing(events, "balance", "arrears_minor"):
        since = None if amount == 0 else since if owed else on
        owed = amount > 0
    recharged: dict[int, int] = defaultdict(int)
    for event in events:
        if event.type == "recharge":
            recharged[day(event)] += event.fields["amount_minor"]
    months = [MONTH + m for m in range(-1, 13)]
    month = (START + timedelta(days=last - FIRST)).month - 1
    fees = dict.fromkeys(months, 0)
    for event in events:
        if event.fields.get("kind") == "recurring":
            fees[event.fields["bill_month"]] += event.fields["amount_minor"]
    return {
        "days_in_arrears": None if since is None else last - since,
        "recharge_last": recharged[max(recharged)] if recharged else None,
        "fee_month": fees[2026 * 12 + month],
        "fee_last_month": fees[2026 * 12 + month - 1],
    }


def _moves(events: list[Event], last: int) -> dict[str, Any]:
    made: dict[str, dict[Any, int]] = {move: {} for move in MOVES}
    for event in events:
        move, ref = _move(event)
        if move:
            made[move][ref] = min(day(event), made[move].get(ref, day(event)))
    fees = _standing(events, "subscriber.profile", "fee_minor")
    made["plan_downgraded"] = {
        n: on for n, ((_, before), (on, fee)) in enumerate(itertools.pairwise(fees)) if fee < before
    }
    latest, status = None, "normal"
    for n, event in enumerate(e for e in events if e.type == "subscriber.status"):
        if latest is None or event.at >= latest:
            latest = event.at
            if event.fields["status"] != status:
                made["status_changed"][n] = day(event)
            status = event.fields["status"]
    recent = {move: [on for on in days.values() if on > last - KEEP_DAYS] for move, days in made.items()}
    return {f"{move}_90d": len(days) for move, days in recent.items()} | {
        f"days_since_{move}": last - max(days) if days else None for move, days in recent.items()
    }


def _move(event: Event) -> tuple[str | None, Any]:
    told = event.fields
    match event.type:
        case "forwarding.set":
            move = "forwarding_away" if told["peer_network"] == "unicom" else None
        case "competitor.called":
            move = "competitor_called" if told["network"] != "mobile" else None
        case "quota":
            over = told["measure"] == "data" and told["used"] > told["total"] > 0
            return ("data_overflow" if over else None), (told["package_id"], told["resets_on"])
        case "complaint.opened":
            return "complaint_opened", told["complaint_id"]
        case "bundle.unlinked":
            move = "bundle_unlinked" if told["reason"] != "replaced" else None
        case "group.left" | "np.queried" | "device.changed":
            move = {"group.left": "group_left", "np.queried": "port_queried"}.get(event.type, "device_changed")
        case "np.code_issued" | "np.requested":
            move = "port_requested"
        case _:
            move = None
    return move, event.at


def _quotas(events: list[Event], last: int) -> dict[str, Any]:
    standing: dict[tuple[str, str], Event] = {}
    latest: dict[tuple[str, str], datetime] = {}
    for event in events:
        if event.type == "quota":
            key = event.fields["measure"], event.fields["package_id"]
            if key not in latest or event.at >= latest[key]:
                standing[key], latest[key] = event, event.at
    found = {}
    for measure in ("voice", "data", "sms"):
        of = [
            (event.fields["total"], event.fields["used"])
            for (m, _), event in standing.items()
            if m == measure and event.fields["total"] > 0 and to_day(event.fields["resets_on"]) > last
        ]
        left = sum(max(total - used, 0) for total, used in of)
        found[f"quota_{measure}_left"] = pytest.approx(left / sum(total for total, _ in of)) if of else None
        found[f"quota_{measure}_over"] = sum(max(used - total, 0) for total, used in of) if of else None
    return found


@pytest.mark.parametrize("seed", range(10))
def test_signals_equal_a_plain_computation(seed: int) -> None:
    events = stream(seed)
    state, last = closed(events, sizes(seed))
    for who in "abz":
        expected = plain([event for event in events if event.subscriber == who], last)
        assert signals(state, who, list(expected)) == expected


def test_the_streams_tell_of_everything() -> None:
    told: dict[str, int] = defaultdict(int)
    for seed in range(10):
        events = stream(seed)
        last = max(day(event) for event in events)
        for who in "ab":
            for name, value in plain([event for event in events if event.subscriber == who], last).items():
                told[name] += value is not None and value != 0
    assert {name for name, often in told.items() if often < 3} == {"quota_sms_left", "quota_sms_over"}


@pytest.mark.parametrize("seed", range(4))
def test_any_cutting_and_a_restart_give_the_same_signals(seed: int) -> None:
    names = sorted(catalogue(TERMS))
    state, _ = closed(stream(seed))
    pieces, _ = closed(stream(seed), sizes(seed))
    taken_up = kept(pieces).taken_up(CONFIG)
    for other in (pieces, taken_up):
        for who in "abz":
            assert signals(other, who, names) == signals(state, who, names)
