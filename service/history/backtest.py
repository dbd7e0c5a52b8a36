"""How well the rules would have named those who left: the core lives through a file, its labels are the judge."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from service.core.calendar import to_day
from service.core.episodes import OPEN
from service.core.events import CHANNELS
from service.core.rules import SEVERITIES, Rulebook
from service.core.state import Config
from service.history.files import FileError, Source, read_rows, read_usage
from service.history.past import Lot, Watch, live_through
from service.rulebook.mapping import Mapping, RowsError, name_rows
from service.rulebook.problems import suggest

ANY = "any"
_YES_AND_NO = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
# Of a standing episode nothing is sent until it is released; that it would be is what counts here.
_ORDERED = ("ordered", "contacted", "standing")


@dataclass(frozen=True, slots=True)
class Score:
    """How a group of warned subscribers compares with all that are labelled; None where nothing can be divided by."""

    warned: int
    precision: float | None
    recall: float | None
    lift: float | None

    def plain(self) -> dict[str, int | float | None]:
        """As JSON values."""
        return {"warned": self.warned, "precision": self.precision, "recall": self.recall, "lift": self.lift}


@dataclass(frozen=True, slots=True)
class Backtest:
    """Scores by rule id, `any`, outbound topic and severity; and what they are measured against."""

    scores: dict[str, Score]
    labelled: int
    leavers: int
    last_day: date  # of the file's events

    def plain(self) -> dict[str, dict[str, int | float | None]]:
        """The scores as JSON values."""
        return {name: score.plain() for name, score in self.scores.items()}


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a file: its mapping, the column that says who left, and the day as of which to warn."""

    file: Path
    mapping: Mapping
    labels: str
    as_of: date


def backtest(question: Question, rulebook: Rulebook, config: Config, watch: Watch = iter) -> Backtest:
    """Judge every day of a file up to `as_of`; warned is who has an open episode at the close of that day.

    Raises: FileError.
    """
    labels = read_labels(question)
    usage = read_usage(Source(question.file, question.mapping))
    try:
        past, last_day = live_through(usage.events, Lot(config, rulebook), to_day(question.as_of), watch)
    except FileError as error:
        raise FileError(f"{question.file}: {error}") from error
    open_episodes = past.state.episodes.frame.filter(pl.col("state").is_in(OPEN))
    groups: dict[str, set[str]] = {name: set() for name in _names(rulebook)}
    for name, subscriber_id in _members(open_episodes):
        groups[name].add(subscriber_id)
    leavers = {who for who, has_left in labels.items() if has_left}
    scores = {name: score(warned & labels.keys(), leavers, len(labels)) for name, warned in groups.items()}
    return Backtest(scores, len(labels), len(leavers), last_day)


def read_labels(question: Question) -> dict[str, bool]:
    """Who left and who stayed, by subscriber; one label in any row of a subscriber is enough to have left.

    Raises: FileError.
    """
    rows = read_rows(question.file)
    column = question.labels
    if column not in rows.columns:
        raise FileError(f"{question.file} has no column {column}{suggest(column, rows.columns)}")
    label = pl.col(column).cast(pl.String).str.to_lowercase().replace_strict(_YES_AND_NO, default=None)
    told = rows.select(label.cast(pl.Boolean).alias("left"), pl.col(column).is_not_null().alias("is_told"))
    odd = rows[column].filter(told["left"].is_null() & told["is_told"])
    if odd.len():
        raise FileError(f"{question.file}: column {column} has {odd[0]!r}, expected 1 or 0, or nothing where unknown")
    try:
        named = name_rows(question.mapping, rows)
    except RowsError as error:
        raise FileError(f"{question.file} does not fit the mapping {question.mapping.name}: {error}") from error
    joined = named.with_columns(told["left"].gather(named["row"])).drop_nulls("left")
    by_subscriber = joined.group_by("subscriber_id").agg(pl.col("left").any())
    if by_subscriber.is_empty():
        raise FileError(f"{question.file}: column {column} labels nobody")
    return dict(by_subscriber.iter_rows())


def score(warned: set[str], leavers: set[str], labelled: int) -> Score:
    """Precision and recall of `warned` for `leavers`, and the lift over warning anybody of `labelled` at random."""
    hits = len(warned & leavers)
    precision = hits / len(warned) if warned else None
    recall = hits / len(leavers) if leavers else None
    lift = precision * labelled / len(leavers) if precision is not None and leavers else None
    return Score(len(warned), precision, recall, lift)


def _names(rulebook: Rulebook) -> list[str]:
    rules = [rule.id for rule in rulebook.rules if rule.status != "deprecated"]
    return [ANY, *rules, *(f"outbound.{channel}" for channel in CHANNELS), *SEVERITIES]


def _members(episodes: pl.DataFrame) -> Iterator[tuple[str, str]]:
    for who, rule, severity, orders in episodes.select("subscriber_id", "rule", "severity", "orders").iter_rows():
        yield ANY, who
        yield rule, who
        yield severity, who
        for channel, said in json.loads(orders).items():
            if said in _ORDERED:
                yield f"outbound.{channel}", who
