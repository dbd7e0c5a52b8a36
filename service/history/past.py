"""A file's events through the core as a stream would bring them, to the close of a day; no broker, no clock."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import date

import polars as pl

from service.core.calendar import local_days, to_date
from service.core.rules import Rulebook
from service.core.state import Config, State, new_state
from service.core.step import close_through, step
from service.core.turn import Turn
from service.history.files import FileError
from service.wire.decode import Intake, decode
from service.wire.records import Record
from service.wire.rejects import Reject

NO_RULES = Rulebook(hash="none", rules=())
POLL = 100_000  # records of one step

# What is kept of each transition: enough to count by, and no sentences.
TOLD = ("subscriber_id", "episode_id", "rule", "severity", "state", "raised_on", "orders", "money_at_risk_minor")

Watch = Callable[[Iterable[pl.DataFrame]], Iterable[pl.DataFrame]]


@dataclass(frozen=True, slots=True)
class Lot:
    """How the records of one shard are meant: its partition, how keys are spread, the core's terms and rules."""

    config: Config
    rulebook: Rulebook = NO_RULES
    partition: int = 0
    intake: Intake = field(default_factory=lambda: Intake(1, "any"))

    @property
    def quiet(self) -> "Lot":
        """The same, where nobody is judged: of the rulebook stays what says who is in which segment."""
        return replace(self, rulebook=replace(self.rulebook, rules=()))


@dataclass(slots=True)
class Past:
    """A shard that has lived through events, and where they ended: in state, repeated, late, rejected or ignored."""

    state: State
    counted: int = 0
    repeated: int = 0
    late: int = 0
    ignored: int = 0
    rejects: list[Reject] = field(default_factory=list)
    transitions: list[pl.DataFrame] = field(default_factory=list)  # columns of TOLD
    first_day: int | None = None  # of the events, since 1970

    @property
    def counts(self) -> dict[str, int]:
        """Where the events ended: events (in state), repeated, late, rejected, ignored."""
        return {
            "events": self.counted,
            "repeated": self.repeated,
            "late": self.late,
            "rejected": len(self.rejects),
            "ignored": self.ignored,
        }

    def take(self, turn: Turn) -> None:
        """Count a turn, and keep what it said."""
        self.counted += turn.counts.counted
        self.repeated += turn.counts.repeated
        self.late += turn.counts.late
        if not turn.transitions.is_empty():
            self.transitions.append(turn.transitions.select(TOLD))


def live(events: pl.DataFrame, lot: Lot, watch: Watch = iter) -> Past:
    """Take events (columns of EVENTS, any order) into a new shard, in order of time; no day is closed at the end."""
    return live_on(Past(new_state(lot.config)), events, lot, watch)


def live_on(past: Past, events: pl.DataFrame, lot: Lot, watch: Watch = iter) -> Past:
    """As `live`, in a shard that has lived already; returns it."""
    ordered = events.sort("occurred_us", maintain_order=True, nulls_last=True)
    pieces = [ordered.slice(start, POLL) for start in range(0, ordered.height, POLL)]
    offset = past.state.cursor
    for piece in watch(pieces):
        decoded = decode(list(_records(piece, lot.partition, offset)), lot.intake)
        offset += piece.height
        for turn in step(past.state, lot.rulebook, decoded.batch):
            past.take(turn)
        past.ignored += sum(decoded.ignored.values())
        past.rejects += decoded.rejects
    return past


def live_through(
    events: pl.DataFrame, lot: Lot, day: int, watch: Watch = iter, *, judged: bool = False
) -> tuple[Past, date]:
    """As `live`, of the events up to and including local `day` (days since 1970), and close it.

    `judged`: the rules are taken for old ones, so that what is true on the first day is said and not standing.

    Returns: the shard, and the day of the last event there was, be it after the one that was closed.
    Raises: FileError where there is no event by then.
    """
    zone = lot.config.zone
    dated = events.filter(pl.col("occurred_us").is_not_null())
    days = local_days(dated["occurred_us"].to_numpy(), zone)
    by_then = pl.concat([dated.filter(pl.Series(days <= day)), events.filter(pl.col("occurred_us").is_null())])
    # A file is all there is: no feed that could be doubted, no other shard to share what may be said a day with.
    lot = replace(lot, config=replace(lot.config, feed_gate=False, partitions=1))
    past = Past(new_state(lot.config))
    past.state.judged = judged
    live_on(past, by_then, lot, watch)
    if past.state.closed_day is None:
        begins = f"the first is of {to_date(int(days.min()))}" if days.size else "there are none at all"
        raise FileError(f"there are no events on or before {to_date(day)}; {begins}")
    for turn in close_through(past.state, lot.rulebook, day, "clock"):
        past.take(turn)
    past.first_day = int(days.min())
    return past, to_date(int(days.max()))


def _records(events: pl.DataFrame, partition: int, first_offset: int) -> Iterable[Record]:
    keys = events["subscriber_id"].cast(pl.Binary)
    for at, (key, value) in enumerate(zip(keys.to_list(), events["value"].to_list(), strict=True)):
        # Without a broker there is no broker's time to compare a record's own with.
        yield Record("", partition, first_offset + at, -1, key, value)
