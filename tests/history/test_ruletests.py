"""Tests of rules are run by the core, say what differs, and all that is wrong with them is told by line."""

from pathlib import Path

import pytest

from service.core.state import Config
from service.history.ruletests import SHOWN, lives, try_cases
from service.rulebook.cases import STARTS, read_cases
from service.rulebook.loading import default_folder, load
from service.rulebook.problems import RulebookError
from tests.rulebook.folders import SIGNALS, make_folder

RULEBOOK = load(default_folder(), SIGNALS)
IDS = [rule.id for rule in RULEBOOK.rules]
SUSPENDED = """\
    tests:
      - name: Suspended
        rules: [suspended]
        subscribers:
          anna:
            consent: [sms]
            events:
              - 0d usage.sms count=1 x30 every 1d
              - 10d subscriber.status status=suspended_one_way
        expect:
          - {at: 12d, open: []}
          - at: 13d
            open: [{rule: suspended, severity: notice, orders: [sms]}]
    """


def file_of(where: Path, text: str) -> Path:
    make_folder(where, {"some.yaml": text})
    return where / "some.yaml"


def failures(where: Path, text: str) -> list[str]:
    return [str(one) for one in try_cases(read_cases([file_of(where, text)], IDS), RULEBOOK, Config()).failures]


def problems(where: Path, text: str) -> list[tuple[int, str]]:
    with pytest.raises(RulebookError) as error:
        try_cases(read_cases([file_of(where, text)], IDS), RULEBOOK, Config())
    assert {problem.file for problem in error.value.problems} == {str(where / "some.yaml")}
    return [(problem.line, problem.message) for problem in error.value.problems]


def test_every_shipped_rule_fires_stays_away_and_clears_in_a_shipped_test() -> None:
    cases = read_cases(sorted((default_folder() / "tests").glob("*.yaml")), IDS)
    tried = try_cases(cases, RULEBOOK, Config())
    assert [str(failure) for failure in tried.failures] == []
    assert tried.lacking(RULEBOOK) == {}


def test_a_rule_without_its_three_is_named(tmp_path: Path) -> None:
    tried = try_cases(read_cases([file_of(tmp_path, SUSPENDED)], IDS), RULEBOOK, Config())
    assert tried.failures == []
    lacking = tried.lacking(RULEBOOK)
    assert lacking["suspended"] == ["clears", "stays"]
    assert lacking["spend_drop"] == sorted(SHOWN)


@pytest.mark.parametrize(
    ("old", "new", "expected", "got"),
    [
        ("severity: notice", "severity: critical", "suspended critical orders [sms]", "suspended notice orders [sms]"),
        ("orders: [sms]", "orders: []", "suspended notice orders []", "suspended notice orders [sms]"),
        ("orders: [sms]", "withheld: {sms: x}", "suspended notice withheld {sms: x}", "suspended notice withheld {}"),
        (
            "orders: [sms]",
            "why: Gone.",
            "suspended notice because 'Gone.'",
            "suspended notice because 'Service has been suspended for 3 days; 0.00 CNY a year are at risk.'",
        ),
        ("consent: [sms]", "vip_level: gold", "suspended notice orders [sms]", "suspended notice orders []"),
        ("open: [{rule: suspended, severity: notice, orders: [sms]}]", "open: []", "nothing", "suspended notice"),
        ("10d subscriber.status", "11d subscriber.status", "suspended notice orders [sms]", "nothing"),
    ],
)  # fmt: skip
def test_what_differs_is_told_beside_what_was_expected(
    tmp_path: Path, old: str, new: str, expected: str, got: str
) -> None:
    (said,) = failures(tmp_path, SUSPENDED.replace(old, new))
    assert said.splitlines() == [
        f"{tmp_path / 'some.yaml'}:12: Suspended",
        "  anna at 13d (2026-01-14)",
        f"    expected: {expected}",
        f"    got:      {got}",
    ]


def test_a_series_repeats_in_its_step_and_offsets_may_have_hours(tmp_path: Path) -> None:
    text = SUSPENDED.replace("0d usage.sms count=1 x30 every 1d", "0d6h usage.sms count=1 x60 every 12h")
    assert failures(tmp_path, text) == []
    (case,) = read_cases([file_of(tmp_path, text)], IDS)
    (line, status) = case.people[0].series
    assert (line.first_h, line.times, line.step_h, line.fields) == (6, 60, 12, {"count": 1})
    assert (status.first_h, case.starts, case.line) == (252, STARTS, 2)


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("name: Suspended", "nmae: Suspended", 2, "tests.0: unknown key nmae; did you mean name?"),
        ("rules: [suspended]", "rules: [suspend]", 3, "there is no rule suspend; did you mean suspended?"),
        ("usage.sms", "usage.sns", 8, "there is no event type usage.sns; did you mean usage.sms?"),
        ("count=1", "cuont=1", 8, "usage.sms has no field cuont; did you mean count?"),
        ("count=1", "count=few", 8, "count: expected a whole number, found few"),
        ("count=1", "count=-1", 8, "usage.sms: Expected `int` >= 0 - at `$.count`"),
        ("usage.sms count=1", "usage.sms", 8, "usage.sms: Object missing required field `count`"),
        ("every 1d", "every day", 8, "every day: expected a step like 1d or 6h"),
        ("x30 every 1d", "30 times", 8, "30 times: expected <field>=<value> ..., then x<times>, then every <step>"),
        ("0d usage", "noon usage", 8, "noon is no time, expected a day of the test like 0d"),
        ("status=suspended_one_way", "status=suspended", 9, "status: suspended is unknown, expected normal | "),
        ("[sms]\n", "[smd]\n", 6, "tests.0.subscribers.anna.consent.0: smd is unknown, expected call"),
        ("{at: 12d, open: []}", "{at: noon, open: []}", 11, "tests.0.expect.0.at: expected a day of the test"),
        ("{rule: suspended,", "{rule: suspended, subscriber: ann,", 13, "there is no subscriber ann; did you mean"),
        ("{rule: suspended,", "{rule: spend_drop,", 13, "spend_drop is not among the rules of this test: suspended"),
        ("severity: notice", "severity: notise", 13, "tests.0.expect.1.open.0.severity: notise is unknown"),
        ("name: Suspended", "name: {", 4, "not YAML: "),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_test_is_told_by_line(tmp_path: Path, old: str, new: str, line: int, said: str) -> None:
    told = problems(tmp_path, SUSPENDED.replace(old, new, 1))
    assert [(at, message[: len(said)]) for at, message in told if message.startswith(said)] == [(line, said)], told


def test_tests_live_together_while_they_are_few(tmp_path: Path) -> None:
    crowd = "".join(f"      s{n}: {{market: campus}}\n" for n in range(60))
    few = "      anna: {market: campus}\n"
    texts = [
        f"  - name: Some\n    subscribers:\n{who}    expect: [{{at: 1d, open: []}}]\n" for who in (crowd, crowd, few)
    ]
    cases = read_cases([file_of(tmp_path, "tests:\n" + "".join(texts))], IDS)
    assert [len(life.cases) for life in lives(cases)] == [1, 2]
