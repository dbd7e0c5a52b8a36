"""What one step of a shard produces: transitions to publish, decisions to remember, counts to show."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

# One row per transition of an episode: the whole episode as it is after it.
TRANSITIONS = {
    "episode_id": pl.String(),
    "subscriber_id": pl.String(),
    # pending | raised | escalated | acknowledged | snoozed | woken | recovering | reopened | resolved
    "transition": pl.String(),
    "rule": pl.String(),
    "rule_version": pl.Int32(),
    "kind": pl.String(),  # risk | opportunity | restricted
    "state": pl.String(),  # pending | raised | acknowledged | snoozed | recovering | resolved
    "outcome": pl.String(),  # null | recovered | retained | churned | expired | false_positive
    "severity": pl.String(),  # notice | warning | critical
    # Why it is kept and counted, but not published; null: it is. See core.publication.
    "suppressed_by": pl.String(),
    "published_on": pl.Date(),
    "held_on": pl.Date(),  # the first of the days in a row on which the condition held
    "raised_on": pl.Date(),
    "raised_us": pl.Int64(),  # the record's occurred_at, or the end of the day closed
    "recovering_on": pl.Date(),
    "snoozed_until": pl.Date(),
    "resolved_on": pl.Date(),
    "changed_us": pl.Int64(),
    "act_by": pl.Date(),
    "measure": pl.String(),
    "window_days": pl.Int32(),
    "numbers": pl.String(),  # JSON object: signal -> value at the transition that raised it
    "money_at_risk_minor": pl.Int64(),
    "consent": pl.String(),  # JSON object: channel -> true | false | null
    "orders": pl.String(),  # JSON object: channel -> "ordered" or why it is withheld, see core.publication
    "why": pl.String(),  # JSON object: language -> sentence
    "market": pl.String(),
    "area": pl.String(),
    "manager": pl.String(),
    "acknowledged_by": pl.String(),
    "acknowledged_us": pl.Int64(),
    "at": pl.Int64(),  # offset of the record that caused it, or of the cut
}

CONTACTS = {
    "subscriber_id": pl.String(),
    "channel": pl.String(),
    "day": pl.Date(),
    "episode_id": pl.String(),
    "outcome": pl.String(),  # ordered | reached | refused | accepted | complained
}

# One row for each subscriber who came into another segment when a day closed.
SEGMENT_CHANGES = {
    "subscriber_id": pl.String(),
    "day": pl.Date(),
    "segment": pl.Int32(),
    "before": pl.Int32(),
    "before_since": pl.Date(),  # null: since they were first known
    "market": pl.String(),
    "codes": pl.List(pl.Int32()),  # six digits each: of every dimension with every measure, as far as they are known
    "changed_us": pl.Int64(),  # the end of the day
}

LATE = {"offset": pl.Int64(), "reason": pl.String()}


@dataclass(frozen=True, slots=True)
class Compared:
    """What comparable subscribers kept of a window's baseline at a close, see core.cohorts.

    By market ("": unknown, "*": any other) the median ratio of each tier (None: too few; `tops` are the tiers' upper
    bounds), and what the calendar lets one expect.
    """

    tops: tuple[float, ...]
    ratios: Mapping[str, tuple[float | None, ...]]
    shifts: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class DayRecord:
    """How a day of a shard was closed: the cut is the offset of the first record not yet in state when it closed.

    `held`: more was to be published than may be without an operator's release. `feed`: the markets whose feed was not
    believed.
    """

    day: int  # days since 1970, local
    cut: int
    cause: str  # watermark | clock
    rulebook: str  # hash
    slices: int
    slices_done: int
    held: bool = False
    feed: tuple[str, ...] = ()
    cohorts: Mapping[str, Compared] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Mute:
    """Warnings that match are withheld until a day (included), as somebody wants it; `until` before `since`: ended.

    `matchers`: what a warning's subscriber_id, rule, kind, severity, market, area and manager have to be.
    """

    id: str
    matchers: Mapping[str, str]
    since: int  # days since 1970
    until: int
    by: str
    why: str


@dataclass(frozen=True, slots=True)
class Release:
    """What was withheld as `what` (standing | breaker), raised up to a day, may be published; of one rule or of all."""

    what: str
    rule: str | None
    through: int  # days since 1970
    by: str

    @property
    def id(self) -> str:
        """Names it: the same again is the same."""
        return f"{self.what}/{self.rule or '*'}/{self.through}"


@dataclass(frozen=True, slots=True)
class Counts:
    """Where the records of a turn ended."""

    counted: int = 0  # in state
    late: int = 0
    repeated: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """What must be published in one transaction, and the offsets that state then stands at."""

    cursor: int  # offset of the next usage record
    feedback_cursor: int
    transitions: pl.DataFrame
    contacts: pl.DataFrame
    late: pl.DataFrame
    forgotten: tuple[str, ...] = ()  # ids of episodes past keeping: tombstones
    day: DayRecord | None = None
    counts: Counts = field(default_factory=Counts)
    mutes: tuple[Mute, ...] = ()
    releases: tuple[Release, ...] = ()
    segments: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SEGMENT_CHANGES))


@dataclass(frozen=True, slots=True)
class Decisions:
    """A shard's decisions as read back: offsets that state has to be brought to, and what the world was told.

    `days` is keyed by day since 1970; `episodes` has the columns of TRANSITIONS, `contacts` those of CONTACTS.
    """

    cursor: int = 0
    feedback_cursor: int = 0
    days: Mapping[int, DayRecord] = field(default_factory=dict)
    episodes: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=TRANSITIONS))
    contacts: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=CONTACTS))
    mutes: tuple[Mute, ...] = ()
    releases: tuple[Release, ...] = ()
