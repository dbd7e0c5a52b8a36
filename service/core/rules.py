"""What a rulebook is to the core: expressions over named signals, already checked and compiled."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

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
    `keep_for_days`: an event rule's episode expires so many days after it opened.
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


@dataclass(frozen=True, slots=True)
class Roll:
    """A named list of subscribers, made when asked (never an episode): those for whom `when` is true."""

    id: str
    title: Mapping[str, str]
    when: pl.Expr
    names: frozenset[str]
    numbers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SegmentBands:
    """Thresholds of one measure's trend, as ratios of its baseline: (stable ± band, warned at a drop of warned)."""

    measure: str
    window_days: int
    stable: float
    warned: float
    up_floor: int


@dataclass(frozen=True, slots=True)
class Holiday:
    """A named run of days (first to last, both included, as days since 1970) in which habits change."""

    name: str
    first_day: int
    last_day: int
    markets: tuple[str, ...]  # empty: all


@dataclass(frozen=True, slots=True)
class Rulebook:
    """All that is read from a rules folder, and the hash that names this version of it."""

    hash: str
    rules: tuple[Rule, ...]
    rolls: tuple[Roll, ...] = ()
    bands: tuple[SegmentBands, ...] = ()
    holidays: tuple[Holiday, ...] = ()
