"""How well the rules would have named those who left: the core lives through a file, its labels are the judge."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import polars as pl

from service.core.calendar import to_day
from service.core.episodes import OPEN
from service.core.events import CHANNELS
from service.core.rules import SEVERITIES, Rulebook
from service.core.signals import View, columns
from service.core.state import Config
from service.core.urgency import KEYS, holds, ranked, signs
from service.history.files import FileError, Source, read_rows, read_usage
from service.history.past import TOLD, Lot, Past, Watch, live_through
from service.history.scoring import Ordered, Scored, lead_days, order, overlap, score
from service.rulebook.mapping import Mapping as FileMapping
from service.rulebook.mapping import RowsError, name_rows
from service.rulebook.problems import suggest

ANY, ORDER = "any", "order"
_YES_AND_NO = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
# What is withheld for one of these reasons would be sent once it is released, or on another day; who was contacted had
# another order just before. All of them count as ordered; what the law, or an open episode, forbids does not.
_ORDERED = ("ordered", "contacted", "standing", "breaker", "cap")


@dataclass(frozen=True, slots=True)
class Labels:
    """Who left and who stayed, by subscriber; and, where the file tells it, the day of leaving (since 1970)."""

    left: Mapping[str, bool]
    left_on: Mapping[str, int]

    @property
    def leavers(self) -> set[str]:
        """Those who left."""
        return {who for who, has_left in self.left.items() if has_left}


@dataclass(frozen=True, slots=True)
class Backtest:
    """Scores by rule id, `any`, outbound topic and severity, and of the call order, in all and by group."""

    scores: dict[str, Scored]
    orders: dict[str, Ordered]
    labelled: int
    leavers: int
    last_day: date  # of the file's events

    def plain(self) -> dict[str, dict[str, object]]:
        """Scores and orders as JSON values."""
        scores = {name: one.plain() for name, one in self.scores.items()}
        return scores | {name: one.plain() for name, one in self.orders.items()}


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a file: its mapping, the column that says who left, and the day as of which to warn.

    `left_on`: the column with the day of leaving; without it everybody left on the first day that they can have, the
    one after `as_of`.
    """

    file: Path
    mapping: FileMapping
    labels: str
    as_of: date
    left_on: str | None = None


def backtest(question: Question, rulebook: Rulebook, config: Config, watch: Watch = iter) -> Backtest:
    """Judge every day of a file up to `as_of`; warned is who has an open episode at the close of that day.

    Raises: FileError.
    """
    labels = read_labels(question)
    usage = read_usage(Source(question.file, question.mapping))
    # A file is complete: a day on which nobody in it did anything is no fault of a feed.
    lot = Lot(replace(config, feed_gate=False), rulebook)
    try:
        past, last_day = live_through(usage.events, lot, to_day(question.as_of), watch)
    except FileError as error:
        raise FileError(f"{question.file}: {error}") from error
    scores = dict(_scores(past, rulebook, labels, to_day(question.as_of)))
    return Backtest(scores, _orders(past, rulebook, labels), len(labels.left), len(labels.leavers), last_day)


def read_labels(question: Question) -> Labels:
    """Who left and who stayed; one label in any row of a subscriber is enough to have left.

    Raises: FileError.
    """
    rows = read_rows(question.file)
    label = _label(question, rows)
    day = _left_on(question, rows)
    try:
        named = name_rows(question.mapping, rows)
    except RowsError as error:
        raise FileError(f"{question.file} does not fit the mapping {question.mapping.name}: {error}") from error
    told = pl.DataFrame({"left": label}).with_columns(day=day)[named["row"]]
    joined = named.select("subscriber_id").hstack(told).drop_nulls("left")
    by_subscriber = joined.group_by("subscriber_id").agg(pl.col("left").any(), pl.col("day").min())
    if by_subscriber.is_empty():
        raise FileError(f"{question.file}: column {question.labels} labels nobody")
    dated = by_subscriber.filter(pl.col("left") & pl.col("day").is_not_null())
    return Labels(
        dict(by_subscriber.select("subscriber_id", "left").iter_rows()),
        dict(dated.select("subscriber_id", "day").iter_rows()),
    )


def _label(question: Question, rows: pl.DataFrame) -> pl.Series:
    column = question.labels
    _require(question, column, rows)
    label = pl.col(column).cast(pl.String).str.to_lowercase().replace_strict(_YES_AND_NO, default=None)
    told = rows.select(label.cast(pl.Boolean).alias("left"), pl.col(column).is_not_null().alias("is_told"))
    odd = rows[column].filter(told["left"].is_null() & told["is_told"])
    if odd.len():
        raise FileError(f"{question.file}: column {column} has {odd[0]!r}, expected 1 or 0, or nothing where unknown")
    return told["left"]


def _left_on(question: Question, rows: pl.DataFrame) -> pl.Series:
    """The day of leaving by row (since 1970), null where it is not told."""
    column = question.left_on
    if column is None:
        return pl.repeat(to_day(question.as_of) + 1, rows.height, dtype=pl.Int32, eager=True)
    _require(question, column, rows)
    told = rows[column]
    days = told.str.to_date("%Y-%m-%d", strict=False) if told.dtype == pl.String else told.cast(pl.Date, strict=False)
    odd = told.filter(days.is_null() & told.is_not_null())
    if odd.len():
        raise FileError(f"{question.file}: column {column} has {odd[0]!r}, expected a date like 2013-09-17, or nothing")
    return days.to_physical()


def _require(question: Question, column: str, rows: pl.DataFrame) -> None:
    if column not in rows.columns:
        raise FileError(f"{question.file} has no column {column}{suggest(column, rows.columns)}")


def _scores(past: Past, rulebook: Rulebook, labels: Labels, as_of: int) -> Iterator[tuple[str, Scored]]:
    """The scores of every group that there can be, also of those that are empty."""
    everybody = past.state.episodes.frame.filter(pl.col("subscriber_id").is_in(list(labels.left)))
    now = _members(everybody.filter(pl.col("state").is_in(OPEN)).select(TOLD))
    ever = _members(_raised(past).filter(pl.col("subscriber_id").is_in(list(labels.left))))
    days = as_of - (as_of if past.first_day is None else past.first_day) + 1
    rules = [rule.id for rule in rulebook.rules if rule.status != "deprecated"]
    groups = [ANY, *rules, *(f"outbound.{channel}" for channel in CHANNELS), *SEVERITIES]
    warned = {name: set(now.filter(pl.col("group") == name)["subscriber_id"]) for name in groups}
    fresh = dict(ever.unique(["group", "subscriber_id", "raised_on"]).group_by("group").len().iter_rows())
    for name in groups:
        mine = now.filter(pl.col("group") == name).group_by("subscriber_id")
        first = mine.agg(pl.col("raised_on").min().to_physical(), pl.col("money_at_risk_minor").max())
        since = dict(first.select("subscriber_id", "raised_on").iter_rows())
        yield (
            name,
            Scored(
                score=score(warned[name], labels.leavers, len(labels.left)),
                warned_per_day=fresh.get(name, 0) / days,
                lead_days=lead_days(since, labels.left_on),
                money_at_risk_minor=int(first["money_at_risk_minor"].sum()),
                overlap=overlap(name, {rule: warned[rule] for rule in rules}) if name in rules else None,
            ),
        )


def _raised(past: Past) -> pl.DataFrame:
    """Every episode that was ever raised, published or not, as it was told last."""
    told = pl.concat(past.transitions) if past.transitions else past.state.episodes.frame.select(TOLD).clear()
    return told.filter(pl.col("raised_on").is_not_null()).unique("episode_id", keep="last", maintain_order=True)


def _members(episodes: pl.DataFrame) -> pl.DataFrame:
    """One line per episode and group that it belongs to: its rule, its severity, the topics it orders on, and `any`."""
    frame = episodes.with_columns(
        group=pl.struct("rule", "severity", "orders").map_elements(_groups, pl.List(pl.String))
    )
    return frame.explode("group").select("group", "subscriber_id", "raised_on", "money_at_risk_minor")


def _groups(episode: Mapping[str, str]) -> list[str]:
    orders: dict[str, str] = json.loads(episode["orders"])
    topics = [f"outbound.{channel}" for channel, said in orders.items() if said in _ORDERED]
    return [ANY, episode["rule"], episode["severity"], *topics]


def _orders(past: Past, rulebook: Rulebook, labels: Labels) -> dict[str, Ordered]:
    """The order of the call list over everybody labelled, and within each group of the rulebook."""
    view, call_order = View.under(rulebook, past.state, past.state.rows), rulebook.call_order
    open_now = past.state.episodes.frame.filter(pl.col("state").is_in(OPEN))
    gravest = open_now.group_by("subscriber_id").agg(pl.col("severity").cast(pl.Enum(SEVERITIES)).max())
    known = pl.DataFrame(
        {
            "subscriber_id": past.state.roster.take(past.state.rows),
            "signs": signs(view, call_order),
            "money_at_risk": columns(view, ["money_at_risk"]).to_series(),
            **{group.name: holds(view, group) for group in call_order.groups},
        }
    )
    labelled = pl.DataFrame({"subscriber_id": list(labels.left), "left": list(labels.left.values())})
    people = labelled.join(known, on="subscriber_id", how="left").join(gravest, on="subscriber_id", how="left")
    listed = ranked(people.with_columns(pl.col("severity").cast(pl.String)))
    within = {group.name: listed.filter(pl.col(group.name).fill_null(value=False)) for group in call_order.groups}
    return {name: order(part, KEYS) for name, part in {ORDER: listed, **within}.items()}
