"""A threshold that nobody can meet, or everybody does, is told; those that some meet are taken."""

from pathlib import Path

import polars as pl
import pytest

from service.rulebook.language import LanguageError, Vocabulary, compile_expression
from service.rulebook.loading import check
from service.rulebook.overrides import Overridden
from service.rulebook.thresholds import bounds_of
from tests.rulebook.folders import RULE, SIGNALS, make_folder

WORDS = Vocabulary(
    {"fall": pl.Float64(), "days": pl.Int32(), "free": pl.Float64(), "count": pl.Int64(), "market": pl.String()},
    {"all": 1.5, "low": -1, "some": Overridden(0.3, (({"market": "campus"}, 1.2),))},
    bounds={"fall": (None, 1), "days": (0, None), "count": (1, 9)},
)

OTHER_SIDE = "clears while spend_30d_drop >= :drop holds; expected a threshold on its other side"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("fall >= 1.5", "fall >= 1.5 never holds: fall is at most 1"),
        ("1.5 <= fall", "1.5 <= fall never holds: fall is at most 1"),
        ("fall > 1", "fall > 1 never holds: fall is at most 1"),
        ("fall = 2", "fall = 2 never holds: fall is at most 1"),
        ("fall >= :all", "fall >= :all (:all = 1.5) never holds: fall is at most 1"),
        ("fall >= :some", "fall >= :some (:some = 0.3 | 1.2) never holds: fall is at most 1"),
        ("fall <= 1", "fall <= 1 always holds where fall is known: fall is at most 1"),
        ("days < 0", "days < 0 never holds: days is at least 0"),
        ("days < -:all * 2", "never holds: days is at least 0"),
        ("days >= 0", "days >= 0 always holds where days is known: days is at least 0"),
        ("NOT days >= :low", "always holds where days is known: days is at least 0"),
        ("days <> -3", "days <> -3 always holds where days is known: days is at least 0"),
        ("days = 1.5", "days = 1.5 never holds: days is at least 0"),
        ("days IN (1, -3)", "days IN (1, -3) never holds: days is at least 0"),
        ("count BETWEEN 0 AND 10", "always holds where count is known: count is at least 1 and at most 9"),
        ("count BETWEEN 10 AND 12", "never holds: count is at least 1 and at most 9"),
        ("free BETWEEN 5 AND 3", "free BETWEEN 5 AND 3 never holds; expected the lower bound first"),
        ("free NOT BETWEEN 5 AND 3", "free BETWEEN 5 AND 3 never holds; expected the lower bound first"),
        ("free > 5 AND free < 3", "free > 5 AND free < 3 can never hold together"),
        ("free > 5 AND (market = 'x' AND 5 > free)", "free > 5 AND 5 > free can never hold together"),
        ("free = 5 AND free = 6", "free = 5 AND free = 6 can never hold together"),
        ("days > 5 AND days < 6", "days > 5 AND days < 6 can never hold together"),
        ("market = 'x' OR NOT (free >= 5 AND free < 5)", "free >= 5 AND free < 5 can never hold together"),
        ("CASE WHEN days < 0 THEN true ELSE false END", "days < 0 never holds: days is at least 0"),
    ],
)
def test_what_cannot_be_is_refused(text: str, fault: str) -> None:
    with pytest.raises(LanguageError) as caught:
        compile_expression(text, WORDS)
    assert fault in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "fall >= 1",
        "fall < -3",
        "fall <> 1",
        "days > 0",
        "days <= 0",
        "days <> 0",
        "days IN (0, 3)",
        "days BETWEEN 0 AND 30",
        "days > 5 AND days <= 6",
        "free > 5 AND free < 5.5",
        "free > 5 OR free < 3",
        "free >= 5 AND free <= 5",
        "free > 5 AND days < 3",
        "free > days AND free < 0",
        "free <> 5 AND free = 5.5",
        "market = '5' AND market = '6'",
        "free / 0 > 1",
        "free > 1 / 0",
        "NOT (free > 5) AND free < 3",
    ],
)
def test_what_somebody_may_meet_is_taken(text: str) -> None:
    compile_expression(text, WORDS)


def test_bounds_come_from_the_units_of_signals() -> None:
    bounds = bounds_of(tuple(SIGNALS))
    assert {bounds[name] for name in ("spend_30d_drop", "bill_drop", "voice_7d_drop")} == {(None, 1)}
    assert {bounds[name] for name in ("days_silent", "data_30d", "active_days_30d", "bundles")} == {(0, None)}
    assert not bounds.keys() & {"spend_30d", "balance", "status", "market", "event.used", "hard_days_left"}
    assert bounds_of(("voice_30d_drop_last_year",)) == {"voice_30d_drop_last_year": (None, 1)}


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (
            "clear_when: spend_30d_drop < 0.2",
            "clear_when: spend_30d_drop < 0.4",
            f"7: clear_when: spend_30d_drop < 0.4 {OTHER_SIDE}",
        ),
        (
            "clear_when: spend_30d_drop < 0.2",
            "clear_when: market IS NULL OR spend_30d_drop <= 0.3",
            f"7: clear_when: spend_30d_drop <= 0.3 {OTHER_SIDE}",
        ),
        (
            "when: spend_30d_drop >= :drop\n",
            "when: spend_30d_drop >= :drop AND days_silent < 14\n",
            "10: severity.critical: beside when days_silent < 14 AND days_silent >= 14 can never hold together",
        ),
        (
            "when: spend_30d_drop >= :drop\n",
            "scope: spend_30d_drop < 0.1\nwhen: spend_30d_drop >= :drop\n",
            "6: scope: beside when spend_30d_drop < 0.1 AND spend_30d_drop >= :drop can never hold together",
        ),
    ],
)
def test_conditions_of_a_rule_do_not_make_one_another_impossible(
    tmp_path: Path, old: str, new: str, fault: str
) -> None:
    assert old in RULE
    _, problems = check(make_folder(tmp_path, {"a/b.yaml": RULE.replace(old, new)}), SIGNALS)
    assert [str(one) for one in problems] == [f"a/b.yaml:{fault}"]


@pytest.mark.parametrize(
    "clear",
    ["spend_30d_drop < 0.3", "spend_30d_drop < 0.2 OR days_silent < 3", "days_silent < 3 AND spend_30d_drop < 1"],
)
def test_a_threshold_on_the_other_side_clears(tmp_path: Path, clear: str) -> None:
    text = RULE.replace("clear_when: spend_30d_drop < 0.2", f"clear_when: {clear}")
    _, problems = check(make_folder(tmp_path, {"a/b.yaml": text}), SIGNALS)
    assert problems == ()
