"""How records enter a shard: late and repeated ones are told apart, the rest changes state and meets event rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from service.core.events import Batch
from service.core.hashing import hash64
from service.core.judge import judge_events
from service.core.measures import PANE, contributions
from service.core.rules import Rule
from service.core.state import State
from service.core.turn import LATE, Counts

_EVENTS_PER_RECORD = 1024  # room for the order of events that a mapping makes of one record


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Records that count, as one frame per type with row, day, occurred_us, offset and seq beside the fields."""

    frames: Mapping[str, pl.DataFrame]
    late: pl.DataFrame
    counts: Counts


def admit(state: State, batch: Batch, span: tuple[int, int]) -> Arrivals:
    """Decide which records of `batch[span]` count, and find their rows."""
    first, last = span
    common = batch.common.slice(first, last - first)
    if common.is_empty():
        return Arrivals({}, pl.DataFrame(schema=LATE), Counts())
    days = state.days_of(common["occurred_us"].to_numpy())
    is_late = _is_late(state, batch, span, days)
    rows = np.full(common.height, -1, np.int32)
    on_time = np.flatnonzero(~is_late)
    rows[on_time] = state.rows_of(common["subscriber_id"].gather(on_time))
    repeated = np.zeros(common.height, bool)
    repeated[on_time] = state.repeats.mark(days[on_time], rows[on_time], hash64(common["id"].gather(on_time)))
    counted = ~is_late & ~repeated
    state.attributes.see(rows[counted], days[counted])
    offsets = common["offset"].to_numpy()
    frames = {}
    for event_type, frame in batch.fields.items():
        at = frame["at"].to_numpy().astype(np.int64) - first
        inside = np.flatnonzero((at >= 0) & (at < common.height))
        inside = inside[counted[at[inside]]]
        if inside.size:
            at = at[inside]
            frames[event_type] = frame[inside].with_columns(
                row=pl.Series(rows[at]),
                day=pl.Series(days[at]),
                occurred_us=common["occurred_us"].gather(at),
                offset=pl.Series(offsets[at]),
                seq=pl.Series(offsets[at] * _EVENTS_PER_RECORD + at - np.searchsorted(offsets, offsets[at])),
            )
    late = pl.DataFrame({"offset": offsets[is_late], "reason": _reasons(common, is_late, days, state)}, schema=LATE)
    counts = Counts(counted=int(counted.sum()), late=int(is_late.sum()), repeated=int(repeated.sum()))
    return Arrivals(frames, late.unique("offset", maintain_order=True), counts)


def arrive(state: State, arrivals: Arrivals, rules: Sequence[Rule]) -> list[pl.DataFrame]:
    """Change the state by records that count and judge the event rules; returns their transitions.

    An event rule sees all that was recorded of its subscriber before its record, and the record; however the log is cut
    into batches. So records are taken in rounds: each round ends, per subscriber, before its next judged record.
    """
    watched = {event_type for rule in rules for event_type in rule.on} & arrivals.frames.keys()
    if not watched:
        _change(state, arrivals.frames)
        return []
    frames = _rounds(arrivals.frames, watched)
    transitions: list[pl.DataFrame] = []
    last = max(int(frame["round"].to_numpy().max()) for frame in frames.values())
    for number in range(last + 1):
        _change(state, {kind: frame.filter(pl.col("round") == number) for kind, frame in frames.items()})
        for event_type in sorted(watched):
            # A judged record is taken in one round after it is judged.
            judged = frames[event_type].filter(pl.col("round") == number + 1)
            transitions += judge_events(state, rules, event_type, judged)
    return transitions


def _rounds(frames: Mapping[str, pl.DataFrame], watched: set[str]) -> dict[str, pl.DataFrame]:
    order = pl.concat(
        [f.select("row", "seq", at="at", watched=pl.lit(kind in watched)) for kind, f in frames.items()]
    ).sort("row", "seq")
    order = order.select("at", round=pl.col("watched").cast(pl.Int32).cum_sum().over("row"))
    return {kind: frame.join(order, on="at", how="left", maintain_order="left") for kind, frame in frames.items()}


def _change(state: State, frames: Mapping[str, pl.DataFrame]) -> None:
    frames = {kind: frame for kind, frame in frames.items() if not frame.is_empty()}
    if not frames:
        return
    _sum(state, frames)
    state.attributes.apply(frames)
    state.holdings.apply(frames)


def _sum(state: State, frames: Mapping[str, pl.DataFrame]) -> None:
    closed = -1 if state.closed_day is None else state.closed_day
    added = contributions(frames)
    for day in added["day"].unique().sort().to_list():
        piece = added.filter(pl.col("day") == day).select(list(PANE))
        state.panes.add(day, piece)
        if day <= closed:
            state.windows.correct(day, piece, closed)
            state.attributes.note_outgoing(day, piece.filter(pl.col("outgoing") > 0)["row"].to_numpy())


def _is_late(state: State, batch: Batch, span: tuple[int, int], days: np.ndarray) -> np.ndarray:
    """Of a day closed longer ago than its type may come late."""
    config = state.config
    closed = -1 if state.closed_day is None else state.closed_day
    behind = closed - days  # 0: the last closed day
    suspect = behind >= min(config.horizon_days, *config.horizon_days_by_type.values(), config.roaming_horizon_days)
    if not suspect.any():
        return np.zeros(days.size, bool)
    types = batch.common["type"].slice(span[0], days.size)
    horizon = types.replace_strict(
        dict(config.horizon_days_by_type), default=config.horizon_days, return_dtype=pl.Int32
    ).to_numpy().copy()  # fmt: skip
    for frame in batch.fields.values():
        if "roaming" in frame.columns:
            at = frame.filter(pl.col("at").is_between(span[0], span[1] - 1) & pl.col("roaming"))["at"].to_numpy()
            horizon[at.astype(np.int64) - span[0]] = config.roaming_horizon_days
    late: np.ndarray = behind >= horizon
    return late


def _reasons(common: pl.DataFrame, is_late: np.ndarray, days: np.ndarray, state: State) -> list[str]:
    closed = -1 if state.closed_day is None else state.closed_day
    types = common["type"].gather(np.flatnonzero(is_late)).to_list()
    behind = (closed - days[is_late]).tolist()
    return [
        f"{kind} of {late + 1} days before the open day is past its horizon"
        for kind, late in zip(types, behind, strict=True)
    ]
