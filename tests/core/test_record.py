"""The front office's record: null where no feed has told, and nowhere null when every feed has."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl

from service.core.calendar import to_day
from service.core.events import FIELDS
from service.core.feedback import apply_feedback
from service.core.frames import recall
from service.core.record import describe
from service.core.rules import Dimension, Holiday, Offer, Rulebook, SegmentBands
from service.core.state import Config, State, new_state
from service.core.step import close_through, step
from service.core.turn import Decisions, Mute
from tests.core.reports import reports
from tests.core.rulebooks import CALL, rule
from tests.core.streams import Event, batch_of

START = datetime(2026, 5, 1, 12, tzinfo=UTC)
MONTH = 2026 * 12 + 4
BANDS = tuple(SegmentBands(measure, 30, 0.1, 0.3, 1) for measure in ("spend", "voice", "data"))
BOOK = Rulebook(
    "book",
    (
        rule(
            "low",
            pl.col("days_silent") >= 0,
            orders=(CALL,),
            offer=Offer("2-0-2-1", {"en": "credit", "zh": "话费"}),
        ),
        rule("quiet", pl.col("days_silent") >= 5),
    ),
    bands=BANDS,
    dimensions=(Dimension("market", 600, values=("campus",)),),
    holidays=(Holiday("Labour Day", to_day(date(2026, 5, 1)), to_day(date(2026, 5, 5)), ()),),
)
NO_RULES = Rulebook("empty", (), bands=BANDS)
PROFILE = {
    "msisdn": "13800000001", "market": "campus", "area": "north", "manager": "Li", "channel": "store",
    "industry": "education", "plan": "silver", "fee_minor": 5800, "birthday": date(1990, 2, 28), "vip_level": "gold",
    "activated_on": date(2024, 1, 1),
}  # fmt: skip
# Every event type once; the day on which it happens, and its fields.
TOLD: list[tuple[int, str, dict[str, Any]]] = [
    (0, "subscriber.activated", {}),
    (0, "subscriber.profile", PROFILE),
    (0, "subscriber.status", {"status": "normal"}),
    *((0, "consent.changed", {"channel": c, "granted": c != "sms"}) for c in ("call", "sms", "manager")),
    *((n, "recharge", {"amount_minor": 3000}) for n in range(0, 12, 2)),
    *((0, "bill.closed", {"bill_month": MONTH - n, "total_minor": 6000}) for n in (3, 2, 1)),
    (0, "bundle.linked", {"bundle_id": "1", "kind": "family", "hard": True, "ends_on": date(2027, 1, 31)}),
    (0, "bundle.linked", {"bundle_id": "2", "kind": "broadband", "hard": False, "blocks_port": True}),
    (1, "bundle.unlinked", {"bundle_id": "2", "reason": "cancelled"}),
    (0, "group.joined", {"group_id": "g", "key_person": True}),
    (0, "group.left", {"group_id": "other"}),
    (1, "quota", {"package_id": "p", "measure": "data", "total": 10, "used": 12, "resets_on": date(2026, 6, 1)}),
    (1, "balance", {"amount_minor": 500, "arrears_minor": 0}),
    (1, "complaint.opened", {"complaint_id": "c", "topic": "coverage"}),
    (1, "complaint.closed", {"complaint_id": "other"}),
    (2, "forwarding.set", {"peer_network": "unicom"}),
    (2, "device.changed", {"generation": "5g", "dual_sim": False}),
    (2, "competitor.called", {"network": "telecom"}),
    *(
        (n, f"np.{state}", {"to_network": "x"})
        for n, state in ((12, "queried"), (12, "code_issued"), (12, "requested"))
    ),
    (12, "np.ported", {"to_network": "x"}),
    (11, "charge", {"amount_minor": 700, "kind": "usage"}),
    (11, "charge", {"amount_minor": 5800, "kind": "recurring", "bill_month": MONTH}),
    (11, "usage.voice", {"seconds": 61}),
    (11, "usage.sms", {"count": 2}),
    (11, "usage.data", {"bytes": 5}),
]


def told() -> State:
    """A life in which every feed has spoken, with a warning that was acknowledged and one that is past."""
    state = new_state(Config(windows_days=(1, 7, 30)))
    lines = sorted(TOLD, key=lambda line: line[0])
    events = [
        Event(str(n), "a", kind, START + timedelta(days=day), fields) for n, (day, kind, fields) in enumerate(lines)
    ]
    early = [event for event in events if event.at < START + timedelta(days=10)]
    step(state, NO_RULES, batch_of(early))
    close_through(state, NO_RULES, to_day(date(2026, 5, 9)), "clock")
    close_through(state, BOOK, to_day(date(2026, 5, 10)), "clock")
    step(state, BOOK, batch_of(events[len(early) :], len(early)))
    close_through(state, BOOK, to_day(date(2026, 5, 13)), "clock")
    return state


def nulls(value: object, path: str = "") -> list[str]:
    """Where a record has null, or an empty list or object."""
    if value is None or value in ({}, []):
        return [path]
    if isinstance(value, dict):
        return [found for name, inner in value.items() for found in nulls(inner, f"{path}.{name}")]
    if isinstance(value, list):
        return [found for number, inner in enumerate(value) for found in nulls(inner, f"{path}[{number}]")]
    return []


def test_every_event_type_is_told() -> None:
    assert {kind for _, kind, _ in TOLD} == set(FIELDS)


def test_nothing_is_null_when_every_feed_has_spoken() -> None:
    state = told()
    record = describe(state, BOOK, "a", state.episodes.frame)
    assert record is not None
    ratios = {path for path in nulls(record) if path.endswith(".drop")}  # no baseline, no ratio: 12 days of life
    assert set(nulls(record)) - ratios - WARNING_BLANKS == NOTHING_WITHHELD


_NOTHING_BEFELL = (
    "measure", "window_days", "suppressed_by", "recovering_on", "snoozed_until", "acknowledged_by", "acknowledged_us",
)  # fmt: skip
# What these warnings have not: no measure is judged, nobody did anything, one goes on, one orders nothing.
WARNING_BLANKS = {
    f".warnings.{state}[0].{name}"
    for state, names in {"open": ("outcome", "resolved_on"), "past": ("orders",)}.items()
    for name in (*names, *_NOTHING_BEFELL)
}


# The feed is believed, and nobody muted anything.
NOTHING_WITHHELD = {".withheld", ".mutes", ".warnings.withheld"}


def test_the_record_says_what_is_withheld_and_why() -> None:
    state = told()
    closed = to_day(date(2026, 5, 13))
    frame = state.episodes.frame.with_columns(
        suppressed_by=pl.when(pl.col("rule") == "low").then(pl.lit("mute:m1")).otherwise("suppressed_by")
    )
    ours, others = {"market": "campus", "rule": "low"}, {"market": "rural"}
    mutes = [
        Mute("m1", ours, closed - 1, closed + 4, "Li", "a fault of the bills"),
        Mute("m2", others, closed - 1, closed + 4, "Li", "floods"),
        Mute("m3", {"subscriber_id": "a"}, closed - 9, closed - 1, "Li", "over"),
        Mute("m4", {"subscriber_id": "a"}, closed, closed - 1, "Li", "ended on the day it was set"),
    ]
    state.feed.withheld[closed] = frozenset({"campus"})
    record = describe(state, BOOK, "a", frame, mutes)
    assert record is not None
    assert record["withheld"] == "feed"
    assert record["mutes"] == [
        {"id": "m1", "matchers": ours, "until": "2026-05-17", "by": "Li", "note": "a fault of the bills"}
    ]
    assert [warning["suppressed_by"] for warning in record["warnings"]["withheld"]] == ["mute:m1"]
    assert (record["warnings"]["open"], record["offers"]) == ([], [])
    state.feed.withheld[closed] = frozenset({"rural"})
    assert (describe(state, BOOK, "a", frame) or {})["withheld"] is None


def test_the_record_says_what_was_told() -> None:
    record = describe(told(), BOOK, "a", told().episodes.frame)
    assert record is not None
    expected = {
        "status": "normal", "status_since": "2026-05-01", "birthday": "1990-02-28", "arrears_minor": 0,
        "fee_minor": 5800,
        "contract_end": "2027-01-31", "blocks_port": False, "broadband": False, "family": True,
        "recharge_gap_days": 2.0, "consent": {"call": True, "sms": False, "manager": True},
        "porting": {"state": "ported", "since": "2026-05-13", "to_network": "x"},
        "month_to_date": {"spend_minor": 700, "voice_minutes": 2, "data_bytes": 5, "sms": 2, "fee_minor": 5800},
        "holidays": [{"name": "Labour Day", "from": "2026-05-01", "to": "2026-05-05"}],
        "offers": [{"campaign": "2-0-2-1", "name": {"en": "credit", "zh": "话费"}}],
    }  # fmt: skip
    assert {name: record[name] for name in expected} == expected
    assert len(record["daily"]) == 90
    assert record["daily"][-1]["date"] == "2026-05-13"
    assert sum(day["voice_minutes"] for day in record["daily"]) == record["windows"]["voice"]["30"]["sum"] == 2


def test_an_unknown_subscriber_has_no_record_and_an_unfed_one_has_nulls() -> None:
    state = new_state(Config())
    step(state, BOOK, batch_of([Event("1", "a/b c%2F", "usage.data", START, {"bytes": 1})]))
    assert describe(state, BOOK, "nobody", state.episodes.frame) is None
    record = describe(state, BOOK, "a/b c%2F", state.episodes.frame)
    assert record is not None
    for name in ("status", "balance_minor", "bills", "bundles", "contract_end", "group", "msisdn", "quota_left"):
        assert record[name] is None, name


def test_an_acknowledgement_and_a_contact_are_kept() -> None:
    state = told()
    (episode,) = state.episodes.frame.filter(pl.col("state") == "raised")["episode_id"].to_list()
    told_us = 1_778_700_000_000_000
    feedback = reports(
        {"type": "warning.acknowledged", "subscriber_id": "a", "episode_id": episode, "by": "Wang"},
        {"type": "contact.reported", "subscriber_id": "a", "episode_id": episode, "channel": "call"}
        | {"outcome": "refused"},
        occurred_us=told_us,
    )
    turn = apply_feedback(state, feedback)
    assert turn.transitions.select("transition", "acknowledged_by").rows() == [("acknowledged", "Wang")]
    assert turn.feedback_cursor == 2
    record = describe(state, BOOK, "a", state.episodes.frame)
    assert record is not None
    assert [contact["outcome"] for contact in record["contacts"]] == ["ordered", "refused"]
    assert record["warnings"]["open"][0]["state"] == "acknowledged"
    assert apply_feedback(state, feedback.head(1)).transitions.is_empty()


def test_what_was_said_of_somebody_is_found_before_and_after_a_restart_and_gone_when_forgotten() -> None:
    state = new_state(Config(keep_days=3))
    report = {"type": "contact.reported", "subscriber_id": "late", "episode_id": "e", "channel": "call"}
    apply_feedback(state, reports(report | {"outcome": "refused"}, occurred_us=1_778_700_000_000_000))
    contact_day = state.episodes.contacts["day"][0]
    # Who was contacted before any record of theirs came is in no row yet.
    at = datetime.combine(contact_day, START.timetz())
    usage = [Event(who, who, "usage.data", at, {"bytes": 1}) for who in ("other", "late")]
    step(state, BOOK, batch_of(usage))
    close_through(state, BOOK, to_day(contact_day), "clock")
    restarted = new_state(Config(keep_days=3))
    step(restarted, NO_RULES, batch_of(usage))
    close_through(restarted, NO_RULES, to_day(contact_day), "clock")
    recall(restarted, Decisions(feedback_cursor=1, episodes=state.episodes.frame, contacts=state.episodes.contacts))
    for one in (state, restarted):
        record = describe(one, BOOK, "late", one.episodes.frame)
        assert record is not None
        assert [contact["outcome"] for contact in record["contacts"]] == ["refused"]
        assert [(one["rule"], one["suppressed_by"]) for one in record["warnings"]["withheld"]] == [("low", "standing")]
    assert not restarted.episodes.unknown(state.episodes.frame).height
    close_through(state, NO_RULES, to_day(contact_day) + 9, "clock")
    record = describe(state, BOOK, "late", state.episodes.frame)
    assert record is not None
    assert record["contacts"] == []
