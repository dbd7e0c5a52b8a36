"""One step of a shard: records in offset order become state, and whatever must be said because of them.

records ──► split where the watermark closes a day ──► apply, event rules ──► Turn
                      └─► close the day ──► judge ──► Turns, one per slice
"""

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import polars as pl

from service.core.arrival import admit, arrive
from service.core.calendar import to_date
from service.core.episodes import empty_transitions, stack
from service.core.events import Batch, Stretch
from service.core.hashing import hash64
from service.core.judge import Found, conclude, daily_rules, event_rules, judge_rows
from service.core.raising import orders_of
from service.core.rules import Rulebook
from service.core.segments import assign, changes
from service.core.state import Aside, State
from service.core.turn import CONTACTS, LATE, SEGMENT_CHANGES, Counts, DayRecord, Turn

SLICE = 4000  # transitions and changes of segment a slice is planned for; a transaction carries at most 5,000
SLICE_ROWS = 1 << 15  # rows that a close moves on while nobody may read


class Due(NamedTuple):
    """A day that is due, the offset before which its close lies, and what brought it about."""

    day: int
    cut: int
    cause: str


def step(state: State, rulebook: Rulebook, batch: Batch, aside: Aside = nullcontext) -> list[Turn]:
    """Take a batch into the state; returns the turns to publish, in order, each in a transaction of its own."""
    turns: list[Turn] = []
    start = 0
    for at, day, cut in _cuts(state, batch):
        if at > start:
            turns.append(_apply(state, rulebook, Stretch(batch, start, at), cut, aside))
            start = at
        turns += close(state, rulebook, Due(day, cut, "watermark"), aside)
    turns.append(_apply(state, rulebook, Stretch(batch, start, batch.common.height), batch.end, aside))
    return turns


def close_through(state: State, rulebook: Rulebook, day: int, cause: str, aside: Aside = nullcontext) -> list[Turn]:
    """Close every day up to and including `day` at the present cursor: a clock or the end of the input says so."""
    if state.closed_day is None:
        return []
    return [
        turn
        for due in range(state.closed_day + 1, day + 1)
        for turn in close(state, rulebook, Due(due, state.cursor, cause), aside)
    ]


def close(state: State, rulebook: Rulebook, due: Due, aside: Aside = nullcontext) -> list[Turn]:
    """Close one day and judge it; the transitions come in slices that each advance the day record."""
    state.cursor = due.cut
    found, rules = Found(), daily_rules(rulebook)
    for rows in _moved(state, rulebook, due.day, aside):
        with aside():
            judge_rows(state, rules, rows, found)
    return _told(state, rulebook, found, DayRecord(due.day, due.cut, due.cause, rulebook.hash, 0, 0), aside)


def resume(state: State, rulebook: Rulebook) -> list[Turn]:
    """Go on with a close that was interrupted between two slices: judge again and say what was not said yet."""
    record = state.last_close
    if record is None or record.slices_done >= record.slices:
        return []
    found, rules = Found(), daily_rules(rulebook)
    for rows in _slices_of_rows(state):
        judge_rows(state, rules, state.roster.named(rows), found)
    return _told(state, rulebook, found, record, nullcontext)


def close_quietly(state: State, rulebook: Rulebook, day: int, aside: Aside = nullcontext) -> None:
    """Move windows, figures and segments on to the end of `day`, judging no rule."""
    for _ in _moved(state, rulebook, day, aside):
        with aside():
            pass


def _moved(state: State, rulebook: Rulebook, day: int, aside: Aside) -> Iterator[np.ndarray]:
    """Move rows on to the end of `day`, a slice after another; each is yielded when it stands there."""
    with aside():
        moves = state.windows.moves(day, state.panes)
        state.holdings.close(day)
    for rows in _slices_of_rows(state):
        first, last = int(rows[0]), int(rows[-1]) + 1
        state.windows.close(moves, first, last)
        pane = moves.of(0, first, last)
        active = pane["row"].to_numpy()[pane["outgoing"].to_numpy() > 0]
        state.attributes.note_outgoing(day, active)
        state.activity.close(first, last, active)
        state.moving = (day, last)
        named = state.roster.named(rows)
        assign(state, rulebook, named, day)
        yield named
    state.closed_day, state.moving = day, None
    state.windows.mend(day, state.panes)
    state.repeats.forget(day)
    state.panes.forget(day - state.windows.reach_days)
    state.windows.forget(day - state.windows.reach_days)


def _slices_of_rows(state: State) -> Iterator[np.ndarray]:
    count = len(state.roster)
    for first in range(0, count, SLICE_ROWS):
        yield np.arange(first, min(first + SLICE_ROWS, count), dtype=np.int32)


def _told(state: State, rulebook: Rulebook, found: Found, record: DayRecord, aside: Aside) -> list[Turn]:
    with aside():
        transitions = conclude(state, rulebook, found, record.cut, standing=not state.judged)
        # Where all begin, at a shard's first close, is no change.
        moved = changes(state, rulebook, record.day) if state.judged else pl.DataFrame(schema=SEGMENT_CHANGES)
    if not record.slices:
        record = replace(record, slices=max(1, -(-(transitions.height + moved.height) // SLICE)))
    return _publish_close(state, transitions, moved, record)


def retrace(
    state: State, rulebook: Rulebook, batch: Batch, cuts: Mapping[int, int], aside: Aside = nullcontext
) -> None:
    """Take records into the state again after a restore: days close at the recorded cuts, nothing is judged or said.

    `cuts` maps days to the offsets at which they closed; those at or beyond `batch.end` wait for the next batch, and
    after the last one for `retrace_end`.
    """
    offsets = batch.common["offset"].to_numpy()
    start = 0
    for day, cut in sorted(cuts.items()):
        if state.closed_day is not None and day <= state.closed_day:
            continue
        if cut >= batch.end:
            break
        at = int(np.searchsorted(offsets, cut, side="left"))
        _take_in(state, Stretch(batch, start, at), aside)
        start = max(start, at)
        close_quietly(state, rulebook, day, aside)
    _take_in(state, Stretch(batch, start, batch.common.height), aside)
    state.cursor = batch.end


def retrace_end(state: State, rulebook: Rulebook, cuts: Mapping[int, int], aside: Aside = nullcontext) -> None:
    """Close the days that were cut at the cursor itself, once the tail is in."""
    for day, cut in sorted(cuts.items()):
        if cut <= state.cursor and (state.closed_day is None or day > state.closed_day):
            close_quietly(state, rulebook, day, aside)


def _take_in(state: State, stretch: Stretch, aside: Aside) -> None:
    _advance(state, stretch.common)
    arrivals = admit(state, stretch, aside)
    arrive(state, arrivals, (), aside)
    # They may have counted when they came, and what they told of nobody has: better no figure than a wrong one.
    for day in arrivals.unknown_days:
        state.windows.lose(day, state.closed_day or 0)


def _apply(state: State, rulebook: Rulebook, stretch: Stretch, cursor: int, aside: Aside) -> Turn:
    arrivals = admit(state, stretch, aside)
    transitions = stack(arrive(state, arrivals, event_rules(rulebook), aside))
    state.cursor = cursor
    return Turn(
        cursor=cursor,
        feedback_cursor=state.feedback_cursor,
        transitions=transitions,
        contacts=state.episodes.contact(orders_of(transitions)),
        late=arrivals.late,
        counts=arrivals.counts,
    )


def _advance(state: State, common: pl.DataFrame) -> None:
    """Move the watermark over records whose closes are known already."""
    if not common.is_empty():
        _begin(state, common)
        state.watermark.advance(common["occurred_us"].to_numpy(), lambda: hash64(common["subscriber_id"]))


def _begin(state: State, common: pl.DataFrame) -> None:
    """The first record of a shard says which day is the first that can close."""
    if state.closed_day is None:
        first = int(state.days_of(common["occurred_us"].to_numpy()[:1])[0])
        state.closed_day = first - 1
        state.windows.begin(state.closed_day)


def _cuts(state: State, batch: Batch) -> list[tuple[int, int, int]]:
    """(row in the batch, day, offset) of each close that the batch's records bring about, in order."""
    common = batch.common
    if common.is_empty():
        return []
    _begin(state, common)
    offsets = common["offset"].to_numpy()
    after = state.watermark.advance(common["occurred_us"].to_numpy(), lambda: hash64(common["subscriber_id"]))
    cuts = []
    day = (state.closed_day or 0) + 1
    while after[-1] >= (due := state.due_us(day)):
        # Events that came under one offset stay together: the cut lies before the first of them.
        cut = int(offsets[np.searchsorted(after, due)])
        cuts.append((int(np.searchsorted(offsets, cut)), day, cut))
        day += 1
    return cuts


def _publish_close(state: State, transitions: pl.DataFrame, moved: pl.DataFrame, record: DayRecord) -> list[Turn]:
    forgotten = state.episodes.forget(record.day - state.config.keep_days)
    state.judged = True
    contacts = state.episodes.contact(orders_of(transitions))
    mine, theirs = _dealt(transitions, record), _dealt(contacts, record)
    # A change is not remembered as an episode is: what slices that are done have said is not said again.
    changed = _dealt(moved.filter(pl.Series(_numbers(moved, record) >= record.slices_done)), record)
    turns = []
    for number in range(record.slices_done, record.slices):
        state.last_close = replace(record, slices_done=number + 1)
        turns.append(
            Turn(
                cursor=state.cursor,
                feedback_cursor=state.feedback_cursor,
                transitions=mine[number],
                contacts=theirs[number],
                late=pl.DataFrame(schema=LATE),
                forgotten=forgotten if number == record.slices - 1 else (),
                day=state.last_close,
                segments=changed[number],
            )
        )
    return turns


def _dealt(frame: pl.DataFrame, record: DayRecord) -> list[pl.DataFrame]:
    """Lines by slice, all of a subscriber in one, the same at any time.

    What other rules say of subscribers whose slice is done, after an interruption, goes with the next.
    """
    if record.slices == 1:
        return [frame]
    numbers = np.maximum(_numbers(frame, record), record.slices_done)
    return [frame.filter(pl.Series(numbers == number)) for number in range(record.slices)]


def _numbers(frame: pl.DataFrame, record: DayRecord) -> np.ndarray:
    """The slice (int64) that each line's subscriber is of."""
    return (hash64(frame["subscriber_id"]) % np.uint64(record.slices)).astype(np.int64)


def apply_feedback(state: State, rulebook: Rulebook, frame: pl.DataFrame) -> Turn:
    """Take in what people and channels report: acknowledgements and contact results.

    `frame` has columns offset, type, subscriber_id, episode_id, by, channel, outcome, occurred_us. Days are not closed
    here: see `close_through`.
    """
    del rulebook  # feedback is judged by no rule yet
    acknowledged = frame.filter(pl.col("type") == "warning.acknowledged").unique(
        "episode_id", keep="first", maintain_order=True
    )
    lines = state.episodes.frame.filter(pl.col("state") == "raised").join(
        acknowledged.select("episode_id", "by", told_us="occurred_us", told_at="offset"), on="episode_id"
    )
    changed = lines.with_columns(
        transition=pl.lit("acknowledged"),
        state=pl.lit("acknowledged"),
        acknowledged_by="by",
        acknowledged_us="told_us",
        changed_us="told_us",
        at="told_at",
    )
    transitions = stack([changed]) if not changed.is_empty() else empty_transitions()
    state.episodes.change(transitions)
    reported = frame.filter(pl.col("type") == "contact.reported")
    contacts = reported.select(
        "subscriber_id",
        "channel",
        day=pl.Series([to_date(d) for d in state.days_of(reported["occurred_us"].to_numpy()).tolist()], dtype=pl.Date),
        episode_id="episode_id",
        outcome="outcome",
    ).select(pl.col(name).cast(dtype) for name, dtype in CONTACTS.items())  # fmt: skip
    if not frame.is_empty():
        state.feedback_cursor = int(frame["offset"].max()) + 1  # type: ignore[arg-type]  # offsets are integers
    return Turn(
        cursor=state.cursor,
        feedback_cursor=state.feedback_cursor,
        transitions=transitions,
        contacts=state.episodes.contact(contacts),
        late=pl.DataFrame(schema=LATE),
        counts=Counts(),
    )
