"""What is told of those who meet a fate, checked by plain sums over the events themselves."""

import orjson
import polars as pl
import pytest

from service.city.fates import FATES
from tests.city.towns import demo_city, met, told, told_events

LAST = 119


def sums(event_type: str, field: str, only: pl.Expr | None = None) -> pl.DataFrame:
    """Every subscriber's sum of a field over the last thirty days, and half the sum over the sixty before."""
    events = told(event_type).filter(only if only is not None else pl.lit(value=True))
    window = pl.col(field).filter(pl.col("index") > LAST - 30).sum().alias("now")
    before = (pl.col(field).filter(pl.col("index").is_between(LAST - 89, LAST - 30)).sum() / 2).alias("before")
    return events.group_by("subscriber_id").agg(window, before)


def drops(fate: str, measure: pl.DataFrame) -> pl.Series:
    """How far those who met a fate at least a month ago have fallen."""
    fallen = met(fate).filter(pl.col("begins") <= LAST - 28).join(measure, on="subscriber_id")
    return fallen.filter(pl.col("begins") >= 60).select(1 - pl.col("now") / pl.col("before")).to_series()


OUT = pl.col("direction") == "out"
USED = pl.col("kind").is_in(["usage", "refund"])


@pytest.mark.parametrize(
    ("fate", "event_type", "field", "only"),
    [
        ("fades_spend", "charge", "amount_minor", USED),
        ("fades_all", "charge", "amount_minor", USED),
        ("fades_voice", "usage.voice", "billed_minutes", OUT),
        ("fades_data", "usage.data", "bytes", None),
        ("voice_silent", "usage.voice", "billed_minutes", OUT),
        ("goes_silent", "usage.data", "bytes", None),
    ],
)
def test_what_fades_falls_by_more_than_half(fate: str, event_type: str, field: str, only: pl.Expr | None) -> None:
    fallen = drops(fate, sums(event_type, field, only))
    assert fallen.len() > 0
    assert (fallen > 0.4).all()
    assert 2 * (fallen > 0.55).sum() >= fallen.len()


def test_the_stable_hardly_ever_look_like_leaving() -> None:
    stable = demo_city().population.filter((pl.col("fate") == "stable") & (pl.col("joins") == 0))
    for measure, warned in (
        (sums("charge", "amount_minor", USED), 0.3),
        (sums("usage.voice", "billed_minutes", OUT), 0.4),
        (sums("usage.data", "bytes"), 0.5),
    ):
        known = measure.filter(pl.col("before") > 0).join(stable, on="subscriber_id", how="semi")
        share = known.select((1 - pl.col("now") / pl.col("before") > warned).mean()).item()
        assert share < 0.01


def test_the_silent_send_nothing_and_pay_their_fee() -> None:
    silent = met("unused").filter(pl.col("begins") <= 80)
    used = told_events().filter(pl.col("type").is_in(["usage.data", "usage.sms"]))
    called = told("usage.voice").filter(OUT)
    for events in (used, called):
        after = events.join(silent, on="subscriber_id").filter(pl.col("index") >= pl.col("begins"))
        assert after.is_empty()
    fees = told("charge").filter((pl.col("kind") == "recurring") & (pl.col("index") > 90))
    assert set(silent["subscriber_id"]) <= set(fees["subscriber_id"])


def test_recharges_have_a_rhythm_that_stops_for_good() -> None:
    recharges = told("recharge").sort("subscriber_id", "index")
    gaps = recharges.with_columns(gap=pl.col("index").diff().over("subscriber_id"))
    stopping = met("recharge_stops")
    living = gaps.join(met("stable"), on="subscriber_id", how="semi")
    usual = living.group_by("subscriber_id").agg(pl.col("gap").median().alias("usual"), pl.col("gap").max())
    assert usual.filter(pl.col("gap") > 2 * pl.col("usual")).is_empty()
    stopped = gaps.join(stopping, on="subscriber_id").group_by("subscriber_id").agg(
        pl.col("gap").tail(5).median().alias("usual"), pl.col("index").max(), pl.len()
    )  # fmt: skip
    assert stopped.height == stopping.height > 0
    assert (stopped["len"] >= 6).all()
    assert stopped.filter(LAST - pl.col("index") <= 2 * pl.col("usual")).is_empty()


def test_bills_are_the_sum_of_what_was_charged() -> None:
    charged = told("charge").group_by("subscriber_id", "bill_month").agg(pl.col("amount_minor").sum())
    refunds = told("charge").filter(pl.col("kind") == "refund").select("subscriber_id", "bill_month")
    # The month in which the run starts is only seen in part.
    bills = told("bill.closed").filter(pl.col("bill_month") > "2026-07")
    both = bills.join(charged, on=["subscriber_id", "bill_month"], how="left").join(
        refunds, on=["subscriber_id", "bill_month"], how="anti"
    )
    assert both.height > 4000
    assert both.filter(pl.col("total_minor") != pl.col("amount_minor").fill_null(0)).is_empty()
    assert set(told("bill.closed").select(pl.col("occurred_at").str.slice(8, 2)).to_series()) <= {
        "31", "30", "01", "02", "03", "04", "05",
    }  # fmt: skip


def test_a_cancelled_or_lapsed_bundle_was_the_only_one_and_nothing_follows() -> None:
    linked = told("bundle.linked").group_by("subscriber_id").len()
    for reason, fate in (("cancelled", "bundle_cancelled"), ("lapsed", "bundle_lapses")):
        gone = told("bundle.unlinked").filter(pl.col("reason") == reason)
        assert set(gone["subscriber_id"]) == set(met(fate)["subscriber_id"])
        assert gone.join(linked, on="subscriber_id")["len"].unique().to_list() == [1]
        known = told("bundle.linked").select("subscriber_id", "bundle_id")
        assert gone.join(known, on=["subscriber_id", "bundle_id"]).height == gone.height


def test_contracts_end_within_the_notice_only_by_fate() -> None:
    contracts = told("bundle.linked").filter(pl.col("hard")).with_columns(pl.col("ends_on").str.to_date())
    last_day = demo_city().start + pl.duration(days=LAST)
    soon = contracts.filter(pl.col("ends_on") <= last_day + pl.duration(days=60))
    ending = met("bundle_ends").height + met("bundle_lapses").height
    assert soon.height == ending > 0


def test_porting_goes_step_by_step() -> None:
    steps = told_events().filter(pl.col("type").str.starts_with("np."))
    porting = steps.join(met("ports"), on="subscriber_id").group_by("subscriber_id", maintain_order=True).agg("type")
    assert porting.height > 0
    assert porting["type"].unique().to_list() == [["np.queried", "np.code_issued", "np.requested", "np.ported"]]


def test_a_smaller_plan_costs_less_and_packages_overflow_only_by_fate() -> None:
    profiles = told("subscriber.profile").group_by("subscriber_id", maintain_order=True).agg("fee_minor")
    smaller = profiles.filter(pl.col("fee_minor").list.len() > 1)
    assert set(smaller["subscriber_id"]) == set(met("downgrades")["subscriber_id"])
    assert smaller.select((pl.col("fee_minor").list.first() > pl.col("fee_minor").list.last()).all()).item()
    over = told("quota").filter(pl.col("used") > pl.col("total"))
    assert set(over["subscriber_id"]) == set(met("overflows")["subscriber_id"])


def test_every_move_of_every_fate_is_told_on_its_day() -> None:
    for name, fate in FATES.items():
        those = met(name)
        assert those.height > 0, name
        for move in fate.moves:
            due = those.filter(pl.col("begins") + move.after_days <= LAST)
            events = told_events().filter(pl.col("type") == move.type).select("subscriber_id", "index").unique()
            found = due.join(events, on="subscriber_id").filter(pl.col("index") == pl.col("begins") + move.after_days)
            assert found.height == due.height, (name, move)


def test_consent_is_given_refused_or_unknown_for_every_channel() -> None:
    answers = told("consent.changed").group_by("channel").agg(pl.col("granted").sum(), pl.len())
    people = demo_city().population.height
    assert sorted(answers["channel"]) == ["call", "manager", "sms"]
    assert answers.select((pl.col("granted").is_between(1, pl.col("len") - 1) & (pl.col("len") < people)).all()).item()


def test_truth_names_who_leaves_and_when() -> None:
    truth = demo_city().truth()
    gone = told("subscriber.status").filter(pl.col("status") == "cancelled")
    leaving = truth.filter("leaves")
    within = leaving.filter(pl.col("left_on").is_not_null())
    assert set(within["subscriber_id"]) == set(gone["subscriber_id"])
    assert leaving["begins_on"].null_count() == 0
    assert truth.filter(~pl.col("leaves"))["left_on"].null_count() == truth.height - leaving.height
    assert truth.filter(pl.col("fate") == "stable")["begins_on"].null_count() == (truth["fate"] == "stable").sum()


def test_lines_are_json_objects() -> None:
    assert all(isinstance(orjson.loads(line), dict) for line in told_events()["line"].head(1000))


def test_the_stable_are_never_silent_for_long() -> None:
    called = told("usage.voice").filter(OUT).select("subscriber_id", "index")
    used = told_events().filter(pl.col("type").is_in(["usage.data", "usage.sms"])).select("subscriber_id", "index")
    city = demo_city().population
    # Some lines only receive, or send a message a month.
    used_lines = city.filter((pl.col("voice_level") > 0) | (pl.col("data_level") > 0))
    gaps = (
        pl.concat([called, used.cast({"index": called["index"].dtype})])
        .join(used_lines.filter(pl.col("fate") == "stable"), on="subscriber_id", how="semi")
        .sort("subscriber_id", "index")
        .with_columns(gap=pl.col("index").diff().over("subscriber_id"))
    )
    assert gaps.filter(pl.col("gap") > 15).is_empty()
    assert gaps.filter(pl.col("gap") > 10).height < gaps.height / 20


def test_a_smaller_plan_shows_in_the_last_bill() -> None:
    bills = told("bill.closed").sort("bill_month").group_by("subscriber_id", maintain_order=True).agg("total_minor")
    smaller = bills.join(met("downgrades"), on="subscriber_id").filter(pl.col("total_minor").list.len() == 4)
    before = pl.col("total_minor").list.get(1) + pl.col("total_minor").list.get(2)
    drop = 1 - 2 * pl.col("total_minor").list.last() / before
    assert smaller.filter(drop > 0.3).height > 0


def test_the_stable_get_steady_bills() -> None:
    bills = told("bill.closed").join(met("stable"), on="subscriber_id", how="semi").sort("bill_month")
    last = bills.group_by("subscriber_id", maintain_order=True).agg("total_minor")
    last = last.filter(pl.col("total_minor").list.len() == 4).with_columns(b=pl.col("total_minor"))
    drop = 1 - 2 * pl.col("b").list.last() / (pl.col("b").list.get(1) + pl.col("b").list.get(2))
    assert last.select((drop > 0.25).mean()).item() < 0.01
