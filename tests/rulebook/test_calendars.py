"""Holidays say what they leave of usual usage and what they mute; limits say when somebody is asked."""

from pathlib import Path

import pytest

from service.core.rules import Limits
from service.rulebook.loading import check, default_folder, load
from tests.rulebook.folders import RULE, SIGNALS, make_folder


def problems_of(where: Path, **calendars: str) -> list[str]:
    files = {f"calendars/{name}.yaml": f"holidays:\n{text}" for name, text in calendars.items()}
    _, problems = check(make_folder(where, {"drops/b.yaml": RULE, "drops/c.yaml": RULE, **files}), SIGNALS)
    return [str(problem) for problem in problems]


def test_a_holiday_shifts_measures_and_mutes_rules_and_families(tmp_path: Path) -> None:
    days = "first: 2026-02-15, last: 2026-02-23"
    files = {
        "drops/b.yaml": RULE,
        "drops/c.yaml": RULE,
        "silence/d.yaml": RULE,
        "calendars/x.yaml": f"holidays: [{{name: A, {days}, shifts: {{voice: 0.5, sms: 2}}, mutes: [drops, d]}}]",
    }
    (holiday,) = load(make_folder(tmp_path, files), SIGNALS).holidays
    assert holiday.shifts == {"voice": 0.5, "sms": 2.0}
    assert holiday.mutes == {"b", "c", "d"}


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ("shifts: {voice: 0}", "holidays.0.shifts.voice: expected a number from 0.01, found 0"),
        ("shifts: {vioce: 0.5}", "holidays.0.shifts: unknown key vioce; did you mean voice?"),
        ("mutes: [drop]", "holidays.0.mutes.0: drop is neither a rule nor a family; did you mean drops?"),
    ],
)
def test_what_a_holiday_cannot_say(tmp_path: Path, more: str, fault: str) -> None:
    told = problems_of(tmp_path, x=f"- {{name: A, first: 2026-02-15, last: 2026-02-23, {more}}}\n")
    assert told == [f"calendars/x.yaml:2: {fault}"]


@pytest.mark.parametrize(
    ("other", "clashes"),
    [
        ("first: 2026-02-23, last: 2026-03-01, shifts: {voice: 0.5, data: 0.9}", True),
        ("first: 2026-02-23, last: 2026-03-01, markets: [campus, public], shifts: {voice: 0.5}", True),
        ("first: 2026-02-23, last: 2026-03-01, markets: [public], shifts: {voice: 0.5}", False),
        ("first: 2026-02-23, last: 2026-03-01, shifts: {data: 0.5}", False),
        ("first: 2026-02-24, last: 2026-03-01, shifts: {voice: 0.5}", False),
        ("first: 2026-02-23, last: 2026-03-01", False),
    ],
)
def test_a_day_of_a_market_is_shifted_by_one_calendar(tmp_path: Path, other: str, *, clashes: bool) -> None:
    shifted = "first: 2026-02-15, last: 2026-02-23, markets: [campus], shifts: {voice: 0.8}"
    told = problems_of(tmp_path, x=f"- {{name: A, {shifted}}}\n", y=f"- {{name: B, {other}}}\n")
    fault = "B overlaps A of calendars/x.yaml, and both shift voice; expected a measure shifted once a day and market"
    assert told == ([f"calendars/y.yaml:2: {fault}"] if clashes else [])


def test_the_shipped_calendars_shift_the_long_breaks() -> None:
    shifted = {(run.name, *run.markets): run.shifts for run in load(default_folder(), SIGNALS).holidays if run.shifts}
    assert shifted == {
        ("Winter break", "campus"): {"voice": 0.5},
        ("Summer break", "campus"): {"voice": 0.5},
        ("Spring Festival",): {"sms": 2.0},
        ("National Day",): {"voice": 0.9},
    }


def limits_of(where: Path, text: str | None) -> Limits:
    files = {"drops/b.yaml": RULE} if text is None else {"drops/b.yaml": RULE, "limits.yaml": text}
    return load(make_folder(where, files), SIGNALS).limits


def test_limits_are_as_their_file_says_and_else_as_the_core_has_them(tmp_path: Path) -> None:
    assert limits_of(tmp_path / "none", None) == Limits()
    assert limits_of(tmp_path / "some", "{contact_gap: 30d, feed: {weeks: 8}}") == Limits(
        contact_gap_days=30, feed_weeks=8
    )
    whole = "breaker: {share: 0.2, least: 5}\nfeed: {least_share: 0.5, least_active: 7, weeks: 1}"
    assert limits_of(tmp_path / "all", whole) == Limits(
        breaker_share=0.2, breaker_least=5, feed_least_share=0.5, feed_least_active=7, feed_weeks=1
    )
    assert load(default_folder(), SIGNALS).limits == Limits()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("contact_gap: 2w", "contact_gap: expected a number of days like 14d, found 2w"),
        ("breaker: {share: 2}", "breaker.share: expected a number from 0 to 1, found 2"),
        ("braker: {share: 1}", "unknown key braker; did you mean breaker?"),
        ("feed: {weeks: 0}", "feed.weeks: expected a whole number from 1 to 52, found 0"),
    ],
)
def test_limits_that_cannot_be(tmp_path: Path, text: str, fault: str) -> None:
    _, problems = check(make_folder(tmp_path, {"a/b.yaml": RULE, "limits.yaml": text}), SIGNALS)
    assert [str(problem) for problem in problems] == [f"limits.yaml:1: {fault}"]
