"""The mappings of the two real files tell what their recipes say, to the last event."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from service.rulebook.mapping import Mapping, expand, load_mapping
from tests.history.recipes import Told, postpaid_daily, prepaid_monthly, told

RULES = Path(__file__).parents[2] / "rules"
MONTH = {
    "id": 7, "year": 2013, "month": 6, "lifetime_days": 400, "spend": 0.0, "out_minutes": 0.0, "sms_out": 0,
    "data_mb": 0.0, "reload_sum": 0.0, "days_silent": 0, "days_since_reload": 1276,
}  # fmt: skip


@pytest.fixture(scope="module")
def prepaid() -> Mapping:
    return load_mapping(RULES, "prepaid_monthly")


@pytest.fixture(scope="module")
def postpaid() -> Mapping:
    return load_mapping(RULES, "postpaid_daily")


def tell(mapping: Mapping, rows: Iterable[dict[str, Any]] | pl.DataFrame) -> list[Told]:
    frame = rows if isinstance(rows, pl.DataFrame) else pl.DataFrame(list(rows))
    made = expand(mapping, frame)
    assert made.rejects.is_empty()
    assert made.events["occurred_us"].is_sorted()
    events = [json.loads(value) for value in made.events["value"]]
    assert len({event["id"] for event in events}) == len(events)
    common = ("id", "type", "subscriber_id", "occurred_at")
    return [
        (
            e["occurred_at"],
            e["subscriber_id"],
            e["type"],
            tuple(sorted((k, v) for k, v in e.items() if k not in common)),
        )
        for e in events
    ]


def usage(mapping: Mapping, **row: Any) -> list[Told]:
    return [event for event in tell(mapping, [MONTH | row]) if not event[2].startswith(("subscriber", "consent"))]


@pytest.mark.parametrize(
    ("name", "file", "recipe"),
    [
        ("prepaid_monthly", "prepaid_monthly_dev.parquet", prepaid_monthly),
        ("postpaid_daily", "postpaid_daily.parquet", postpaid_daily),
    ],
)
def test_a_real_file_is_told_by_its_recipe(
    real_data: Path, name: str, file: str, recipe: Callable[[Iterable[dict[str, Any]]], list[Told]]
) -> None:
    rows = pl.read_parquet(real_data / file)
    assert Counter(tell(load_mapping(RULES, name), rows)) == Counter(recipe(rows.iter_rows(named=True)))


def test_a_total_is_spread_in_whole_parts_and_the_rest_comes_last(prepaid: Mapping) -> None:
    days = [event for event in usage(prepaid, sms_out=62, days_silent=1) if event[2] == "usage.sms"]
    assert len(days) == 29
    assert days[0] == told(date(2013, 6, 1), 12, 7, "usage.sms", count=2)
    assert days[-1] == told(date(2013, 6, 29), 12, 7, "usage.sms", count=6)


def test_a_total_smaller_than_its_days_stands_on_the_last_alone(prepaid: Mapping) -> None:
    assert usage(prepaid, sms_out=6) == [told(date(2013, 6, 30), 12, 7, "usage.sms", count=6)]


def test_usage_begins_with_the_activation(prepaid: Mapping) -> None:
    events = tell(prepaid, [MONTH | {"lifetime_days": 2, "out_minutes": 0.15}])
    assert events[0] == told(date(2013, 6, 28), 0, 7, "subscriber.profile", activated_on="2013-06-28")
    assert [e for e in events if e[2] == "usage.voice"] == [
        told(date(2013, 6, d), 12, 7, "usage.voice", seconds=3) for d in (28, 29, 30)
    ]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"days_silent": 4}, [told(date(2013, 6, 26), 12, 7, "usage.voice", seconds=0)]),
        ({"days_silent": 29}, [told(date(2013, 6, 1), 12, 7, "usage.voice", seconds=0)]),
        ({"days_silent": 30}, []),
        ({"days_silent": 1276}, []),
        # Usage in spite of an earlier last activity is not lost.
        ({"days_silent": 1276, "sms_out": 2}, [told(date(2013, 6, 1), 12, 7, "usage.sms", count=2)]),
        ({"days_silent": 36, "data_mb": 1.5}, [told(date(2013, 6, 1), 12, 7, "usage.data", bytes=1_500_000)]),
        # A refund is spread as its amount would be.
        (
            {"spend": -0.05, "days_silent": 28},
            [
                told(date(2013, 6, 1), 12, 7, "charge", amount_minor=-2, kind="refund"),
                told(date(2013, 6, 2), 12, 7, "charge", amount_minor=-3, kind="refund"),
            ],
        ),
        (
            {"reload_sum": -7.0, "days_since_reload": 20, "days_silent": 99},
            [told(date(2013, 6, 10), 12, 7, "recharge", amount_minor=-700)],
        ),
        ({"reload_sum": 7.0, "days_since_reload": 30, "days_silent": 99}, []),
        ({"reload_sum": 0.0, "days_since_reload": 3, "days_silent": 99}, []),
    ],
)
def test_the_corners_of_a_month(prepaid: Mapping, row: dict[str, Any], expected: list[Told]) -> None:
    assert usage(prepaid, **row) == expected


def test_who_was_there_before_is_told_at_the_first_month_and_only_then(prepaid: Mapping) -> None:
    rows = [MONTH | {"month": m, "lifetime_days": 400 + 31 * (m == 7)} for m in (7, 6)]
    first = [event for event in tell(prepaid, rows) if event[0].endswith("T00:00:00Z")]
    assert [event[2] for event in first] == [*["subscriber.profile"] * 2, *["consent.changed"] * 3]
    assert {event[0] for event in first} == {"2013-06-01T00:00:00Z"}


def test_an_unknown_lifetime_tells_no_activation(prepaid: Mapping) -> None:
    told_of = [event[3] for event in tell(prepaid, [MONTH | {"lifetime_days": 15885}]) if "profile" in event[2]]
    assert told_of == [(("fee_minor", 0), ("plan", "prepaid"))]


def test_months_of_december_and_february_end_where_they_do(prepaid: Mapping) -> None:
    rows = [MONTH | {"year": y, "month": m} for y, m in ((2023, 12), (2024, 2), (2023, 2))]
    calls = [event[0][:10] for event in tell(prepaid, rows) if event[2] == "usage.voice"]
    assert calls == ["2023-02-28", "2023-12-31", "2024-02-29"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"month": 13}, "month is not between 1 and 12"),
        ({"sms_out": -1}, "usage is negative"),
        ({"days_silent": -1}, "a number of days is negative"),
        ({"spend": None}, "there is no spend"),
    ],
)
def test_a_bad_row_is_rejected_with_its_reason_and_its_neighbours_are_told(
    prepaid: Mapping, change: dict[str, Any], reason: str
) -> None:
    made = expand(prepaid, pl.DataFrame([MONTH, MONTH | {"id": 8} | change, MONTH | {"id": 9}]))
    assert made.rejects.rows() == [(1, reason)]
    assert set(made.events["subscriber_id"]) == {"7", "9"}


def test_a_value_that_nothing_can_be_made_of_costs_only_its_row(prepaid: Mapping) -> None:
    rows = [MONTH | {"id": n, "out_minutes": float("nan") if n == 5 else 1.0} for n in range(9)]
    made = expand(prepaid, pl.DataFrame(rows))
    assert made.rejects["row"].to_list() == [5]
    assert set(made.events["subscriber_id"]) == {str(n) for n in range(9) if n != 5}


def test_a_day_of_calls_is_one_call(postpaid: Mapping) -> None:
    day = date(2018, 3, 2)
    row = {
        "user_id": 1, "tariff": "surf", "reg_date": date(2018, 1, 1), "churn_date": day, "date": day,
        "calls": 3, "minutes": 7.31, "sessions": 2, "mb": 0.0, "sms": 0,
    }  # fmt: skip
    events = [event for event in tell(postpaid, [row]) if event[2] != "subscriber.profile"]
    assert events == [
        told(day, 12, 1, "usage.voice", seconds=439),
        told(day, 12, 1, "usage.data", bytes=0),
        told(day, 12, 1, "subscriber.status", status="cancelled"),
    ]
