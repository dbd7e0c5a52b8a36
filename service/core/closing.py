"""What becomes of episodes when a day closes: they begin, go on, deepen, recover, return and end.

    pending ─► raised ─► (acknowledged | snoozed) ─► recovering ─► resolved
                 ▲                                       │            │
                 └──────── reopened ◄────────────────────┴────────────┘ within cool_down

Each step may be taken twice on the same day without a difference: after an interruption a close is concluded again.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import polars as pl

from service.core.calendar import to_date
from service.core.episodes import OPEN, stack
from service.core.judge import LOST, Found, cases_of, daily_rules, event_rules
from service.core.publication import Moment, publish, reasons, settle_orders
from service.core.raising import PENDING, PENDING_STANDING, complete, pending_lines, raised_lines
from service.core.rules import SEVERITIES, Rule, Rulebook
from service.core.signals import View, columns
from service.core.state import State

_RANKS = {severity: rank for rank, severity in enumerate(SEVERITIES)}
_REOPENS = ("recovered", "expired")  # what somebody has settled stays settled
_SETTLED = ("retained", "false_positive")
_DAY = pl.Int32
# What stays of an episode that has become graver.
_KEPT = (
    "episode_id", "held_on", "raised_on", "raised_us", "suppressed_by", "published_on", "recovering_on",
    "acknowledged_by", "acknowledged_us",
)  # fmt: skip
_TAKEN = pl.when(pl.col("acknowledged_by").is_null()).then(pl.lit("raised")).otherwise(pl.lit("acknowledged"))


class Close(NamedTuple):
    """The close of a day: the day, the instant it ended, the offset of its cut; and as `Moment` has it.

    `lets_go`: episodes of rules that are judged no more end; not where a close goes on with other rules than it began
    with.
    """

    day: int
    time_us: int
    cut: int
    fresh: frozenset[str] | None = frozenset()
    held: bool | None = None
    lets_go: bool = True


@dataclass(slots=True)
class Concluded:
    """Transitions of a close, the ids of pending episodes that came to nothing, and whether the breaker holds it."""

    transitions: pl.DataFrame
    dropped: tuple[str, ...]
    held: bool


@dataclass(slots=True)
class _Conclusion:
    """A close being concluded: each step changes the episodes and adds its lines."""

    state: State
    rulebook: Rulebook
    found: Found
    close: Close
    rules: Mapping[str, Rule] = field(init=False)
    told: list[pl.DataFrame] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rules = {rule.id: rule for rule in daily_rules(self.rulebook)}

    def tell(self, lines: pl.DataFrame, transition: str) -> pl.DataFrame:
        """Let lines, which have changed, stand."""
        if not lines.is_empty():
            lines = complete(
                lines.with_columns(
                    transition=pl.lit(transition), changed_us=pl.lit(self.close.time_us), at=pl.lit(self.close.cut)
                )
            )
            self.state.episodes.put(lines)
            self.told.append(lines)
        return lines

    def drop(self, lines: pl.DataFrame) -> None:
        """Let pending episodes never have been."""
        if not lines.is_empty():
            self.state.episodes.drop(lines["episode_id"])
            self.dropped += lines["episode_id"].to_list()

    def lines(self, found: Mapping[str, list[np.ndarray]], *states: str) -> pl.DataFrame:
        """The episodes, in some states, of what was found."""
        parts = [
            pl.DataFrame({"row": np.concatenate(rows)}).with_columns(rule=pl.lit(rule)) for rule, rows in found.items()
        ]
        frame = self.state.episodes.frame
        if not parts:
            return frame.clear()
        return frame.filter(pl.col("state").is_in(states)).join(
            pl.concat(parts), on=["row", "rule"], how="semi", maintain_order="left"
        )

    def by_rule(self, name: str) -> pl.Expr:
        """A figure of each line's rule, null where it has none."""
        told = {rule.id: getattr(rule, name) for rule in self.rules.values()}
        return pl.col("rule").replace_strict(told, default=None, return_dtype=_DAY)


def conclude(state: State, rulebook: Rulebook, found: Found, close: Close) -> Concluded:
    """Let the episodes of a shard live through the day just closed."""
    work = _Conclusion(state, rulebook, found, close)
    if close.lets_go:
        _let_go(work)
    _expire(work)
    _wake(work)
    work.drop(work.lines(found.ceased, "pending"))
    _clear(work)
    raising = [*_return(work), *_begin(work)]
    _escalate(work)
    held = _publish(work, raising)
    transitions = pl.concat(work.told).unique("episode_id", keep="last", maintain_order=True) if work.told else None
    return Concluded(stack([] if transitions is None else [transitions]), tuple(work.dropped), held)


def _let_go(work: _Conclusion) -> None:
    """Episodes of rules that are there no more, or deprecated, end: nothing will ever clear them."""
    judged = [*work.rules, *(rule.id for rule in event_rules(work.rulebook))]
    gone = work.state.episodes.frame.filter(~pl.col("rule").is_in(judged))
    work.drop(gone.filter(pl.col("state") == "pending"))
    _resolve(work, gone.filter(pl.col("state").is_in(OPEN)), "expired")


def _expire(work: _Conclusion) -> None:
    """Episodes of event rules end when they have been kept long enough."""
    keeps = {rule.id: rule.keep_for_days for rule in event_rules(work.rulebook)}
    frame = work.state.episodes.frame
    if frame.is_empty() or not keeps:
        return
    keep = pl.col("rule").replace_strict(keeps, default=None, return_dtype=_DAY)
    over = frame.filter(pl.col("state").is_in(OPEN) & (pl.col("raised_on").cast(_DAY) + keep <= work.close.day))
    _resolve(work, over, "expired")


def _wake(work: _Conclusion) -> None:
    """What was put off comes back on its day."""
    frame = work.state.episodes.frame
    due = (pl.col("state") == "snoozed") & (pl.col("snoozed_until") <= to_date(work.close.day))
    work.tell(frame.filter(due).with_columns(state=_TAKEN, snoozed_until=pl.lit(None, pl.Date)), "woken")


def _clear(work: _Conclusion) -> None:
    """What has cleared recovers for as long as its rule says, and then is over."""
    work.drop(work.lines(work.found.over, "pending"))
    cleared = work.lines(work.found.over, *OPEN)
    if cleared.is_empty():
        return
    status = columns(View(work.state, cleared["row"].to_numpy()), ["status"])["status"]
    keep = work.by_rule("keep_for_days").fill_null(0)
    since = pl.coalesce(pl.col("recovering_on").cast(_DAY), work.close.day)
    is_over = cleared.select(pl.lit(status.is_in(LOST)) | (since + keep <= work.close.day)).to_series()
    _resolve(work, cleared.filter(is_over), "recovered")
    begun = cleared.filter(~is_over & (cleared["state"] != "recovering"))
    day = pl.lit(to_date(work.close.day))
    work.tell(begun.with_columns(state=pl.lit("recovering"), recovering_on=day), "recovering")


def _resolve(work: _Conclusion, over: pl.DataFrame, outcome: str) -> None:
    if over.is_empty():
        return
    lost = columns(View(work.state, over["row"].to_numpy()), ["status"])["status"].is_in(LOST)
    resolved = over.with_columns(
        state=pl.lit("resolved"),
        outcome=pl.when(lost).then(pl.lit("churned")).otherwise(pl.lit(outcome)),
        resolved_on=pl.lit(to_date(work.close.day)),
    )
    work.tell(resolved, "resolved")


def _return(work: _Conclusion) -> list[pl.DataFrame]:
    """What holds again: recovering episodes are reopened; pending ones that have held long enough are to be raised."""
    _reopen(work, work.lines(work.found.again, "recovering"))
    pending = work.lines(work.found.again, "pending")
    if pending.is_empty():
        return []
    day, feed = work.close.day, work.state.feed
    markets = work.state.attributes.texts("market", pending["row"].to_numpy()).to_list()
    held_days = pending["held_on"].cast(_DAY).to_list()
    held = [
        day - first + 1 - (feed.days_withheld(first, day, market) if work.rules[rule].judges_feed else 0)
        for first, market, rule in zip(held_days, markets, pending["rule"].to_list(), strict=True)
    ]
    due = pending.filter(pl.Series(held, dtype=_DAY) >= work.by_rule("for_days"))
    parts = []
    for reason in (PENDING, PENDING_STANDING):
        mine = due.filter(pl.col("suppressed_by") == reason)
        met = (
            (work.rules[str(rule)], of_rule["row"].to_numpy(), of_rule["held_on"].cast(_DAY).to_numpy())
            for (rule,), of_rule in sorted(mine.partition_by("rule", as_dict=True).items())
        )
        stands = pl.lit("standing" if reason == PENDING_STANDING else None, pl.String)
        parts += [lines.with_columns(suppressed_by=stands) for lines in _raised(work, met)]
    return parts


def _reopen(work: _Conclusion, lines: pl.DataFrame) -> None:
    nothing = pl.lit(None, pl.Date)
    back = lines.with_columns(state=_TAKEN, outcome=pl.lit(None, pl.String), recovering_on=nothing, resolved_on=nothing)
    work.tell(back, "reopened")


def _begin(work: _Conclusion) -> list[pl.DataFrame]:
    """What newly holds: it reopens what was resolved just now, is pending, or is to be raised."""
    fresh = {rule: np.concatenate(rows) for rule, rows in work.found.met.items() if rule in work.rules}
    for name, settled in _recent(work, fresh).items():
        fresh[name] = fresh[name][~np.isin(fresh[name], settled)]
    at, first = (work.close.day, work.close.time_us, work.close.cut), work.close.fresh
    raising = []
    for rule_id in sorted(fresh):
        rule, rows = work.rules[rule_id], fresh[rule_id]
        if not rows.size:
            continue
        if rule.for_days > 1:
            lines = pending_lines(work.state, rule, rows, at, stands=first is None or rule_id in first)
            work.tell(work.state.episodes.unknown(lines), "pending")
        else:
            raising.append((rule, rows, np.full(rows.size, work.close.day)))
    return _raised(work, raising)


def _recent(work: _Conclusion, fresh: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Rows by rule that are not to be raised: their last episode is reopened, or somebody has settled it."""
    cooling = [rule for rule in fresh if work.rules[rule].cool_down_days]
    if not cooling:
        return {}
    lines = work.lines({rule: [fresh[rule]] for rule in cooling}, "resolved")
    ends = pl.col("resolved_on").cast(_DAY) + work.by_rule("cool_down_days")
    last = lines.filter(pl.col("outcome").is_in((*_REOPENS, *_SETTLED)) & (ends > work.close.day))
    last = last.sort("resolved_on", "raised_on", "episode_id").unique(["row", "rule"], keep="last", maintain_order=True)
    _reopen(work, last.filter(pl.col("outcome").is_in(_REOPENS)))
    return {str(rule): of["row"].to_numpy() for (rule,), of in last.partition_by("rule", as_dict=True).items()}


def _raised(work: _Conclusion, met: Iterable[tuple[Rule, np.ndarray, np.ndarray]]) -> list[pl.DataFrame]:
    """Lines of episodes to be raised, not told yet; `met`: rule, rows, first days on which it held."""
    met = list(met)
    at = (work.close.day, work.close.time_us, work.close.cut)
    found = cases_of(work.state, work.rulebook, ((rule, rows) for rule, rows, _ in met), at)
    return [
        raised_lines(work.state, rule, cases.held_since(held))
        for (rule, cases), (_, _, held) in zip(found, met, strict=True)
    ]


def _escalate(work: _Conclusion) -> None:
    """What has become graver is said again, unless it is withheld just now; never the other way."""
    lines = work.lines(work.found.risen, *OPEN)
    if lines.is_empty():
        return
    lines = lines.sort("rule", "row")
    met = [
        (work.rules[str(rule)], of_rule["row"].to_numpy(), of_rule["held_on"].cast(_DAY).to_numpy())
        for (rule,), of_rule in lines.partition_by("rule", as_dict=True, maintain_order=True).items()
    ]
    now = pl.concat(_raised(work, met))
    rank = pl.col("severity").replace_strict(_RANKS, return_dtype=pl.Int8)
    graver = now.select(rank).to_series() > lines.select(rank).to_series()
    now, lines = now.filter(graver), lines.filter(graver)
    if now.is_empty():
        return
    merged = now.with_columns(
        *(lines[name] for name in _KEPT),
        state=lines.select(pl.when(pl.col("state") == "snoozed").then(_TAKEN).otherwise("state")).to_series(),
        orders=pl.Series(list(map(_merged_orders, lines["orders"], now["orders"])), dtype=pl.String),
        transition=pl.lit("escalated"),
    )
    withheld = reasons(work.state, work.rulebook, merged, work.close.day).is_not_null()
    published = merged["suppressed_by"].is_null()
    told = merged.filter(~published | ~withheld)
    work.tell(settle_orders(work.state, work.rulebook, told, work.close.day), "escalated")


def _merged_orders(before: str, now: str) -> str:
    """An order that was made is not made again."""
    said = {channel: "contacted" if one == "ordered" else one for channel, one in json.loads(before).items()}
    wanted = json.loads(now)
    return json.dumps({**wanted, **{c: one for c, one in said.items() if c not in wanted or one == "contacted"}})


def _publish(work: _Conclusion, raising: list[pl.DataFrame]) -> bool:
    """Tell what is raised, and what was withheld and is no more; returns whether the breaker holds the close."""
    state, close = work.state, work.close
    fresh = pl.concat(raising) if raising else None
    if fresh is not None:
        pending = fresh.filter(fresh["episode_id"].is_in(_pending_ids(state).implode()))
        rest = fresh.filter(~fresh["episode_id"].is_in(pending["episode_id"].implode()))
        fresh = pl.concat([pending, state.episodes.unknown(rest)])
    waiting = _waiting(work)
    lines = waiting if fresh is None else pl.concat([fresh, waiting])
    if lines.is_empty():
        return bool(close.held)
    decided = publish(state, work.rulebook, lines, Moment(close.day, close.fresh, held=close.held))
    news = 0 if fresh is None else fresh.height
    work.tell(decided.lines.head(news), "raised")
    later = decided.lines.slice(news)
    changed = later.filter(later["suppressed_by"].ne_missing(waiting["suppressed_by"]))
    work.tell(changed.filter(pl.col("suppressed_by").is_null()), "raised")
    work.tell(changed.filter(pl.col("suppressed_by").is_not_null()), "suppressed")
    return decided.held


def _pending_ids(state: State) -> pl.Series:
    return state.episodes.frame.filter(pl.col("state") == "pending")["episode_id"]


def _waiting(work: _Conclusion) -> pl.DataFrame:
    """Episodes that are withheld so far for a reason that may have gone."""
    frame = work.state.episodes.frame
    withheld = pl.col("suppressed_by")
    experimental = [rule.id for rule in work.rulebook.rules if rule.status == "experimental"]
    stays = (withheld == "experimental") & pl.col("rule").is_in(experimental)
    released = {release.what for release in work.state.releases.values()}
    for what in ("standing", "breaker"):
        if what not in released:
            stays |= withheld == what
    known = [rule.id for rule in work.rulebook.rules]
    is_open = pl.col("state").is_in(OPEN)
    waiting = frame.filter(is_open & withheld.is_not_null() & ~stays & pl.col("rule").is_in(known))
    # Published now, it is raised, so that an order of it is a contact as every other.
    return complete(waiting.with_columns(transition=pl.lit("raised")))
