"""What a backtest says of the rules is what a second computation says of the same file."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from service.core.events import CHANNELS
from service.core.rules import SEVERITIES
from service.core.signals import catalogue
from service.core.state import Config
from service.history.backtest import Question, Score, backtest, score
from service.history.files import FileError
from service.rulebook.loading import load
from service.rulebook.mapping import load_mapping
from tests.oracle.backtest import groups
from tests.oracle.backtest import score as plain_score
from tests.oracle.episodes import warnings_of
from tests.oracle.usage import labels, prepaid_monthly

RULES = Path(__file__).parents[2] / "rules"
RULEBOOK = load(RULES, {name: signal.dtype for name, signal in catalogue().items()})
MAPPING = load_mapping(RULES, "prepaid_monthly")
LAST = date(2013, 8, 31)
MONTH = {
    "year": 2013, "month": 6, "lifetime_days": 400, "spend": 0.0, "out_minutes": 5.0, "sms_out": 0, "data_mb": 0.0,
    "reload_sum": 0.0, "days_silent": 0, "days_since_reload": 1276,
}  # fmt: skip


def figures(found: Score) -> tuple[float | None, ...]:
    return found.warned, found.precision, found.recall, found.lift


def test_the_real_file_is_judged_as_the_oracle_judges_it(real_data: Path) -> None:
    file = real_data / "prepaid_monthly_dev.parquet"
    made = backtest(Question(file, MAPPING, "churn_sept", LAST), RULEBOOK, Config())
    left = labels(file, "churn_sept")
    expected = groups(warnings_of(prepaid_monthly(file)), LAST)
    names = {"any", *(rule.id for rule in RULEBOOK.rules), *SEVERITIES, *(f"outbound.{name}" for name in CHANNELS)}
    assert made.scores.keys() == names
    assert made.labelled == len(left)
    for name in names:
        plain = plain_score(expected.get(name, set()), left)
        assert figures(made.scores[name]) == pytest.approx((plain.warned, plain.precision, plain.recall, plain.lift)), (
            name
        )
    assert made.scores["any"].warned > 0


@pytest.mark.parametrize(
    ("warned", "expected"),
    [
        ({"a", "b", "c"}, Score(3, 2 / 3, 1.0, 10 / 3)),
        ({"c"}, Score(1, 0.0, 0.0, 0.0)),
        (set(), Score(0, None, 0.0, None)),
    ],
)
def test_scores_are_fractions_of_all_that_are_labelled(warned: set[str], expected: Score) -> None:
    assert figures(score(warned, {"a", "b"}, 10)) == pytest.approx(figures(expected))


def test_nobody_left_leaves_nothing_to_recall() -> None:
    assert score({"a"}, set(), 3) == Score(1, 0.0, None, None)


def question(tmp_path: Path, *rows: dict[str, object]) -> Question:
    file = tmp_path / "usage.parquet"
    pl.DataFrame([MONTH | row for row in rows]).write_parquet(file)
    return Question(file, MAPPING, "gone", LAST)


def test_only_the_labelled_count_and_silence_is_open_at_the_close(tmp_path: Path) -> None:
    talkers: list[dict[str, object]] = [{"id": n, "month": m, "gone": n % 2} for n in (1, 2) for m in (6, 7, 8)]
    silent: list[dict[str, object]] = [
        {"id": n, "gone": gone, "days_silent": 5} for n, gone in ((3, 1), (4, 0), (5, None))
    ]
    made = backtest(question(tmp_path, *talkers, *silent), RULEBOOK, Config())
    assert (made.labelled, made.leavers) == (4, 2)
    assert made.scores["outgoing_silence"] == Score(2, 0.5, 0.5, 1.0)


@pytest.mark.parametrize(
    ("rows", "column", "sentence"),
    [
        ([{"id": 1, "gone": 1}], "gon", r"has no column gon; did you mean gone\?"),
        ([{"id": 1, "gone": "perhaps"}], "gone", "column gone has 'perhaps', expected 1 or 0"),
        ([{"id": 1, "gone": None}], "gone", "column gone labels nobody"),
        ([{"id": 1, "gone": 1, "month": 9}], "gone", "no events on or before 2013-08-31; the first is of 2013-09-01"),
    ],
)
def test_labels_that_cannot_be_used_are_told(
    tmp_path: Path, rows: list[dict[str, object]], column: str, sentence: str
) -> None:
    asked = question(tmp_path, *rows)
    with pytest.raises(FileError, match=sentence):
        backtest(Question(asked.file, MAPPING, column, LAST), RULEBOOK, Config())
