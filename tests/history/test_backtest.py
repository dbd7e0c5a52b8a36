"""What a backtest says of the rules is what a second computation says of the same file."""

from dataclasses import astuple, replace
from datetime import date
from pathlib import Path
from statistics import median

import polars as pl
import pytest

from service.core.events import CHANNELS
from service.core.rules import SEVERITIES
from service.core.signals import catalogue
from service.core.state import Config
from service.history.backtest import Backtest, Question, backtest
from service.history.files import FileError
from service.history.scoring import Overlap, Score
from service.rulebook.loading import load
from service.rulebook.mapping import load_mapping
from tests.oracle.backtest import first_twentieth, groups, places, roc_auc, still_active
from tests.oracle.backtest import score as plain_score
from tests.oracle.episodes import Warned, warnings_of
from tests.oracle.usage import labels, prepaid_monthly

RULES = Path(__file__).parents[2] / "rules"
RULEBOOK = load(RULES, {name: signal.dtype for name, signal in catalogue().items()})
MAPPING = load_mapping(RULES, "prepaid_monthly")
SHIPPED = {rule.id for rule in RULEBOOK.rules}
LAST = date(2013, 8, 31)
MONTH = {
    "year": 2013, "month": 6, "lifetime_days": 400, "spend": 0.0, "out_minutes": 5.0, "sms_out": 0, "data_mb": 0.0,
    "reload_sum": 0.0, "days_silent": 0, "days_since_reload": 1276,
}  # fmt: skip


# Keys that stand beside those of rules: of the call list's order, over all and within a part of the base.
ORDERS = {"order", "still_active"}


@pytest.fixture(scope="module")
def file(real_data: Path) -> Path:
    return real_data / "prepaid_monthly_dev.parquet"


@pytest.fixture(scope="module")
def judged(file: Path) -> Backtest:
    return backtest(Question(file, MAPPING, "churn_sept", LAST), RULEBOOK, Config())


@pytest.fixture(scope="module")
def expected(file: Path) -> list[Warned]:
    return warnings_of(prepaid_monthly(file))


def test_the_real_file_is_judged_as_the_oracle_judges_it(file: Path, judged: Backtest, expected: list[Warned]) -> None:
    left = labels(file, "churn_sept")
    found = groups(expected, LAST)
    names = {"any", *(rule.id for rule in RULEBOOK.rules), *SEVERITIES, *(f"outbound.{name}" for name in CHANNELS)}
    assert judged.scores.keys() == names
    assert judged.labelled == len(left)
    for name in names:
        plain, mine = plain_score(found.get(name, set()), left), judged.scores[name].score
        assert astuple(mine) == pytest.approx(astuple(plain)), name
    assert judged.scores["any"].score.warned > 0


def test_each_rule_is_told_its_pace_its_lead_its_money_and_its_neighbour(
    file: Path, judged: Backtest, expected: list[Warned]
) -> None:
    left = labels(file, "churn_sept")
    open_now = groups(expected, LAST)
    for rule in RULEBOOK.rules:
        mine = [warning for warning in expected if warning.rule == rule.id]
        now = [warning for warning in mine if warning.is_open_on(LAST)]
        leads = [(date(2013, 9, 1) - warning.raised_on).days for warning in now if left[warning.subscriber]]
        scored = judged.scores[rule.id]
        assert scored.warned_per_day == pytest.approx(len(mine) / 92), rule.id
        assert scored.lead_days == (median(leads) if leads else None), rule.id
        assert scored.money_at_risk_minor == sum(warning.on(LAST).money_at_risk_minor for warning in now), rule.id
        most = max(len(open_now.get(rule.id, set()) & open_now.get(name, set())) for name in SHIPPED - {rule.id})
        share = most / len(now) if most else None
        assert (None if scored.overlap is None else scored.overlap.share) == share, rule.id


def test_the_call_list_is_ordered_as_the_oracle_orders_it(file: Path, judged: Backtest, expected: list[Warned]) -> None:
    left = labels(file, "churn_sept")
    place = places(prepaid_monthly(file), expected, LAST)
    active = still_active(file)
    assert len(active) == 1839
    assert judged.orders.keys() == ORDERS
    for name, who in (("order", left.keys()), ("still_active", active)):
        mine, theirs = {one: place[one] for one in who}, {one: left[one] for one in who}
        found = judged.orders[name]
        assert (found.labelled, found.leavers) == (len(theirs), sum(theirs.values())), name
        assert found.roc_auc == pytest.approx(roc_auc(mine, theirs)), name
        assert astuple(found.top) == pytest.approx(astuple(plain_score(first_twentieth(mine), theirs))), name


def test_real_leavers_are_called_in_time_and_in_the_right_order(judged: Backtest) -> None:
    call, critical = judged.scores["outbound.call"].score, judged.scores["critical"].score
    found = {
        "call precision": call.precision,
        "call recall": call.recall,
        "critical precision": critical.precision,
        "critical recall": critical.recall,
        "lift of the still active": judged.orders["still_active"].top.lift,
        "ROC area": judged.orders["order"].roc_auc,
    }
    least = dict(zip(found, (0.52, 0.86, 0.67, 0.73, 5, 0.88), strict=True))
    assert {name: figure for name, figure in found.items() if figure is None or figure < least[name]} == {}


def test_as_json_each_key_has_its_figures(judged: Backtest) -> None:
    plain = judged.plain()
    scores = {"warned", "precision", "recall", "lift", "warned_per_day", "lead_days", "money_at_risk_minor", "overlap"}
    assert plain["critical"].keys() == scores
    assert plain["nothing_charged"]["overlap"] == {"rule": "quiet_newcomer", "share": pytest.approx(0.78, abs=0.01)}
    orders = {"warned", "precision", "recall", "lift", "labelled", "leavers", "roc_auc", "lift_top_5pct"}
    assert plain["still_active"].keys() == plain["order"].keys() == orders
    assert plain["still_active"]["lift"] == plain["still_active"]["lift_top_5pct"]


def question(tmp_path: Path, *rows: dict[str, object]) -> Question:
    usage = tmp_path / "usage.parquet"
    pl.DataFrame([MONTH | row for row in rows]).write_parquet(usage)
    return Question(usage, MAPPING, "gone", LAST)


# Two who talk in all three months, three who fell silent in June, of one of whom nothing is known.
TALKERS: list[dict[str, object]] = [{"id": n, "month": m, "gone": n % 2} for n in (1, 2) for m in (6, 7, 8)]
SILENT: list[dict[str, object]] = [
    {"id": n, "gone": gone, "days_silent": 5, "left_on": day}
    for n, gone, day in ((3, 1, "2013-09-11"), (4, 0, None), (5, None, None))
]


def test_only_the_labelled_count_and_silence_is_open_at_the_close(tmp_path: Path) -> None:
    made = backtest(question(tmp_path, *TALKERS, *SILENT), RULEBOOK, Config())
    assert (made.labelled, made.leavers) == (4, 2)
    silence = made.scores["outgoing_silence"]
    assert silence.score == Score(2, 0.5, 0.5, 1.0)
    # Both have been silent since 25 June, so for six days on 1 July; of 92 days it is the only one with news.
    assert (silence.warned_per_day, silence.lead_days) == (2 / 92, 62.0)
    assert silence.overlap == Overlap("nothing_charged", 1.0)
    assert [made.orders["order"].labelled, made.orders["still_active"].labelled] == [4, 2]


def test_leavers_are_led_to_the_day_that_the_file_tells(tmp_path: Path) -> None:
    asked = replace(question(tmp_path, *TALKERS, *SILENT), left_on="left_on")
    made = backtest(asked, RULEBOOK, Config())
    assert made.scores["outgoing_silence"].lead_days == 72.0
    assert made.scores["outgoing_silence"].score == Score(2, 0.5, 0.5, 1.0)


def test_a_quiet_file_is_no_silent_feed(tmp_path: Path) -> None:
    # All two hundred end on 20 August: live, the feed would be doubted from the next day on, and nobody warned.
    rows: list[dict[str, object]] = [
        {"id": n, "month": m, "gone": 0, "days_silent": 11 * (m == 8)} for n in range(200) for m in (6, 7, 8)
    ]
    made = backtest(question(tmp_path, *rows), RULEBOOK, Config())
    assert made.scores["outgoing_silence"].score.warned == 200


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


@pytest.mark.parametrize(
    ("column", "sentence"),
    [
        ("left", r"has no column left; did you mean left_on\?"),
        ("left_on", "column left_on has 'soon', expected a date"),
    ],
)
def test_days_of_leaving_that_cannot_be_used_are_told(tmp_path: Path, column: str, sentence: str) -> None:
    asked = replace(question(tmp_path, {"id": 1, "gone": 1, "left_on": "soon"}), left_on=column)
    with pytest.raises(FileError, match=sentence):
        backtest(asked, RULEBOOK, Config())
