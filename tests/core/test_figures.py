"""Tiers, what a rulebook derives, moves as people tell them, and snapshots of before a figure was kept."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from service.core.activity import Activity
from service.core.catalogue.usage import tier
from service.core.holdings import FIGURES
from service.core.moves import KEEP_DAYS
from service.core.rules import Derived, Dimension, Rulebook
from service.core.signals import View, catalogue, columns, windows_of
from service.core.state import Config
from service.core.tables import ByRow, gather
from tests.core.test_holdings import START, Life, bundle
from tests.doubles.panes import Kept, kept

ROW = np.zeros(1, np.int32)


@pytest.mark.parametrize(
    ("value", "rank"), [(-5, 1), (0, 1), (0.5, 2), (1, 2), (30, 2), (30.5, 3), (90, 3), (90.01, 4), (10**15, 4)]
)
def test_a_bound_belongs_to_the_tier_it_ends(value: float, rank: int) -> None:
    assert pl.select(tier(pl.lit(value, pl.Float64), (0, 30, 90))).item() == rank


def test_tiers_are_of_the_usual_month_and_unknown_without_bounds() -> None:
    life = Life().on(0, "subscriber.activated").on(10, "usage.voice", seconds=1).on(80, "usage.voice", seconds=6000)
    state = life.closed(85)
    dimensions = (Dimension("voice", 300, (0, 30)), Dimension("tenure", 500, (54, 55)))
    view = View.under(Rulebook("h", (), dimensions=dimensions), state, ROW)
    found = columns(view, ["voice_30d", "voice_tier", "spend_tier", "tenure_tier"]).row(0)
    # A minute in the sixty days before is half a minute a month; a hundred within the window move no tier.
    assert found == (100, 2, None, 2)
    assert columns(View(state, ROW), ["voice_tier"]).row(0) == (None,)


DERIVED = {
    "wordy": Derived(
        pl.col("voice_7d") > 2 * pl.col("sms_7d"),
        pl.Boolean(),
        "",
        "calls rather than writes",
        frozenset({"voice_7d", "sms_7d"}),
    ),
    "cost": Derived(
        pl.col("spend_30d") / pl.col("voice_7d"), pl.Float64(), "", "each", frozenset({"spend_30d", "voice_7d"})
    ),
}


def test_what_a_rulebook_derives_is_made_of_signals_in_the_order_asked_for() -> None:
    life = Life().on(0, "usage.voice", seconds=300).on(0, "charge", amount_minor=40, kind="usage")
    view = View(life.closed(1), ROW, DERIVED)
    found = columns(view, ["cost", "sms_7d", "wordy"])
    assert found.row(0, named=True) == {"cost": 8.0, "sms_7d": 0, "wordy": True}
    assert columns(view, ["sms_7d"]).columns == ["sms_7d"]
    assert windows_of(["cost", "bill_last"], DERIVED) == {7, 30}
    assert windows_of(["cost"]) == set()


def test_each_kind_of_bundle_is_seen_while_it_is_held() -> None:
    life = Life().on(0, "bundle.linked", **bundle(kind="broadband", blocks_port=True))
    life.on(2, "bundle.linked", bundle_id="h", kind="device", hard=True, ends_on=(START + timedelta(days=5)).date())
    names = ("bundled", "soft_bundles", "hard_bundles", "has_broadband", "has_vpn", "blocks_port")
    assert life.signals(1, *names) == dict(zip(names, (True, 1, 0, True, False, True), strict=True))
    assert life.signals(3, *names) == dict(zip(names, (True, 1, 1, True, False, True), strict=True))
    life.on(8, "bundle.unlinked", bundle_id="b", reason="cancelled")
    assert life.signals(9, *names) == dict(zip(names, (False, 0, 0, False, False, False), strict=True))
    assert life.signals(10, "days_since_bundle_unlinked") == {"days_since_bundle_unlinked": 2}


def test_a_plan_is_downgraded_against_the_one_before_and_a_status_changed_once() -> None:
    life = Life().on(0, "subscriber.profile", fee_minor=50).on(1, "subscriber.profile", fee_minor=None, plan="m")
    life.on(2, "subscriber.profile", fee_minor=30).on(3, "subscriber.profile", fee_minor=40)
    life.on(4, "subscriber.status", status="normal").on(5, "subscriber.status", status="suspended_one_way")
    life.on(6, "subscriber.status", status="suspended_one_way").on(7, "subscriber.status", status="normal")
    names = ("plan_downgraded_90d", "days_since_plan_downgraded", "status_changed_90d", "days_since_status_changed")
    assert life.signals(9, *names) == dict(zip(names, (1, 7, 2, 2), strict=True))


def test_a_complaint_told_twice_is_one_and_a_package_goes_over_once_a_period() -> None:
    life = Life().on(0, "complaint.opened", complaint_id="c").on(1, "complaint.opened", complaint_id="c")
    may, june = ((START + timedelta(days=days)).date() for days in (61, 92))
    for day, resets in ((2, may), (3, may), (63, june)):
        life.on(day, "quota", package_id="p", measure="data", total=10, used=12, resets_on=resets)
    names = ("complaint_opened_90d", "days_since_complaint_opened", "data_overflow_90d", "quota_data_over")
    assert life.signals(4, *names) == dict(zip(names, (1, 4, 1, 2), strict=True))
    assert life.signals(64, *names) == dict(zip(names, (1, 64, 2, 2), strict=True))


def test_moves_are_forgotten_after_a_quarter() -> None:
    life = Life().on(0, "device.changed", generation="4g").on(125, "usage.data", bytes=1)
    names = ("device_changed_90d", "days_since_device_changed")
    assert life.signals(KEEP_DAYS - 1, *names) == dict(zip(names, (1, KEEP_DAYS - 1), strict=True))
    assert life.signals(KEEP_DAYS, *names) == dict(zip(names, (0, None), strict=True))
    assert life.closed(124).holdings.tables["moves"].frame().is_empty()


def test_who_the_growable_and_the_valuable_are() -> None:
    def class_of(*charges: tuple[int, int]) -> object:
        life = Life().on(0, "usage.data", bytes=1)
        for day, amount in charges:
            life.on(day, "charge", amount_minor=amount, kind="usage" if amount > 0 else "refund")
        return life.signals(89, "value_class")["value_class"]

    assert class_of() == "BZ"
    assert class_of((50, -10)) == "BZ"
    assert class_of((10, 300), (40, 300), (70, 300)) == "LVC"
    assert class_of((10, 300), (40, 300), (70, 400)) == "MGC"
    assert class_of((10, 9_000), (40, 9_000), (70, 12_000)) == "MVC"


def test_the_usual_gap_is_that_between_active_days_over_words_of_bits() -> None:
    activity = Activity(130)
    activity.grow(3)
    for ago in (0, 1, 63, 64, 65, 129):
        activity.correct(ago, np.array([0]))
    for ago in (3, 5, 7, 9, 11):
        activity.correct(ago, np.array([1]))
    rows = np.arange(3)
    assert activity.gaps(130, rows)[0] == 129 / 5
    assert np.isnan(activity.gaps(130, rows)[1:]).all()
    assert np.isnan(activity.gaps(64, rows)).all()


def test_figures_are_found_for_any_rows_in_any_order() -> None:
    figures = ByRow.of(pl.DataFrame({"row": [2, 5, 9], "x": [20, None, 90]}))
    for rows in ([9, 2, 2, 3, 5, 0, 11], [4], [5], []):
        asked = np.array(rows, np.int32)
        (found,) = gather(figures.between(asked), asked, ["x"])
        assert found.to_list() == [{2: 20, 9: 90}.get(row) for row in rows]


# A snapshot of before


def told_life() -> Life:
    life = Life().on(0, "bundle.linked", **bundle(hard=True)).on(0, "group.joined", group_id="g", key_person=True)
    life.on(1, "usage.voice", seconds=60).on(1, "device.changed", generation="4g").on(1, "recharge", amount_minor=7)
    life.on(1, "bill.closed", bill_month=2026 * 12 + 1, total_minor=900)
    return life.on(2, "balance", amount_minor=1, arrears_minor=5)


FORMER = ("bundles", "hard_bundles", "group_id", "key_person", "bill_last", "days_since_recharge", "voice_7d")
NEW = ("days_since_voice", "device_changed_90d", "days_since_device_changed", "days_in_arrears", "recharge_last")


def older(store: Kept) -> Kept:
    """The same as it was stored once: figures in one frame, and nothing of what is kept since."""
    frames = {name: frame for name, frame in store.frames.items() if not name.startswith("figures/")}
    former = {"bundles": {"has_package", "has_vpn", "has_family", "has_broadband", "blocks_port"}}
    former |= {"bills": {"bill_before_last"}, "fees": {"fee_last_month"}, "recharges": {"recharge_last"}}
    derived = pl.DataFrame({"row": [0]}, {"row": pl.Int32})
    for name in ("bundles", "bills", "fees", "recharges", "complaints", "groups"):
        figures = store.frames[f"figures/{name}"]
        derived = derived.join(figures.drop(former.get(name, set())), on="row", how="left")
    del frames["table/moves"]
    lacking = ["last_voice", "last_data", "last_sms", "last_spend", "arrears_since"]
    frames["attributes"] = frames["attributes"].drop(lacking)
    return replace(store, frames=frames | {"derived": derived})


def signals_of(store: Kept, *names: str) -> dict[str, Any]:
    return columns(View(store.taken_up(Config(horizon_days=400)), ROW), names).row(0, named=True)


def test_a_snapshot_brings_back_every_figure() -> None:
    store = kept(told_life().closed(4))
    assert {name.removeprefix("figures/") for name in store.frames if name.startswith("figures/")} == set(FIGURES)
    assert signals_of(store, *NEW) == dict(zip(NEW, (3, 1, 3, 2, 7), strict=True))


def test_an_older_snapshot_is_taken_up_and_of_what_it_lacks_nothing_is_known() -> None:
    store = kept(told_life().closed(4))
    former = older(store)
    assert signals_of(former, *FORMER) == signals_of(store, *FORMER)
    assert signals_of(former, *FORMER)["hard_bundles"] == 1
    assert signals_of(former, *NEW) == dict(zip(NEW, (None, 0, None, None, None), strict=True))
    assert set(signals_of(former, *catalogue())) == set(catalogue())
