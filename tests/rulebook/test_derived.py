"""Signals of the rulebook's own are made of the catalogue's, and rules name them like any other."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pytest

from service.core.rules import Rulebook
from service.rulebook.loading import check, default_folder, load
from tests.rulebook.folders import RULE, SIGNALS, make_folder

WHEN = "when: spend_30d_drop >= :drop"
FRAME = pl.DataFrame(
    {
        "days_silent": [0, 10, 2_000_000_000, None],
        "outgoing_30d_baseline": [30.0, 0.0, 3.0, None],
        "spend_30d_drop": [0.5, 0.5, 0.1, None],
        "status": ["normal", "cancelled", "normal", None],
    },
    schema_overrides={"days_silent": pl.Int32},
)


def signal(expression: str, unit: str = "days") -> str:
    return f"unit: {unit}\nmeaning: as it says\nexpression: {expression}\n"


def loaded(where: Path, signals: Mapping[str, str], rule: str) -> Rulebook:
    files = {f"signals/{name}.yaml": signal(expression) for name, expression in signals.items()}
    return load(make_folder(where, {**files, "a/b.yaml": rule}), SIGNALS)


def problems_of(where: Path, files: Mapping[str, str]) -> list[str]:
    rulebook, problems = check(make_folder(where, {"a/b.yaml": RULE, **files}), SIGNALS)
    assert (rulebook is None) == bool(problems)
    return [str(problem) for problem in problems]


def test_a_derived_signal_is_its_expression_over_the_catalogue(tmp_path: Path) -> None:
    rulebook = loaded(tmp_path, {"gap": "30 / outgoing_30d_baseline"}, RULE)
    gap = rulebook.derived["gap"]
    assert (gap.unit, gap.meaning) == ("days", "as it says")
    assert gap.names == {"outgoing_30d_baseline"}
    assert gap.dtype == pl.Float64()
    assert FRAME.select(it=gap.expression)["it"].to_list() == [1.0, None, 10.0, None]


def test_rules_judge_by_what_it_is_made_of(tmp_path: Path) -> None:
    signals = {"gap": "30 / outgoing_30d_baseline", "gaps": "days_silent / gap", "away": "gaps > 3"}
    rule = RULE.replace(WHEN, "when: spend_30d_drop >= :drop OR away AND gap > 2")
    (made,) = loaded(tmp_path, signals, rule).rules
    assert FRAME.select(it=made.when)["it"].to_list() == [True, True, True, None]
    assert {"days_silent", "outgoing_30d_baseline"} <= made.names
    assert set(made.when.meta.root_names()) == {"days_silent", "outgoing_30d_baseline", "spend_30d_drop"}


def test_what_is_shown_is_named_and_what_it_is_made_of_too(tmp_path: Path) -> None:
    signals = {"gap": "30 / outgoing_30d_baseline"}
    rule = RULE.replace("{spend_30d_drop:percent}.", "{gap:days}.")
    (made,) = loaded(tmp_path, signals, rule).rules
    assert {"gap", "outgoing_30d_baseline"} <= made.names
    assert made.numbers == ("spend_30d_drop", "days_silent", "gap")
    rulebook = loaded(
        tmp_path / "unseen", signals, f"{RULE.replace(WHEN, 'when: gap > :drop')}numbers: [days_silent]\n"
    )
    assert not {"gap"} & rulebook.rules[0].names


def test_whole_numbers_do_not_wrap_around(tmp_path: Path) -> None:
    (made,) = loaded(tmp_path, {"idle": "COALESCE(days_silent, 0)"}, RULE.replace(WHEN, "when: idle * 3 > :drop")).rules
    assert FRAME.select(it=made.when)["it"].to_list() == [False, True, True, False]


def test_lists_and_overrides_name_them_too(tmp_path: Path) -> None:
    files = {
        "signals/band.yaml": signal("CASE WHEN days_silent > 5 THEN 2 ELSE 1 END", "rank"),
        "a/b.yaml": RULE.replace("{drop: 0.3}", "{drop: {default: 0.3, overrides: [{band: 2, value: 0.6}]}}"),
        "lists/idle.yaml": "{title: {en: Idle, zh: 闲置}, when: band = 2, numbers: [band]}",
        "params.yaml": "{far: 5}",
    }
    rulebook = load(make_folder(tmp_path, files), SIGNALS)
    assert FRAME.select(it=rulebook.rules[0].when)["it"].to_list() == [True, False, False, None]
    assert rulebook.rolls[0].names == {"band", "days_silent"}
    assert FRAME.select(it=rulebook.rolls[0].when)["it"].to_list() == [False, True, True, False]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (
            {"signals/gap.yaml": "unit: days\nmeaning: x\nexpression: 30 / outgoin_30d\n"},
            ["signals/gap.yaml:3: expression: unknown signal outgoin_30d; did you mean outgoing_30d?"],
        ),
        (
            {"signals/days_silent.yaml": signal("1")},
            ["signals/days_silent.yaml: days_silent is a signal of the catalogue; give it another name"],
        ),
        ({"signals/Gap.yaml": signal("1")}, ["signals/Gap.yaml: a signal's file is its name: use a-z, 0-9 and _ only"]),
        (
            {"signals/gap.yaml": "unit: days\nexpression: '1'\n"},
            ["signals/gap.yaml:1: meaning is missing: what it says"],
        ),
        (
            {"signals/gap.yaml": signal("gap + 1")},
            ["signals/gap.yaml:3: expression: gap is made of gap, which is made of it again"],
        ),
        (
            {
                "signals/one.yaml": signal("two + 1"),
                "signals/two.yaml": signal("COALESCE(one, days_silent)"),
                "signals/three.yaml": signal("two * 2"),
            },
            [
                "signals/one.yaml:3: expression: one is made of two, which is made of it again",
                "signals/two.yaml:3: expression: two is made of one, which is made of it again",
            ],
        ),
        (
            {
                "signals/gap.yaml": signal("spent"),
                "signals/gaps.yaml": signal("gap + 1"),
                "a/b.yaml": RULE.replace(WHEN, "when: gaps > :drop").replace("{spend_30d_drop:percent}", "{gap:days}"),
            },
            ["signals/gap.yaml:3: expression: unknown signal spent"],
        ),
    ],
    ids=["typo", "taken", "name", "missing", "itself", "circle", "broken"],
)
def test_every_fault_is_told_once_and_where_it_is(tmp_path: Path, files: dict[str, str], told: list[str]) -> None:
    found = problems_of(tmp_path, files)
    assert len(found) == len(told)
    assert all(one.startswith(start) for one, start in zip(found, told, strict=True)), found


def test_the_shipped_ones_measure_silence_by_ones_own_gaps() -> None:
    derived = load(default_folder(), SIGNALS).derived
    told = pl.DataFrame(
        {"days_silent": [18, 18, 4, 9], "active_days_30d": [2, 0, 8, 1], "days_known": [400, 400, 19, 12]}
    )
    made = told.select(derived[name].expression.alias(name) for name in ("own_gap_days", "silent_gaps"))
    # Twelve days and two of use before the silence; none; of 20 known days 16 and eight of use; too few known.
    assert made["own_gap_days"].to_list() == [6.0, None, 2.0, None]
    assert made["silent_gaps"].to_list() == [3.0, None, 2.0, None]
