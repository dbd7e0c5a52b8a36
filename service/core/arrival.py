"""How records enter a shard: late and repeated ones are told apart, the rest changes state and meets event rules."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl

from service.core.events import Stretch
from service.core.hashing import hash64
from service.core.judge import event_rules, judge_events
from service.core.measures import ADDED, contributions
from service.core.moves import moves_in
from service.core.rules import Rulebook
from service.core.state import Aside, Config, State
from service.core.turn import LATE, Counts

# What comes too late for its day is told so. A bill ends its month: the figures of later days have been judged by it.
_OF_A_DAY = frozenset((*ADDED, "bill.closed"))
_EVENTS_PER_RECORD = 1024  # room for the order of events that a mapping makes of one record


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Records that count, as one frame per type with row, day, occurred_us, offset and seq beside the fields."""

    frames: Mapping[str, pl.DataFrame]
    late: pl.DataFrame
    counts: Counts
    unknown_days: tuple[int, ...] = ()  # of records that may be repeats: what was counted of their day is lost


def admit(state: State, stretch: Stretch, aside: Aside) -> Arrivals:
    """Decide which records count, and find their rows."""
    common = stretch.common
    if common.is_empty():
        return Arrivals({}, pl.DataFrame(schema=LATE), Counts())
    with aside():
        days = state.days_of(common["occurred_us"].to_numpy())
        horizons = _horizons(state.config, stretch)
        of_a_day = _is_of_a_day(stretch)
        is_late = of_a_day & ((-1 if state.closed_day is None else state.closed_day) - days >= horizons)
        on_time = np.flatnonzero(~is_late).astype(np.uint32)
        subscribers, ids = (hash64(common[name][on_time]) for name in ("subscriber_id", "id"))
    rows = np.full(common.height, -1, np.int32)
    rows[on_time] = state.rows_of(common["subscriber_id"][on_time], subscribers)
    with aside():
        repeated, unknown = np.zeros((2, common.height), bool)
        repeated[on_time], unknown[on_time] = state.repeats.mark(days[on_time], rows[on_time], ids, horizons[on_time])
        # What bears its own time may be told twice; usage that may have been counted already is not counted again.
        unknown &= of_a_day
        places = _Places(rows, days, common["occurred_us"].to_numpy(), common["offset"].to_numpy())
        left_out = is_late | unknown
        counted = ~left_out & ~repeated
        told = {"offset": places.offsets[left_out], "reason": _reasons(common, left_out, unknown, days, state)}
        late = pl.DataFrame(told, schema=LATE)
        counts = Counts(counted=int(counted.sum()), late=int(left_out.sum()), repeated=int(repeated.sum()))
        frames = _frames(stretch, places, counted)
        lost = tuple(np.unique(days[unknown]).tolist())
        return Arrivals(frames, late.unique("offset", maintain_order=True), counts, lost)


class _Places(NamedTuple):
    """Of each record of a stretch its row, local day, instant and offset."""

    rows: np.ndarray
    days: np.ndarray
    times_us: np.ndarray
    offsets: np.ndarray


def _frames(stretch: Stretch, places: _Places, counted: np.ndarray) -> dict[str, pl.DataFrame]:
    frames = {}
    for event_type in stretch.batch.fields:
        fields, at = stretch.typed(event_type)
        chosen = np.flatnonzero(counted[at]).astype(np.uint32)
        if chosen.size:
            at = at[chosen]
            offsets = places.offsets[at]
            columns = {
                "row": places.rows[at],
                "day": places.days[at],
                "occurred_us": places.times_us[at],
                "offset": offsets,
                "seq": offsets * _EVENTS_PER_RECORD + at - np.searchsorted(places.offsets, offsets),
            }
            mine = fields if chosen.size == fields.height else fields[chosen]
            frames[event_type] = mine.hstack(pl.DataFrame(columns))
    return frames


def arrive(state: State, arrivals: Arrivals, rulebook: Rulebook | None, aside: Aside) -> list[pl.DataFrame]:
    """Change the state by records that count and judge the event rules, if any; returns their transitions.

    An event rule sees all that was recorded of its subscriber before its record, and the record; however the log is cut
    into batches. So records are taken in rounds: each round ends, per subscriber, before its next judged record.
    """
    rules = () if rulebook is None else event_rules(rulebook)
    watched = {event_type for rule in rules for event_type in rule.on} & arrivals.frames.keys()
    if rulebook is None or not watched:
        _change(state, arrivals.frames, aside)
        return []
    frames = arrivals.frames
    with aside():
        rounds = _rounds(frames, watched)
    judged = {event_type: frames[event_type] for event_type in sorted(watched)}
    transitions: list[pl.DataFrame] = []
    for number in range(max(int(of.max()) for of in rounds.values()) + 1):
        _change(state, _in_round(frames, rounds, number), aside)
        # A judged record is taken in one round after it is judged.
        with aside():
            for event_type, events in _in_round(judged, rounds, number + 1).items():
                transitions += judge_events(state, rulebook, event_type, events)
    return transitions


def _rounds(frames: Mapping[str, pl.DataFrame], watched: set[str]) -> dict[str, np.ndarray]:
    """Per type the round of each record: how many judged ones its subscriber has had, itself counted."""
    rows = np.concatenate([frame["row"].to_numpy() for frame in frames.values()])
    seqs = np.concatenate([frame["seq"].to_numpy() for frame in frames.values()])
    judged = np.concatenate([np.full(frame.height, kind in watched) for kind, frame in frames.items()])
    rounds = np.zeros(rows.size, np.int64)
    # Few subscribers have a judged record; all others are taken in at once.
    concerned = np.flatnonzero(np.isin(rows, rows[judged]))
    order = concerned[np.lexsort((seqs[concerned], rows[concerned]))]
    total = np.cumsum(judged[order])
    starts = np.searchsorted(rows[order], rows[order])
    rounds[order] = total - (total - judged[order])[starts]
    ends = np.cumsum([frame.height for frame in frames.values()])[:-1]
    return dict(zip(frames, np.split(rounds, ends), strict=True))


def _in_round(
    frames: Mapping[str, pl.DataFrame], rounds: Mapping[str, np.ndarray], number: int
) -> dict[str, pl.DataFrame]:
    chosen = {kind: np.flatnonzero(rounds[kind] == number).astype(np.uint32) for kind in frames}
    return {kind: frames[kind][at] for kind, at in chosen.items() if at.size}


def _change(state: State, frames: Mapping[str, pl.DataFrame], aside: Aside) -> None:
    frames = {kind: frame for kind, frame in frames.items() if not frame.is_empty()}
    if not frames:
        return
    with aside():
        added = contributions(frames)
    for frame in frames.values():
        state.attributes.see(frame["row"].to_numpy(), frame["day"].to_numpy(), state.closed_day)
    _add(state, added)
    compared = state.attributes.apply(frames)
    state.holdings.apply(frames, moves_in(frames, compared, state.config.own_network))


def _add(state: State, added: Mapping[int, pl.DataFrame]) -> None:
    """Add usage by day to its panes, and to the windows of days that are closed."""
    closed = -1 if state.closed_day is None else state.closed_day
    for day, piece in added.items():
        state.panes.add(day, piece)
        if day <= closed:
            state.windows.correct(day, piece, closed)
            active = piece["row"].to_numpy()[piece["outgoing"].to_numpy() > 0]
            state.attributes.note_used(day, piece)
            state.activity.correct(closed - day, active)


def _horizons(config: Config, stretch: Stretch) -> np.ndarray:
    """For how many days after its own each record may come and still count."""
    horizons = np.full(stretch.last - stretch.first, config.horizon_days, np.int32)
    for event_type in stretch.batch.fields:
        fields, at = stretch.typed(event_type)
        if event_type in config.horizon_days_by_type:
            horizons[at] = config.horizon_days_by_type[event_type]
        if "roaming" in fields.columns and fields["roaming"].any():
            horizons[at[fields["roaming"].fill_null(value=False).to_numpy()]] = config.roaming_horizon_days
    return horizons


def _is_of_a_day(stretch: Stretch) -> np.ndarray:
    """Flags of records that belong to a day. All others bear their own time, and may be a law's, as consent is."""
    flags = np.zeros(stretch.last - stretch.first, bool)
    for event_type in _OF_A_DAY & stretch.batch.fields.keys():
        flags[stretch.typed(event_type)[1]] = True
    return flags


def _reasons(
    common: pl.DataFrame, left_out: np.ndarray, unknown: np.ndarray, days: np.ndarray, state: State
) -> list[str]:
    closed = -1 if state.closed_day is None else state.closed_day
    types = common["type"].gather(np.flatnonzero(left_out)).to_list()
    behind = (closed - days[left_out]).tolist()
    why = ("is past its horizon", "may be a repeat: what was counted of its day can no longer be read")
    return [
        f"{kind} of {late + 1} days before the open day {why[lost]}"
        for kind, late, lost in zip(types, behind, unknown[left_out].tolist(), strict=True)
    ]
