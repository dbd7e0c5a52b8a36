"""What one step of a shard produces: transitions to publish, decisions to remember, counts to show."""

from dataclasses import dataclass, field

import polars as pl

# One row per transition of an episode: the whole episode as it is after it.
TRANSITIONS = {
    "episode_id": pl.String(),
    "subscriber_id": pl.String(),
    "transition": pl.String(),  # raised | acknowledged | resolved
    "rule": pl.String(),
    "rule_version": pl.Int32(),
    "kind": pl.String(),  # risk | opportunity | restricted
    "state": pl.String(),  # raised | acknowledged | resolved
    "outcome": pl.String(),  # null | recovered | churned | expired
    "severity": pl.String(),  # notice | warning | critical
    "standing": pl.Boolean(),  # kept and counted, not published: of the first judged day, or of an experimental rule
    "raised_on": pl.Date(),
    "raised_us": pl.Int64(),  # the record's occurred_at, or the end of the day closed
    "resolved_on": pl.Date(),
    "changed_us": pl.Int64(),
    "act_by": pl.Date(),
    "measure": pl.String(),
    "window_days": pl.Int32(),
    "numbers": pl.String(),  # JSON object: signal -> value at the transition that raised it
    "money_at_risk_minor": pl.Int64(),
    "consent": pl.String(),  # JSON object: channel -> true | false | null
    "orders": pl.String(),  # JSON object: channel -> "ordered" or why it is withheld: no_consent | restricted | porting
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
class DayRecord:
    """How a day of a shard was closed: the cut is the offset of the first record not yet in state when it closed."""

    day: int  # days since 1970, local
    cut: int
    cause: str  # watermark | clock
    rulebook: str  # hash
    slices: int
    slices_done: int


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
    segments: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SEGMENT_CHANGES))
