"""An explanation says of each condition whether it is true, its values, and by how much a number is missing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from service.core.state import Config, State, new_state
from service.core.step import close_through, step
from service.history.explain import Answer, Explanation, explain
from service.rulebook.loading import default_folder, load
from tests.core.streams import Event, batch_of, day_of
from tests.rulebook.folders import RULE, SIGNALS, make_folder

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
RULEBOOK = load(default_folder(), SIGNALS)
DAYS = 120


@pytest.fixture(scope="module")
def state() -> State:
    """A talker who fell to a tenth, one who fell by a third, of another market."""
    made = new_state(Config())
    made.judged = True
    events = [Event("p", "ben", "subscriber.profile", START, {"market": "public"})]
    for day in range(DAYS):
        for who, less in (("anna", 60), ("ben", 420)):
            seconds = 600 if day < 90 else less
            events.append(Event(f"{who}{day}", who, "usage.voice", START + timedelta(days=day), {"seconds": seconds}))
    step(made, RULEBOOK, batch_of(events))
    last = day_of(START + timedelta(days=DAYS - 1), "UTC")
    close_through(made, RULEBOOK, (last - datetime(1970, 1, 1, tzinfo=UTC).date()).days, "clock")
    return made


def told(state: State, who: str, rule: str, rulebook: Any = RULEBOOK) -> Explanation:
    (found,) = (one for one in explain(state, rulebook, state.roster.number(who)) if one.rule == rule)
    return found


def parts(explanation: Explanation) -> list[tuple[str, bool | None, str]]:
    def lines(answer: Answer) -> list[Answer]:
        return [line for part in answer.parts for line in lines(part)] if answer.parts else [answer]

    return [(one.text, one.is_true, one.missing) for one in lines(explanation.when)]


def test_who_is_warned_meets_every_condition(state: State) -> None:
    found = told(state, "anna", "voice_drop")
    assert found.holds is True
    assert [is_true for _, is_true, _ in parts(found)] == [True] * len(parts(found))
    assert found.warning is not None
    assert (found.warning.severity, found.warning.suppressed_by) == ("notice", None)


def test_what_is_missing_is_told_by_how_much(state: State) -> None:
    found = told(state, "ben", "voice_drop")
    assert found.holds is False
    assert found.warning is None
    assert ("voice_30d_drop_vs_cohort >= :drop", False, "0.1 short") in parts(found)
    drop = next(one for one in found.when.parts if one.text == "voice_30d_drop_vs_cohort >= :drop")
    assert drop.values == {"voice_30d_drop_vs_cohort": pytest.approx(0.3), ":drop": 0.4}


def test_what_is_not_known_is_told_with_the_reason(state: State) -> None:
    found = told(state, "ben", "bill_drop")
    assert found.holds is None
    assert ("bill_baseline >= :least_baseline_minor", None) in [one[:2] for one in parts(found)]
    assert any(
        missing == "bill_baseline is not known: fewer than three bills are known" for *_, missing in parts(found)
    )


def test_what_reads_a_record_waits_for_one(state: State) -> None:
    found = told(state, "ben", "cancelled")
    assert found.on == ("subscriber.status",)
    assert parts(found)[0] == ("event.status = 'cancelled'", None, "asked of the record that arrives")
    assert parts(found)[1][:2] == ("status <> 'cancelled'", True)


def test_parts_of_an_or_and_bounds_on_both_sides(state: State, tmp_path: Path) -> None:
    when = "(voice_30d BETWEEN 500 AND 900 OR sms_30d > 0) AND (voice_30d < 20 OR market = 'public')"
    rule = RULE.replace("when: spend_30d_drop >= :drop", f"when: {when}").replace("params: {drop: 0.3}\n", "")
    rulebook = load(make_folder(tmp_path, {"drops/some.yaml": rule}), SIGNALS)
    found = told(state, "ben", "some", rulebook)
    assert [(one.joined, one.is_true) for one in found.when.parts] == [("or", False), ("or", True)]
    assert parts(found) == [
        ("voice_30d BETWEEN 500 AND 900", False, "290 short"),
        ("sms_30d > 0", False, "not above it"),
        ("voice_30d < 20", False, "190 over"),
        ("market = 'public'", True, ""),
    ]
    high = told(state, "anna", "some", replace(rulebook, rules=rulebook.rules))
    assert parts(high)[0][2] == "470 short"


def test_a_parameter_is_the_subscribers_own_and_a_scope_is_a_condition(state: State, tmp_path: Path) -> None:
    rule = RULE.replace(
        "params: {drop: 0.3}",
        "params: {drop: {default: 0.3, overrides: [{market: public, value: 0.2}]}}\nscope: days_silent < 40",
    ).replace("when: spend_30d_drop", "when: voice_30d_drop")
    rulebook = load(make_folder(tmp_path, {"drops/some.yaml": rule}), SIGNALS)
    found = told(state, "ben", "some", rulebook)
    assert found.holds is True
    assert [one.values.get(":drop") for one in found.when.parts] == [None, 0.2]
    assert [one.values.get(":drop") for one in told(state, "anna", "some", rulebook).when.parts] == [None, 0.3]
    plain = found.plain()
    assert [part["condition"] for part in plain["when"]["parts"]] == [
        "days_silent < 40",
        "voice_30d_drop >= :drop",
    ]
