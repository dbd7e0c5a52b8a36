"""Transitions, contacts and turns as the core makes them, drawn or made by hand."""

from datetime import date
from typing import Any

import polars as pl
from hypothesis import strategies as st

from service.core.turn import CONTACTS, LATE, TRANSITIONS, DayRecord, Turn

RAISED_US = 1_377_993_600_000_000  # 2013-09-01T00:00:00Z, the end of the day judged
TRANSITION: dict[str, Any] = {
    "episode_id": "e1",
    "subscriber_id": "s-1",
    "transition": "raised",
    "rule": "drop_voice",
    "rule_version": 3,
    "kind": "risk",
    "state": "raised",
    "outcome": None,
    "severity": "warning",
    "suppressed_by": None,
    "raised_on": date(2013, 8, 31),
    "raised_us": RAISED_US,
    "published_on": date(2013, 8, 31),
    "held_on": date(2013, 8, 31),
    "recovering_on": None,
    "snoozed_until": None,
    "resolved_on": None,
    "changed_us": RAISED_US,
    "act_by": date(2013, 9, 3),
    "measure": "voice",
    "window_days": 30,
    "numbers": '{"voice_30d":41,"voice_30d_baseline":180.5,"voice_30d_drop":0.773,"market":null}',
    "money_at_risk_minor": 120_000,
    "consent": '{"call":true,"sms":false,"manager":null}',
    "orders": '{"call": "ordered", "sms": "no_consent"}',
    "why": '{"en": "Calls fell.", "zh": "通话下降。"}',
    "market": "campus",
    "area": None,
    "manager": "m-1",
    "acknowledged_by": None,
    "acknowledged_us": None,
    "at": 17,
}


def transitions(*changes: dict[str, Any]) -> pl.DataFrame:
    """One line per change of a raised drop of calls."""
    return pl.DataFrame([TRANSITION | change for change in changes], schema=TRANSITIONS)


def turn(cursor: int = 18, **parts: Any) -> Turn:
    """A turn that says nothing but its cursor, or what `parts` say."""
    empty: dict[str, Any] = {
        "feedback_cursor": 2,
        "transitions": pl.DataFrame(schema=TRANSITIONS),
        "contacts": pl.DataFrame(schema=CONTACTS),
        "late": pl.DataFrame(schema=LATE),
    }
    return Turn(cursor=cursor, **(empty | parts))


_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_DATES = st.dates(date(1971, 1, 1), date(9999, 12, 31))
_VALUES = {
    pl.String(): _TEXTS,
    pl.Int32(): st.integers(-(2**31), 2**31 - 1),
    pl.Int64(): st.integers(-(2**63), 2**63 - 1),
    pl.Boolean(): st.booleans(),
    pl.Date(): _DATES,
}
IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
_NAMED = {"episode_id": IDS}
LINES = st.lists(
    st.fixed_dictionaries({name: st.none() | _VALUES[dtype] for name, dtype in TRANSITIONS.items()} | _NAMED),
    max_size=6,
)  # fmt: skip
CONTACT_LISTS = st.dictionaries(
    st.tuples(IDS, st.sampled_from(["call", "sms", "manager"])),
    st.lists(st.tuples(_DATES, st.none() | _TEXTS, st.none() | _TEXTS), min_size=1, max_size=3),
    max_size=4,
)
DAYS = st.builds(
    DayRecord,
    day=st.integers(0, 30_000),
    cut=st.integers(0, 2**62),
    cause=st.sampled_from(["watermark", "clock"]),
    rulebook=_TEXTS,
    slices=st.integers(1, 64),
    slices_done=st.integers(0, 64),
)
