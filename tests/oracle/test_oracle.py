"""The second computation itself, against figures worked out by hand."""

from collections import Counter
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.oracle.backtest import Score, groups, score
from tests.oracle.episodes import Warned, warnings_of
from tests.oracle.usage import MEASURES, Told, labels, postpaid_daily, prepaid_monthly
from tests.oracle.windows import signals, sums_as_of

FIRST = date(2018, 1, 1)


def nth(day: int) -> date:
    """The day counted from the first, which is 0."""
    return FIRST + timedelta(days=day)


def told(usage: dict[int, dict[str, int]], days: int, cancelled: int | None = None) -> Told:
    """One subscriber `s`, seen from the first day on."""
    rows = [
        {"subscriber": "s", "day": nth(day), **dict.fromkeys(MEASURES, 0), **amounts} for day, amounts in usage.items()
    ]
    schema = {"subscriber": pl.String, "day": pl.Date, **dict.fromkeys(MEASURES, pl.Int64)}
    people = pl.DataFrame(
        {
            "subscriber": ["s"],
            "first_seen": [FIRST],
            "activated_on": [FIRST],
            "told_on": [FIRST],
            "cancelled_on": [None if cancelled is None else nth(cancelled)],
        },
        schema_overrides={"cancelled_on": pl.Date},
    )
    return Told(pl.DataFrame(rows, schema), people, nth(days - 1), consents=True)


def outline(found: list[Warned]) -> list[tuple[str, int, str, int | None, str | None]]:
    """(rule, day raised, severity, day resolved for good, outcome), days counted from the first."""
    told = []
    for warned in sorted(found, key=lambda one: (one.raised_on, one.rule)):
        end, outcome = (None, None) if warned.is_open else warned.ends[-1]
        day = None if end is None else (end - FIRST).days
        told.append((warned.rule, (warned.raised_on - FIRST).days, warned.versions[0].severity, day, outcome))
    return told


def of_rule(found: list[Warned], rule: str) -> list[Warned]:
    return [warned for warned in found if warned.rule == rule]


def month_of_500(**row: Any) -> dict[str, Any]:
    """A row of the monthly file: of June, of somebody who never did anything."""
    nothing = {"spend": 0.0, "out_minutes": 0.0, "sms_out": 0, "data_mb": 0.0, "reload_sum": 0.0, "days_silent": 1276}
    return {"id": 7, "year": 2013, "month": 6, "lifetime_days": 500, "days_since_reload": 1276, **nothing, **row}


def test_a_month_is_spread_over_its_days_as_worked_out_by_hand(tmp_path: Path) -> None:
    row = month_of_500(
        out_minutes=2.51, sms_out=2, spend=-0.05, data_mb=0.5, days_silent=27, reload_sum=3.0, days_since_reload=29
    )
    pl.DataFrame([row]).write_parquet(tmp_path / "months.parquet")
    usage = prepaid_monthly(tmp_path / "months.parquet").usage
    # 3 days: 150.6 s are 151 = 50 + 50 + 51, a minute begun each; 2 messages stand on the last; 5 minor units are
    # 1 + 1 + 3; 500,000 bytes are 166,666 twice and the rest.
    assert usage.select("day", *MEASURES).rows() == [
        (date(2013, 6, 1), -1, 1, 50, 0, 166_666, 0, 300, 2),
        (date(2013, 6, 2), -1, 1, 50, 0, 166_666, 0, 0, 2),
        (date(2013, 6, 3), -3, 1, 51, 0, 166_668, 2, 0, 3),
    ]


def test_who_was_active_without_any_total_made_one_call_of_no_length(tmp_path: Path) -> None:
    pl.DataFrame([month_of_500(days_silent=4)]).write_parquet(tmp_path / "months.parquet")
    usage = prepaid_monthly(tmp_path / "months.parquet").usage
    assert usage.select("day", "outgoing", "voice").rows() == [(date(2013, 6, 26), 1, 0)]


def test_silence_is_raised_after_three_usual_gaps_and_again_after_speaking() -> None:
    found = warnings_of(told({0: {"outgoing": 10}, 20: {"outgoing": 1}, 40: {"outgoing": 1}}, 70))
    assert outline(found) == [
        # Day 13 is the 14th known: one day of use and then none makes a gap of (14 - 13) / 1.
        ("outgoing_silence", 13, "warning", 20, "recovered"),
        # A newcomer who is active on at most two of thirty days stays one to watch.
        ("quiet_newcomer", 13, "warning", None, None),
        # Of 30 days one is active from day 50 on: 3 x (30 - 23) / 1 = 21 is reached on day 63, 3 x (30 - 22) not on 62.
        ("outgoing_silence", 63, "warning", None, None),
    ]


def test_who_is_charged_nothing_is_warned_after_a_month_and_urgent_without_a_recharge() -> None:
    daily = {day: {"outgoing": 1} for day in range(80)}
    spent = {**daily, 0: {"outgoing": 1, "spend": 5}, 45: {"outgoing": 1, "recharge": 100}}
    prepaid = [w for w in warnings_of(replace(told(spent, 80), fee=0)) if w.rule == "nothing_charged"]
    assert outline(prepaid) == [
        # A newcomer who has used up five units and refilled nothing; the refill of day 45 counts until day 74.
        ("nothing_charged", 30, "critical", 45, "recovered"),
        ("nothing_charged", 75, "warning", None, None),
    ]
    assert not [w for w in warnings_of(told(spent, 80)) if w.rule == "nothing_charged"]  # whose fee is not known


def test_a_drop_is_raised_at_its_threshold_and_resolved_a_week_below_the_lower_one() -> None:
    # 40 minutes on each of the first 2 days: half of it, 40, is the baseline of the day on which the second leaves.
    usage = {0: {"voice": 40, "outgoing": 1}, 1: {"voice": 40, "outgoing": 1}}
    speaking = {day: {"outgoing": 1} for day in range(2, 45)}
    calling = {34: {"voice": 24, "outgoing": 1}, 35: {"voice": 5, "outgoing": 1}}
    found = warnings_of(told(usage | speaking | calling, 45))
    # Day 31: nothing of a usual 40. Day 34: 24 of 40 are still 40 % down, day 35: 29 of 40 are 27.5 %.
    assert outline(found) == [
        ("voice_drop", 31, "notice", 42, "recovered"),
        ("voice_silence", 31, "notice", 34, "recovered"),
    ]
    drop, silence = found
    assert drop.versions[0].numbers == {
        "voice_30d": 0,
        "voice_30d_baseline": 40.0,
        "voice_30d_drop": 1.0,
        "voice_30d_cohort": None,
        "voice_30d_drop_vs_cohort": 1.0,
        "days_silent": 0,
        "days_unlinked": None,
        "monthly_value": 0,
    }
    # No call at all is the graver word; the drop is told when calls are back.
    assert (drop.published_on, silence.published_on) == (nth(34), nth(31))


def test_what_holds_again_within_the_month_is_the_same_warning() -> None:
    usage = {day: {"outgoing": 1} for day in (*range(20), *range(24, 28), 70)}
    (newcomer,) = of_rule(warnings_of(told(usage, 80)), "quiet_newcomer")
    # Silent for three days on day 22 and, of a gap of (30 - 3) / 22 days, for four on day 31; 34 days later it is over.
    assert (newcomer.raised_on, newcomer.ends, newcomer.returns) == (nth(22), [(nth(24), "recovered")], [nth(31)])
    assert newcomer.calls == [nth(22)]


def test_one_is_compared_with_two_hundred_of_the_same_shard() -> None:
    # 201 who spoke half of their usual 40 minutes, and one who spoke nothing.
    people = [f"s{n}" for n in range(202)]
    alone = told({0: {"voice": 80, "outgoing": 1}, 30: {"voice": 20, "outgoing": 1}}, 31)
    quiet = pl.col("day") < nth(30)
    parts = [
        (alone.usage if n else alone.usage.filter(quiet)).with_columns(subscriber=pl.lit(who))
        for n, who in enumerate(people)
    ]
    crowd = replace(
        alone,
        usage=pl.concat(parts),
        people=pl.concat([alone.people.with_columns(subscriber=pl.lit(who)) for who in people]),
    )
    drops = Counter(w.subscriber for w in of_rule(warnings_of(crowd), "voice_drop"))
    assert drops == {"s0": 1}
    apart = {who: n % 2 for n, who in enumerate(people)}
    assert len(of_rule(warnings_of(crowd, apart), "voice_drop")) == 202


def test_value_and_silence_make_a_drop_urgent_and_silence_calls_for_it() -> None:
    spending = {day: {"spend": 1000, "outgoing": 1} for day in range(31)}
    found = warnings_of(told(spending, 61))
    # On day n from 31 on the window holds 60 - n days of spending and the baseline half of n - 29: 8 against 11.5 on
    # day 52 is the first time that 30 % are missing.
    (drop,) = of_rule(found, "spend_drop")
    (first,) = drop.versions
    told_of = (first.day, first.severity, first.numbers["monthly_value"], first.money_at_risk_minor, first.call)
    assert told_of == (nth(52), "critical", 10_333, 124_000, "rule")
    assert (drop.published_on, first.act_by) == (None, nth(53))
    (newcomer,) = of_rule(found, "quiet_newcomer")
    versions = [(version.day, version.severity, version.call) for version in newcomer.versions]
    assert versions == [(nth(33), "warning", "ordered"), (nth(44), "critical", "contacted")]
    assert [(w.rule, w.calls) for w in found if w.calls] == [("quiet_newcomer", [nth(33)])]


def test_an_end_is_told_at_its_noon_with_the_figures_of_the_evening_before() -> None:
    found = warnings_of(told({day: {"outgoing": 1} for day in range(40)}, 80, cancelled=40))
    assert outline(found) == [("cancelled", 40, "notice", 70, "churned")]
    assert found[0].versions[0].numbers == {
        "event.status": "cancelled",
        "status": "normal",
        "tenure_days": 39,
        "monthly_value": 0,
    }


def test_who_has_left_is_let_go_of_at_once() -> None:
    usage = {0: {"data": 40_000_000, "outgoing": 1}, **{day: {"outgoing": 1} for day in range(1, 35)}}
    found = warnings_of(told(usage, 100, cancelled=35))
    assert ("data_drop", 30, "notice", 35, "churned") in outline(found)


def test_running_sums_are_those_of_a_plain_group_by(real_data: Path) -> None:
    for read, file in ((prepaid_monthly, "prepaid_monthly_dev"), (postpaid_daily, "postpaid_daily")):
        whole = read(real_data / f"{file}.parquet")
        judged = signals(whole)
        for ago in (0, 13, 45):
            day = whole.last - timedelta(days=ago)
            columns = [f"{measure}_30d" for measure in MEASURES]
            plain = sums_as_of(whole, day).select("subscriber", *columns, "spend_90d")
            assert judged.filter(pl.col("day") == day).select(plain.columns).sort("subscriber").equals(plain)


@pytest.mark.parametrize(
    ("read", "file", "expected"),
    [
        (
            prepaid_monthly,
            "prepaid_monthly_dev",
            {
                "outgoing_silence": 1457,
                "quiet_newcomer": 916,
                "nothing_charged": 933,
                "voice_drop": 365,
                "spend_drop": 236,
                "voice_silence": 39,
                "data_drop": 30,
            },
        ),
        (
            postpaid_daily,
            "postpaid_daily",
            {
                "outgoing_silence": 277,
                "quiet_newcomer": 276,
                "voice_drop": 150,
                "data_drop": 63,
                "cancelled": 34,
                "voice_silence": 2,
            },
        ),
    ],
)
def test_what_the_real_files_give(real_data: Path, read: Any, file: str, expected: dict[str, int]) -> None:
    assert Counter(warning.rule for warning in warnings_of(read(real_data / f"{file}.parquet"))) == expected


def test_scores_are_out_of_every_labelled_subscriber(real_data: Path) -> None:
    left = {"a": True, "b": True, "c": False, "d": False, "e": False}
    assert score({"a", "c", "unlabelled"}, left) == Score(2, 0.5, 0.5, 1.25)
    assert score(set(), left) == Score(0, None, 0.0, None)
    flags = labels(real_data / "prepaid_monthly_dev.parquet", "churn_sept")
    assert (len(flags), sum(flags.values())) == (2610, 552)
    assert groups([], FIRST) == {"any": set(), "outbound.call": set()}
