"""How long a rule waits, what it withholds, whom it is about, and what its parameters are for whom."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pytest

from service.core.rules import Rule, Rulebook
from service.rulebook.loading import check, default_folder, load
from tests.rulebook.folders import ON_RULE, RULE, SIGNALS, make_folder

WHEN = "when: spend_30d_drop >= :drop"
LEAST = "{default: 0.3, overrides: [{market: campus, value: 0.6}, {area: Anxi, status: normal, value: 0.2}]}"


def loaded(where: Path, *more: str, rule: str = RULE) -> Rule:
    (made,) = load(make_folder(where, {"drops/spend_drop.yaml": rule + "\n".join(more)}), SIGNALS).rules
    return made


def problems_of(where: Path, files: Mapping[str, str]) -> list[str]:
    _, problems = check(make_folder(where, files), SIGNALS)
    return [str(problem) for problem in problems]


def test_a_rule_waits_lingers_and_is_capped(tmp_path: Path) -> None:
    rule = loaded(tmp_path, "for: 3d", "keep_for: 7d", "cool_down: 30d", "most_per_day: 500")
    assert (rule.for_days, rule.keep_for_days, rule.cool_down_days, rule.most_per_day) == (3, 7, 30, 500)


def test_without_them_a_rule_is_raised_at_once_and_ends_when_it_clears(tmp_path: Path) -> None:
    rule = loaded(tmp_path)
    assert (rule.for_days, rule.keep_for_days, rule.cool_down_days, rule.most_per_day) == (1, None, 0, None)
    assert rule.inhibits == frozenset()


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("for: 3", "for: expected a number of days like 14d, found 3"),
        ("cool_down: 0d", "cool_down: expected a number of days like 14d, found 0d"),
        ("most_per_day: 0", "most_per_day: expected a whole number from 1, found 0"),
        ("inhibits: []", "inhibits: expected a list with something in it, found a list"),
        ("scope: markt = 'campus'", "scope: unknown signal markt; did you mean market?"),
        ("scope: days_silent", "scope: the expression is a number, expected a boolean"),
    ],
)
def test_what_they_cannot_be(tmp_path: Path, line: str, fault: str) -> None:
    lines = RULE.count("\n") + 1
    assert [one for one in problems_of(tmp_path, {"a/b.yaml": RULE + line}) if fault in one] == [
        f"a/b.yaml:{lines}: {fault}"
    ]


def test_who_is_out_of_scope_never_meets_the_rule(tmp_path: Path) -> None:
    rule = loaded(tmp_path, "scope: market = 'campus' OR area = 'Anxi'")
    told = pl.DataFrame(
        {
            "spend_30d_drop": [0.5, 0.5, 0.5, 0.1, None],
            "market": ["campus", "public", None, "campus", "campus"],
            "area": [None, "Anxi", None, "Anxi", None],
        }
    )
    assert told.select(it=rule.when)["it"].to_list() == [True, True, None, False, None]
    assert (rule.source["scope"], rule.source["when"]) == (
        "market = 'campus' OR area = 'Anxi'",
        "spend_30d_drop >= :drop",
    )
    assert {"market", "area"} <= rule.names


FAMILIES = {
    "drops/spend.yaml": RULE,
    "drops/voice.yaml": RULE,
    "silence/quiet.yaml": RULE,
    "moves/left.yaml": ON_RULE.replace(WHEN, "when: event.used > :drop"),
}


def inhibiting(**lines: str) -> dict[str, str]:
    """The families' rules, of which some inhibit others."""
    named = {file: lines.get(Path(file).stem) for file in FAMILIES}
    return {file: text + (f"inhibits: {named[file]}\n" if named[file] else "") for file, text in FAMILIES.items()}


def inhibited(rulebook: Rulebook) -> dict[str, frozenset[str]]:
    return {rule.id: rule.inhibits for rule in rulebook.rules if rule.inhibits}


def test_rules_are_inhibited_by_id_and_by_family_but_never_by_themselves(tmp_path: Path) -> None:
    rulebook = load(make_folder(tmp_path, inhibiting(left="[drops, quiet]", spend="[drops]")), SIGNALS)
    assert inhibited(rulebook) == {"left": {"spend", "voice", "quiet"}, "spend": {"voice"}}


def test_a_name_that_is_no_rule_or_the_rule_itself_is_a_fault(tmp_path: Path) -> None:
    told = problems_of(tmp_path, inhibiting(left="[dropps]", spend="[spend, quite]"))
    drops, moves = RULE.count("\n") + 1, ON_RULE.count("\n") + 1
    assert told == [
        f"drops/spend.yaml:{drops}: inhibits.0: spend is this rule itself; expected others",
        f"drops/spend.yaml:{drops}: inhibits.1: quite is neither a rule nor a family; did you mean quiet?",
        f"moves/left.yaml:{moves}: inhibits.0: dropps is neither a rule nor a family; did you mean drops?",
    ]


def test_inhibition_that_comes_back_to_where_it_began_is_told_at_each_of_its_rules(tmp_path: Path) -> None:
    told = problems_of(tmp_path, inhibiting(left="[drops]", spend="[quiet]", quiet="[left]"))
    circle = (
        "inhibits: left inhibits spend inhibits quiet inhibits left; expected that none comes back to where it began"
    )
    assert told == [
        f"drops/spend.yaml:{RULE.count(chr(10)) + 1}: {circle}",
        f"moves/left.yaml:{ON_RULE.count(chr(10)) + 1}: {circle}",
        f"silence/quiet.yaml:{RULE.count(chr(10)) + 1}: {circle}",
    ]


def test_a_circle_is_told_beside_what_else_is_wrong_with_its_rules(tmp_path: Path) -> None:
    files = inhibiting(spend="[quiet]", quiet="[spend]")
    files["drops/spend.yaml"] = files["drops/spend.yaml"].replace("kind: risk", "kind: risky")
    told = problems_of(tmp_path, files)
    assert len([one for one in told if "quiet inhibits spend inhibits quiet" in one]) == 2
    assert len(told) == 3


def test_a_rule_that_is_no_yaml_is_still_a_rule_to_others(tmp_path: Path) -> None:
    (told,) = problems_of(tmp_path, {**inhibiting(spend="[quiet]"), "silence/quiet.yaml": "params: {drop: 0.3"})
    assert told.startswith("silence/quiet.yaml:1: not YAML")


def test_a_parameter_may_differ_by_market_tier_or_area(tmp_path: Path) -> None:
    rule = loaded(tmp_path, rule=RULE.replace("{drop: 0.3}", f"{{drop: {LEAST}}}"))
    told = pl.DataFrame(
        {
            "spend_30d_drop": [0.25, 0.3, 0.5, 0.6, 0.25, 0.19, 0.25],
            "market": ["public", "public", "campus", "campus", None, None, None],
            "area": [None, None, "Anxi", "Anxi", "Anxi", "Anxi", "Anxi"],
            "status": ["normal"] * 6 + ["cancelled"],
        }
    )
    assert told.select(it=rule.when)["it"].to_list() == [False, True, False, True, True, False, False]
    assert {"market", "area", "status"} <= rule.names
    assert rule.numbers == ("spend_30d_drop", "days_silent"), "what decides on a threshold is no evidence"
    assert rule.params == {"drop": 0.3}
    assert rule.source["params.drop"] == (
        "CASE WHEN market = 'campus' THEN 0.6 WHEN area = 'Anxi' AND status = 'normal' THEN 0.2 ELSE 0.3 END"
    )


def test_overrides_of_numbers_texts_and_shared_parameters(tmp_path: Path) -> None:
    files = {
        "params.yaml": "calm: {default: 7, overrides: [{bundles: 2, value: 9.5}]}\n"
        "mood: {default: normal, overrides: [{market: campus, value: cancelled}]}",
        "a/b.yaml": RULE.replace(WHEN, "when: days_silent > -:calm + 2 * :calm AND status = :mood").replace(
            "params: {drop: 0.3}\n", ""
        ),
    }
    (rule,) = load(make_folder(tmp_path, files), SIGNALS).rules
    told = pl.DataFrame(
        {
            "days_silent": [8, 8, 10, 8],
            "bundles": [1, 2, 2, None],
            "market": ["campus", None, None, None],
            "status": ["cancelled", "normal", "normal", "cancelled"],
        },
        schema_overrides={"days_silent": pl.Int32},
    )
    assert told.select(it=rule.when)["it"].to_list() == [True, False, True, False]


@pytest.mark.parametrize(
    ("override", "faults"),
    [
        ("{markt: x, value: 1}", ["params.drop.overrides.0.markt: unknown signal markt; did you mean market?"]),
        ("{market: 3, value: 1}", ["params.drop.overrides.0.market: market is a text, 3 is none"]),
        ("{bundles: two, value: 1}", ["params.drop.overrides.0.bundles: bundles is a number, 'two' is none"]),
        (
            "{status: nromal, value: 1}",
            ["params.drop.overrides.0.status: status is never 'nromal'; did you mean normal?"],
        ),
        (
            "{key_person: true, value: 1}",
            ["params.drop.overrides.0.key_person: key_person is a boolean, expected a signal that is a text or a"],
        ),
        ("{market: x, value: much}", ["params.drop.overrides.0.value: 'much' is no number, which the default is"]),
        ("{market: x}", ["params.drop.overrides.0: value is missing"]),
        (
            "{value: 1}",
            ["params.drop.overrides.0: expected signals with the values they must have, like market: campus"],
        ),
        (
            "{market: [x], value: 1}",
            ["params.drop.overrides.0.market: expected a number, a text, true or false, found a"],
        ),
    ],
)
def test_an_override_that_never_is_met_is_a_fault(tmp_path: Path, override: str, faults: list[str]) -> None:
    text = RULE.replace("{drop: 0.3}", f"{{drop: {{default: 0.3, overrides: [{override}]}}}}")
    told = problems_of(tmp_path, {"a/b.yaml": text})
    assert len(told) == len(faults)
    assert all(one.startswith(f"a/b.yaml:5: {fault}") for one, fault in zip(told, faults, strict=True)), told


def test_an_override_of_a_closed_set_stays_in_it(tmp_path: Path) -> None:
    mood = "{drop: 0.3, mood: {default: normal, overrides: [{market: x, value: nromal}]}}"
    text = RULE.replace("{drop: 0.3}", mood).replace(WHEN, f"{WHEN} AND status = :mood")
    assert problems_of(tmp_path, {"a/b.yaml": text}) == [
        "a/b.yaml:6: when: status is never 'nromal'; did you mean normal?"
    ]


def test_a_sentence_cannot_name_what_differs_by_subscriber(tmp_path: Path) -> None:
    text = RULE.replace("{drop: 0.3}", f"{{drop: {LEAST}}}").replace(
        "fell by {spend_30d_drop:percent}", "fell by {drop:percent}"
    )
    assert problems_of(tmp_path, {"a/b.yaml": text}) == [
        "a/b.yaml:14: why.en: drop differs by subscriber; name a signal instead"
    ]


def test_suspension_inhibits_whatever_less_usage_looks_like_as_shipped() -> None:
    rulebook = load(default_folder(), SIGNALS)
    less = {rule.id for rule in rulebook.rules if rule.family in ("drops", "silence", "levels")}
    assert inhibited(rulebook)["suspended"] == less
