"""One step of a shard: records in offset order become state, and whatever must be said because of them.

records ──► split where the watermark closes a day ──► apply, event rules ──► Turn
                      └─► close the day ──► judge ──► Turns, one per slice
"""

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import polars as pl

from service.core.arrival import admit, arrive
from service.core.books import fresh_rules
from service.core.closing import Close, Concluded, conclude
from service.core.cohorts import Cohorts, compare
from service.core.episodes import stack
from service.core.events import Batch, Stretch
from service.core.feed import volumes_of
from service.core.hashing import hash64
from service.core.judge import Found, judge_rows
from service.core.publication import orders_of
from service.core.rules import Book, Rulebook
from service.core.segments import assign, changes
from service.core.state import Aside, State
from service.core.turn import LATE, SEGMENT_CHANGES, DayRecord, Turn

SLICE = 4000  # transitions and changes of segment a slice is planned for; a transaction carries at most 5,000
SLICE_ROWS = 1 << 15  # rows that a close moves on while nobody may read


class Due(NamedTuple):
    """A day that is due, the offset before which its close lies, and what brought it about."""

    day: int
    cut: int
    cause: str


def step(state: State, book: Book, batch: Batch, aside: Aside = nullcontext) -> list[Turn]:
    """Take a batch into the state; returns the turns to publish, in order, each in a transaction of its own."""
    turns: list[Turn] = []
    start = 0
    for at, day, cut in _cuts(state, batch):
        if at > start:
            turns.append(_apply(state, book, Stretch(batch, start, at), cut, aside))
            start = at
        turns += close(state, book, Due(day, cut, "watermark"), aside)
    turns.append(_apply(state, book, Stretch(batch, start, batch.common.height), batch.end, aside))
    return turns


def close_through(state: State, book: Book, day: int, cause: str, aside: Aside = nullcontext) -> list[Turn]:
    """Close every day up to and including `day` at the present cursor: a clock or the end of the input says so."""
    if state.closed_day is None:
        return []
    return [
        turn
        for due in range(state.closed_day + 1, day + 1)
        for turn in close(state, book, Due(due, state.cursor, cause), aside)
    ]


def close(state: State, book: Book, due: Due, aside: Aside = nullcontext) -> list[Turn]:
    """Close one day and judge it; the transitions come in slices that each advance the day record."""
    state.cursor, rulebook = due.cut, book.on(due.day)
    close_quietly(state, book, due.day, aside)
    record = DayRecord(
        due.day,
        due.cut,
        due.cause,
        rulebook.hash,
        slices=0,
        slices_done=0,
        feed=tuple(sorted(state.feed.withheld.get(due.day, ()))),
        cohorts=state.cohorts.table,
    )
    return _judged(state, rulebook, book, record, aside)


def resume(state: State, book: Book) -> list[Turn]:
    """Go on with a close that was interrupted between two slices: judge again and say what was not said yet.

    It goes on with the rulebook that it began with, where that is known.
    """
    record = state.last_close
    if record is None or record.slices_done >= record.slices:
        return []
    return _judged(state, book.named(record.rulebook) or book.on(record.day), book, record, nullcontext)


def close_quietly(state: State, book: Book, day: int, aside: Aside = nullcontext) -> None:
    """Move windows, figures and segments on to the end of `day`, judging no rule."""
    rulebook = book.on(day)
    _move(state, day, aside)
    with aside():
        if state.config.feed_gate:
            horizons = (state.config.horizon_days, state.config.keep_days)
            count = partial(volumes_of, state.panes, state.attributes)
            state.feed.close(day, count, rulebook.limits, horizons)
        state.cohorts = Cohorts(compare(state.windows, state.attributes, state.rows, rulebook, day))
    for rows in _slices_of_rows(state):
        assign(state, rulebook, state.roster.named(rows), day)
        with aside():
            pass


def _move(state: State, day: int, aside: Aside) -> None:
    """Move rows on to the end of `day`, a slice after another; between them readers find all of a row moved or none."""
    with aside():
        moves = state.windows.moves(day, state.panes)
        state.holdings.close(day)
    for rows in _slices_of_rows(state):
        first, last = int(rows[0]), int(rows[-1]) + 1
        state.windows.close(moves, first, last)
        pane = moves.of(0, first, last)
        active = pane["row"].to_numpy()[pane["outgoing"].to_numpy() > 0]
        state.attributes.note_used(day, pane)
        state.activity.close(first, last, active)
        state.moving = (day, last)
        with aside():
            pass
    state.closed_day, state.moving = day, None
    state.windows.mend(day, state.panes)
    state.repeats.forget(day)
    state.panes.forget(day - state.windows.reach_days)
    state.windows.forget(day - state.windows.reach_days)


def _slices_of_rows(state: State) -> Iterator[np.ndarray]:
    count = len(state.roster)
    for first in range(0, count, SLICE_ROWS):
        yield np.arange(first, min(first + SLICE_ROWS, count), dtype=np.int32)


def _judged(state: State, rulebook: Rulebook, book: Book, record: DayRecord, aside: Aside) -> list[Turn]:
    """What is to be said of a day that has closed, from the slice on that comes next."""
    found, is_new = Found(), not record.slices
    for rows in _slices_of_rows(state):
        with aside():
            judge_rows(state, rulebook, state.roster.named(rows), found)
    ended_us = state.due_us(record.day) - state.config.grace_us
    fresh = fresh_rules(book.on(record.day - 1), rulebook) if state.judged else None
    with aside():
        lets_go = is_new or book.named(record.rulebook) is not None
        closing = Close(record.day, ended_us, record.cut, fresh, None if is_new else record.held, lets_go)
        said = conclude(state, rulebook, found, closing)
        # Where all begin, at a shard's first close, is no change.
        moved = changes(state, rulebook, record.day) if state.judged else pl.DataFrame(schema=SEGMENT_CHANGES)
    if is_new:
        told = said.transitions.height + moved.height
        record = replace(record, held=said.held, slices=max(1, -(-told // SLICE)))
    return _publish_close(state, said, moved, record)


def retrace(state: State, book: Book, batch: Batch, cuts: Mapping[int, int], aside: Aside = nullcontext) -> None:
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
        close_quietly(state, book, day, aside)
    _take_in(state, Stretch(batch, start, batch.common.height), aside)
    state.cursor = batch.end


def retrace_end(state: State, book: Book, cuts: Mapping[int, int], aside: Aside = nullcontext) -> None:
    """Close the days that were cut at the cursor itself, once the tail is in."""
    for day, cut in sorted(cuts.items()):
        if cut <= state.cursor and (state.closed_day is None or day > state.closed_day):
            close_quietly(state, book, day, aside)


def _take_in(state: State, stretch: Stretch, aside: Aside) -> None:
    _advance(state, stretch.common)
    arrivals = admit(state, stretch, aside)
    arrive(state, arrivals, None, aside)
    # They may have counted when they came, and what they told of nobody has: better no figure than a wrong one.
    for day in arrivals.unknown_days:
        state.windows.lose(day, state.closed_day or 0)


def _apply(state: State, book: Book, stretch: Stretch, cursor: int, aside: Aside) -> Turn:
    arrivals = admit(state, stretch, aside)
    transitions = stack(arrive(state, arrivals, book.on((state.closed_day or 0) + 1), aside))
    state.cursor = cursor
    return Turn(
        cursor=cursor,
        feedback_cursor=state.feedback_cursor,
        transitions=transitions,
        contacts=state.episodes.contacts_like(orders_of(transitions)),
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


def _publish_close(state: State, said: Concluded, moved: pl.DataFrame, record: DayRecord) -> list[Turn]:
    forgotten = (*said.dropped, *state.episodes.forget(record.day - state.config.keep_days))
    state.judged = True
    contacts = state.episodes.contacts_like(orders_of(said.transitions))
    mine, theirs = _dealt(said.transitions, record), _dealt(contacts, record)
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
