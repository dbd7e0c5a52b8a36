"""Bundles, bills, fees, recharges and complaints give the figures of a closed day."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from service.core.calendar import to_day
from service.core.rules import Rulebook
from service.core.signals import View, columns
from service.core.state import Config, State, new_state
from service.core.step import close_through, step
from tests.core.streams import Event, batch_of

NOTHING = Rulebook(hash="none", rules=())
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Life:
    """One subscriber told day by day."""

    def __init__(self) -> None:
        self.state: State = new_state(Config(horizon_days=400))
        self.events: list[Event] = []

    def on(self, day: int, kind: str, /, **fields: Any) -> "Life":
        at = START + timedelta(days=day, microseconds=len(self.events))
        self.events.append(Event(f"e{len(self.events)}", "a", kind, at, fields))
        return self

    def closed(self, day: int) -> State:
        """The state after the close of a day."""
        state = new_state(self.state.config)
        step(state, NOTHING, batch_of([e for e in self.events if e.at < START + timedelta(days=day + 0.5)]))
        close_through(state, NOTHING, to_day(START.date()) + day, "clock")
        return state

    def signals(self, day: int, *names: str) -> dict[str, Any]:
        return columns(View(self.closed(day), np.array([0], np.int32)), names).row(0, named=True)


def bundle(**fields: Any) -> dict[str, Any]:
    return {"bundle_id": "b", "kind": "package_plan", "hard": False} | fields


BUNDLE_SIGNALS = ("bundles", "hard_bundles", "hard_days_left", "days_unlinked", "unlinked_reason", "ever_bundled")


def test_a_bundle_is_held_until_it_is_cancelled() -> None:
    life = Life().on(0, "bundle.linked", **bundle()).on(9, "bundle.unlinked", bundle_id="b", reason="cancelled")
    assert life.signals(8, *BUNDLE_SIGNALS) == dict(
        zip(BUNDLE_SIGNALS, (1, 0, None, None, None, True), strict=True)
    )  # fmt: skip
    assert life.signals(11, *BUNDLE_SIGNALS) == dict(
        zip(BUNDLE_SIGNALS, (0, 0, None, 2, "cancelled", True), strict=True)
    )  # fmt: skip


def test_a_hard_bundle_runs_out_unless_one_follows() -> None:
    ends = (START + timedelta(days=10)).date()
    life = Life().on(0, "bundle.linked", **bundle(hard=True, ends_on=ends))
    assert life.signals(4, "hard_bundles", "hard_days_left") == {"hard_bundles": 1, "hard_days_left": 6}
    assert life.signals(10, "bundles", "hard_days_left") == {"bundles": 1, "hard_days_left": 0}
    assert life.signals(13, *BUNDLE_SIGNALS[3:5]) == {"days_unlinked": 2, "unlinked_reason": "lapsed"}
    life.on(9, "bundle.linked", **bundle(bundle_id="c", starts_on=ends))
    assert life.signals(13, "bundles", "days_unlinked") == {"bundles": 1, "days_unlinked": None}


def test_a_bundle_linked_for_later_is_not_held_yet() -> None:
    life = Life().on(0, "bundle.linked", **bundle(starts_on=date(2026, 3, 20)))
    assert life.signals(3, "bundles", "ever_bundled") == {"bundles": 0, "ever_bundled": False}
    assert life.signals(19, "bundles", "ever_bundled") == {"bundles": 1, "ever_bundled": True}


def test_bills_are_compared_with_the_two_before_and_money_at_risk_takes_three() -> None:
    life = Life()
    for day, month, total in ((0, 1, 9_000), (1, 2, 11_000), (2, 3, 4_001), (3, 3, 4_000)):
        life.on(day, "bill.closed", bill_month=2026 * 12 + month, total_minor=total)
    life.on(4, "charge", amount_minor=70, kind="usage")
    assert life.signals(1, "bill_last", "bill_drop", "money_at_risk") == {
        "bill_last": 11_000,
        "bill_drop": None,
        "money_at_risk": 0,
    }
    assert life.signals(4, "bill_last", "bill_baseline", "bill_drop", "monthly_value", "money_at_risk") == {
        "bill_last": 4_000,
        "bill_baseline": 10_000.0,
        "bill_drop": 0.6,
        "monthly_value": 8_000,
        "money_at_risk": 96_000,
    }


def test_without_bills_money_at_risk_is_a_year_of_spend() -> None:
    life = Life().on(0, "charge", amount_minor=1_000, kind="usage").on(1, "charge", amount_minor=-1, kind="refund")
    assert life.signals(1, "monthly_value", "money_at_risk") == {"monthly_value": 333, "money_at_risk": 3_996}


def test_a_fee_counts_for_its_bill_month_and_no_other() -> None:
    month = 2026 * 12 + 2
    life = Life().on(0, "charge", amount_minor=500, kind="recurring", bill_month=month)
    life.on(1, "charge", amount_minor=-100, kind="refund", bill_month=month)
    assert life.signals(30, "fee_month", "spend_30d") == {"fee_month": 500, "spend_30d": -100}
    assert life.signals(31, "fee_month") == {"fee_month": 0}


def test_the_rhythm_of_recharging_needs_five_gaps() -> None:
    life = Life()
    for day in (0, 3, 5, 6, 10):
        life.on(day, "recharge", amount_minor=100)
    assert life.signals(12, "recharge_gap_days", "days_since_recharge") == {
        "recharge_gap_days": None,
        "days_since_recharge": 2,
    }
    life.on(20, "recharge", amount_minor=100).on(20, "recharge", amount_minor=5).on(21, "recharge", amount_minor=-100)
    assert life.signals(25, "recharge_gap_days", "days_since_recharge") == {
        "recharge_gap_days": 3.0,  # the median of 3, 2, 1, 4 and 10
        "days_since_recharge": 5,
    }


def test_complaints_groups_and_porting() -> None:
    life = Life().on(0, "complaint.opened", complaint_id="1", topic="bill").on(1, "complaint.opened", complaint_id="2")
    life.on(2, "complaint.closed", complaint_id="1").on(0, "group.joined", group_id="g", key_person=True)
    life.on(3, "group.left", group_id="g").on(3, "np.queried", to_network="x").on(4, "np.requested", to_network="y")
    names = ("open_complaints", "group_id", "key_person", "porting", "days_since_porting")
    assert life.signals(1, *names) == dict(zip(names, (2, "g", True, "none", None), strict=True))
    assert life.signals(6, *names) == dict(zip(names, (1, None, False, "requested", 2), strict=True))


def test_silence_counts_outgoing_events_only() -> None:
    life = Life().on(0, "subscriber.activated").on(2, "usage.sms", count=1)
    life.on(4, "usage.voice", seconds=60, direction="in").on(5, "usage.sms", count=1, direction="in")
    assert life.signals(1, "days_silent", "tenure_days") == {"days_silent": 1, "tenure_days": 1}
    assert life.signals(7, "days_silent", "voice_in_7d", "sms_7d") == {"days_silent": 5, "voice_in_7d": 1, "sms_7d": 1}


def test_a_drop_needs_a_baseline() -> None:
    life = Life().on(0, "usage.data", bytes=300).on(1, "usage.voice", seconds=1)
    assert life.signals(1, "data_1d_drop", "data_1d_baseline", "voice_1d_drop") == {
        "data_1d_drop": 1.0,
        "data_1d_baseline": 150.0,
        "voice_1d_drop": None,
    }


def test_an_older_status_that_comes_later_changes_nothing() -> None:
    life = Life().on(3, "subscriber.status", status="suspended_one_way").on(1, "subscriber.status", status="normal")
    life.on(5, "subscriber.status", status="suspended_one_way")
    assert life.signals(7, "status", "days_in_status") == {"status": "suspended_one_way", "days_in_status": 4}
    assert pl.Series(["normal"]).item() == Life().on(0, "usage.data", bytes=1).signals(1, "status")["status"]
