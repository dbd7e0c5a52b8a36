"""Two rulebooks on the same past: who is won and who is lost, by rule and segment, and whose orders."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from service.core.events import CHANNELS
from service.core.rules import Rulebook
from service.core.state import Config, State
from service.history.files import FileError, Source, read_usage
from service.history.past import Lot, Watch, live_through
from service.history.sealed import Sealed, check_reach
from service.history.trial import Trial, trials
from service.history.warned import ORDERED

ANY = "any"
WON, LOST = "won", "lost"
IDS = {"rule": pl.String(), "change": pl.String(), "subscriber_id": pl.String(), "segment": pl.Int32()}
Step = Callable[[], object]


@dataclass(slots=True)
class Change:
    """Of a rule or a channel: whom the old and the new rulebook name, whom only one of them does."""

    old: int = 0
    new: int = 0
    won: int = 0
    lost: int = 0

    def add(self, old: np.ndarray, new: np.ndarray) -> None:
        """Count flags of the same rows."""
        self.old += int(np.count_nonzero(old))
        self.new += int(np.count_nonzero(new))
        self.won += int(np.count_nonzero(new & ~old))
        self.lost += int(np.count_nonzero(old & ~new))


@dataclass(slots=True)
class Difference:
    """What two rulebooks say of the same subscribers and days.

    `rules` by rule id, and ANY; `orders` by channel, and ANY; `segments` by segment code: all rules together.
    `ids`: columns of IDS, those who are won or lost by a rule.
    """

    subscribers: int = 0
    rules: dict[str, Change] = field(default_factory=dict)
    orders: dict[str, Change] = field(default_factory=dict)
    segments: dict[int, Change] = field(default_factory=dict)
    by_rule_and_segment: dict[tuple[str, int], Change] = field(default_factory=dict)
    parts: list[pl.DataFrame] = field(default_factory=list)

    @property
    def ids(self) -> pl.DataFrame:
        """(rule, change, subscriber_id, segment), by these."""
        return pl.concat([pl.DataFrame(schema=IDS), *self.parts]).sort(list(IDS))

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "subscribers": self.subscribers,
            "rules": {name: _plain(change) for name, change in self.rules.items()},
            "orders": {name: _plain(change) for name, change in self.orders.items()},
            "segments": {str(code): _plain(change) for code, change in sorted(self.segments.items())},
            "by_rule_and_segment": [
                {"rule": rule, "segment": code, **_plain(change)}
                for (rule, code), change in sorted(self.by_rule_and_segment.items())
            ],
        }


def _plain(change: Change) -> dict[str, int]:
    return {"old": change.old, "new": change.new, "won": change.won, "lost": change.lost}


@dataclass(frozen=True, slots=True)
class Named:
    """Whom a rulebook names among the same rows: flags by rule, and by channel of an order."""

    warned: Mapping[str, np.ndarray]
    ordered: Mapping[str, np.ndarray]


def diff_sealed(shards: Iterable[Sealed], old: Rulebook, new: Rulebook, days: range, step: Step) -> Difference:
    """Judge days of shards' sealed past by two rulebooks; `step` is called after each day of each shard.

    Raises: FileError where the days are not stored; DamagedError.
    """
    difference = Difference()
    for shard in shards:
        check_reach([shard], days.start)
        one, other = trials(shard, [old, new], days, lambda judged: stepped(judged, step))
        take(difference, shard.state, named(one), named(other))
    return difference


def stepped(days: Iterable[int], step: Step) -> Iterator[int]:
    """The days; `step` is called after each."""
    for day in days:
        yield day
        step()


def diff_file(
    source: Source, rulebooks: tuple[Rulebook, Rulebook], config: Config, day: int, watch: Watch
) -> Difference:
    """Let the core live through a usage file under an old and a new rulebook, to the close of a day.

    Compared is who had a warning in the days that episodes are kept, rules on arrival as well. Raises: FileError.
    """
    usage = read_usage(source)
    states = []
    for rulebook in rulebooks:
        try:
            past, _ = live_through(usage.events, Lot(config, rulebook), day, watch, judged=True)
        except FileError as error:
            raise FileError(f"{source.file}: {error}") from error
        states.append(past.state)
    difference = Difference()
    take(difference, states[1], *map(named_of, states))
    return difference


def named_of(state: State) -> Named:
    """Whom the episodes of a shard name, but by experimental rules."""
    frame = state.episodes.frame.filter(
        (pl.col("state") != "pending") & pl.col("suppressed_by").ne_missing("experimental")
    )
    count = len(state.roster)
    warned: dict[str, np.ndarray] = {}
    ordered: dict[str, np.ndarray] = {}
    for row, rule, orders in frame.select("row", "rule", "orders").iter_rows():
        warned.setdefault(rule, np.zeros(count, bool))[row] = True
        for channel, said in json.loads(orders).items():
            if said == ORDERED:
                ordered.setdefault(channel, np.zeros(count, bool))[row] = True
    return Named(warned, ordered)


def named(trial: Trial) -> Named:
    """Whom a trial warned at any time, but by experimental rules, which warn nobody."""
    stable = {name: course.ever for name, course in trial.courses.items() if course.warns}
    return Named(stable, trial.ordered)


def take(difference: Difference, state: State, old: Named, new: Named) -> None:
    """Add what two rulebooks say of one shard."""
    count = len(state.roster)
    nobody = np.zeros(count, bool)
    segments = state.attributes["segment"][:count]
    difference.subscribers += state.subscribers
    rules = sorted(old.warned.keys() | new.warned.keys())
    pairs = {rule: (old.warned.get(rule, nobody), new.warned.get(rule, nobody)) for rule in rules}
    for rule, (before, after) in pairs.items():
        difference.rules.setdefault(rule, Change()).add(before, after)
        _take_ids(difference, state, rule, before, after)
        for code in np.unique(segments[before | after]).tolist():
            of = segments == code
            change = difference.by_rule_and_segment.setdefault((rule, code), Change())
            change.add(before & of, after & of)
    anybody = [_any([pair[at] for pair in pairs.values()], nobody) for at in (0, 1)]
    difference.rules.setdefault(ANY, Change()).add(*anybody)
    for code in np.unique(segments[anybody[0] | anybody[1]]).tolist():
        of = segments == code
        difference.segments.setdefault(code, Change()).add(anybody[0] & of, anybody[1] & of)
    for channel in CHANNELS:
        change = difference.orders.setdefault(channel, Change())
        change.add(old.ordered.get(channel, nobody), new.ordered.get(channel, nobody))
    orders = [_any(list(one.ordered.values()), nobody) for one in (old, new)]
    difference.orders.setdefault(ANY, Change()).add(*orders)


def _any(flags: Sequence[np.ndarray], nobody: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.logical_or.reduce([nobody, *flags])
    return found


def _take_ids(difference: Difference, state: State, rule: str, before: np.ndarray, after: np.ndarray) -> None:
    for change, flags in ((WON, after & ~before), (LOST, before & ~after)):
        rows = np.flatnonzero(flags).astype(np.int32)
        if rows.size:
            told = {
                "subscriber_id": state.roster.take(rows),
                "segment": state.attributes["segment"][rows].astype(np.int32),
            }
            lines = pl.DataFrame(told).with_columns(rule=pl.lit(rule), change=pl.lit(change))
            difference.parts.append(lines.select(pl.col(name).cast(dtype) for name, dtype in IDS.items()))
