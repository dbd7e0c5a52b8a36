"""A rule cannot compare with a value that a signal or a field never has, nor name a window that is not kept."""

from pathlib import Path

import pytest

from service.core.events import CLOSED
from service.rulebook.loading import check
from service.wire.schemas import events_schema
from tests.rulebook.folders import ON_RULE, RULE, SIGNALS, make_folder

WHEN = "spend_30d_drop >= :drop"


def problems_of(where: Path, text: str) -> list[str]:
    _, problems = check(make_folder(where, {"a/b.yaml": text}), SIGNALS)
    return [problem.message for problem in problems]


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ("status = 'nromal'", "status is never 'nromal'; did you mean normal?"),
        ("'nromal' <> status", "status is never 'nromal'; did you mean normal?"),
        ("status NOT IN ('cancelled', 'canceld')", "status is never 'canceld'; did you mean cancelled?"),
        ("porting = 'x'", "porting is never 'x'; expected none | queried | code_issued | requested | ported"),
        ("unlinked_reason = 'laps'", "unlinked_reason is never 'laps'; did you mean lapsed?"),
        ("device_generation = '6g'", "device_generation is never '6g'; expected 2g | 3g | 4g | 5g"),
        ("status = :mood", "status is never 'sad'"),
    ],
)
def test_a_value_outside_the_set_is_a_fault(tmp_path: Path, said: str, fault: str) -> None:
    text = RULE.replace(WHEN, f"{WHEN} AND {said}").replace("{drop: 0.3}", "{drop: 0.3, mood: sad}")
    [told] = [one for one in problems_of(tmp_path, text) if not one.startswith("params.mood")]
    assert told.startswith(f"when: {fault}")


def test_values_of_the_set_open_texts_and_patterns_pass(tmp_path: Path) -> None:
    said = "status = 'normal' AND status IN ('normal', 'cancelled') AND market = 'anything' AND status LIKE 'susp%'"
    assert problems_of(tmp_path, RULE.replace(WHEN, f"{WHEN} AND COALESCE(porting, 'none') = 'none' AND {said}")) == []


def test_an_order_cannot_wait_for_a_severity_that_there_is_not(tmp_path: Path) -> None:
    told = problems_of(tmp_path, RULE.replace("severity <> 'notice'", "severity <> 'notce'"))
    assert told == ["orders.0.when: severity is never 'notce'; did you mean notice?"]


def test_fields_of_a_record_have_their_sets_too(tmp_path: Path) -> None:
    told = problems_of(tmp_path, ON_RULE.replace(WHEN, f"{WHEN} AND event.measure = 'dta'"))
    assert told == ["when: event.measure is never 'dta'; did you mean data?"]


def test_a_field_that_two_types_have_is_closed_only_where_both_agree(tmp_path: Path) -> None:
    text = ON_RULE.replace("[quota, recharge]", "[charge, bundle.linked]")
    assert problems_of(tmp_path, text.replace(WHEN, f"{WHEN} AND event.kind = 'device'")) == []


def test_the_sets_of_fields_are_those_of_the_contract() -> None:
    told = {}
    for shape in events_schema()["$defs"].values():
        [event_type] = shape["properties"]["type"]["enum"]
        for name, field in shape["properties"].items():
            values = [one for part in field.get("anyOf", [field]) for one in part.get("enum", [])]
            if values and name != "type":
                told[event_type, name] = sorted(value for value in values if value is not None)
    assert told == {place: sorted(among) for place, among in CLOSED.items()}


def test_a_window_that_is_not_kept_is_a_fault(tmp_path: Path) -> None:
    told = problems_of(tmp_path, RULE.replace("window: 30d", "window: 31d"))
    assert told == ["window: none is of 31 days, expected 1d | 7d | 14d | 30d | 60d | 90d (CHURN_TIME__WINDOWS_DAYS)"]
