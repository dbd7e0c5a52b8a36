"""What a rulebook is to the core: expressions over named signals, already checked and compiled."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import polars as pl

Kind = Literal["risk", "opportunity", "restricted"]
SEVERITIES = ("notice", "warning", "critical")
ACT_WITHIN_DAYS = {"notice": 7, "warning": 3, "critical": 1}


@dataclass(frozen=True, slots=True)
class Order:
    """An outbound order a rule asks for: the channel, and the condition over its signals (None: always).

    The condition may name the episode's `severity` ('notice' | 'warning' | 'critical') beside the signals.
    """

    channel: str
    when: pl.Expr | None


@dataclass(frozen=True, slots=True)
class Offer:
    """What may be offered: a four-part campaign code (class-manner-requirement-reward) and its name by language."""

    campaign: str
    name: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `on` lists event types (judged on arrival); empty means judged at each day close.

    `severities` are tried in order, the first true one wins, else `default_severity`. `names` are the signals that any
    of its expressions read (event fields as `event.<field>`), `numbers` those kept as evidence with a warning.
    `when` holds only within the rule's scope. `for_days`: raised at the last of so many closes in a row at which it
    held. `keep_for_days`: an event rule's episode expires so many days after it opened; a daily rule's stays recovering
    for so many days after it cleared, before it resolves. `cool_down_days`: what holds again so soon after an episode
    resolved is that episode, reopened. `inhibits`: ids of the rules whose episodes of the same subscriber are withheld
    while one of this rule is open. `most_per_day`: what is raised beyond so many a day is kept and withheld.
    """

    id: str
    family: str
    version: int
    kind: Kind
    status: str
    owner: str
    runbook: str
    on: tuple[str, ...]
    when: pl.Expr
    clear_when: pl.Expr | None
    severities: tuple[tuple[str, pl.Expr], ...]
    default_severity: str
    names: frozenset[str]
    numbers: tuple[str, ...]
    measure: str | None
    window_days: int | None
    keep_for_days: int | None
    orders: tuple[Order, ...]
    offer: Offer | None
    why: Mapping[str, str]
    avoid: Mapping[str, str]
    params: Mapping[str, float | int | str | bool]
    source: Mapping[str, str] = field(default_factory=dict)  # the expressions as written, for people
    for_days: int = 1
    cool_down_days: int = 0
    inhibits: frozenset[str] = frozenset()
    most_per_day: int | None = None

    @property
    def judges_feed(self) -> bool:
        """Whether a silent feed would be taken for a silent subscriber."""
        return self.family in ("drops", "silence")


@dataclass(frozen=True, slots=True)
class Roll:
    """A named list of subscribers, made when asked (never an episode): those for whom `when` is true."""

    id: str
    title: Mapping[str, str]
    when: pl.Expr
    names: frozenset[str]
    numbers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sign:
    """A condition over signals that says something of a subscriber, and the signals it names."""

    name: str
    when: pl.Expr
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class CallOrder:
    """What orders the call list within a severity: the more signs of leaving, the sooner.

    `groups`: parts of the base within which a backtest looks at the order once more.
    """

    signs: tuple[Sign, ...] = ()
    groups: tuple[Sign, ...] = ()


@dataclass(frozen=True, slots=True)
class SegmentBands:
    """Thresholds of one measure's trend, as ratios of its baseline: (stable ± band, warned at a drop of warned)."""

    measure: str
    window_days: int
    stable: float
    warned: float
    up_floor: int


@dataclass(frozen=True, slots=True)
class Dimension:
    """A dimension of segments: of tiers, or of a list of values.

    `code` is the hundred of its six-digit codes, `tops` the upper bounds (included) of all tiers but the last, in the
    units of the measure for thirty days; days for tenure. `values` are those of bundle, market and device, by rank.
    """

    name: str  # bundle | spend | voice | data | tenure | market | device
    code: int
    tops: tuple[int, ...] = ()
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Holiday:
    """A named run of days (first to last, both included, as days since 1970) in which habits change.

    `shifts`: by measure, what is left of usual usage on such a day (1: all of it). `mutes`: ids of the rules whose
    warnings are withheld on these days, with the holiday's name as the reason.
    """

    name: str
    first_day: int
    last_day: int
    markets: tuple[str, ...]  # empty: all
    shifts: Mapping[str, float] = field(default_factory=dict)
    mutes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Derived:
    """A signal that the rulebook itself makes of catalogue signals."""

    expression: pl.Expr
    dtype: pl.DataType
    unit: str
    meaning: str
    names: frozenset[str]  # of the catalogue's signals that it is made of


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a close may say before somebody is asked, and when a feed is not believed.

    `contact_gap_days`: after an order a subscriber gets no other for so many days. A close that would publish more than
    `breaker_share` of a shard's subscribers, and more than `breaker_least`, is withheld until it is released. A market
    whose active subscribers fall below `feed_least_share` of the median of the same weekday in the `feed_weeks` before,
    where that is at least `feed_least_active`, is not judged by rules that would take a silent feed for silence.
    """

    contact_gap_days: int = 14
    breaker_share: float = 0.1
    breaker_least: int = 1000
    feed_least_share: float = 0.3
    feed_least_active: int = 100
    feed_weeks: int = 4


class Book(Protocol):
    """Whatever says which rulebook judges a day."""

    def on(self, day: int) -> "Rulebook":
        """The rulebook in force on a day (since 1970)."""

    def named(self, rulebook_hash: str) -> "Rulebook | None":
        """A rulebook by its hash, None where it is not known."""


@dataclass(frozen=True, slots=True)
class Rulebook:
    """All that is read from a rules folder, and the hash that names this version of it.

    `contents` is what the files say, by file: what the hash is of, and what it can be built from again. `against` says
    what segments compare with: a subscriber's own usual month, or that as comparable ones moved. `bundle_kinds` are the
    kinds of bundles by the name that tables count them under.
    """

    hash: str
    rules: tuple[Rule, ...]
    rolls: tuple[Roll, ...] = ()
    bands: tuple[SegmentBands, ...] = ()
    holidays: tuple[Holiday, ...] = ()
    dimensions: tuple[Dimension, ...] = ()
    against: Literal["own", "cohort"] = "own"
    bundle_kinds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    derived: Mapping[str, Derived] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    contents: Mapping[str, object] = field(default_factory=dict)
    call_order: CallOrder = field(default_factory=CallOrder)

    def on(self, day: int) -> "Rulebook":
        """A rulebook alone is in force on every day (see Book)."""
        del day
        return self

    def named(self, rulebook_hash: str) -> "Rulebook | None":
        """It knows no other."""
        return self if rulebook_hash == self.hash else None
