"""What of a shard may be seen from outside: warnings as committed, figures as far as the log is in state.

Readers live in other threads. Frames are swapped, never changed; columns that move in place are read under a lock that
each step holds as well.
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import polars as pl

from service.core.crosstabs import CELLS, count
from service.core.episodes import OPEN
from service.core.raising import evaluate
from service.core.record import describe, in_force, is_at_hand, last_day
from service.core.rules import Book, Roll, Rulebook
from service.core.signals import View, columns
from service.core.state import Aside, State
from service.core.turn import TRANSITIONS, Mute
from service.ports import Busy, WarningQuery

_Shown = tuple[State, pl.DataFrame, int, tuple[Mute, ...]]  # state; what is committed: episodes, cursor, mutes
OPEN_COUNTS = {"rule": pl.String(), "severity": pl.String(), "open": pl.Int64()}
_ONE = pl.lit(1, pl.Int64)
_FILTERS = ("rule", "severity", "market", "area", "manager")


class Display:
    """The window of one shard; empty until the shard runs and again when it stops."""

    def __init__(self, partition: int, book: Book) -> None:
        self.partition = partition
        self._book = book
        self._lock = threading.Lock()
        # Who waits for the lock waits in line: a step that lets readers in for a moment really does.
        self._line = threading.Lock()
        self._shown: _Shown | None = None

    @contextmanager
    def stepping(self) -> Iterator[Aside]:
        """Hold readers of moving columns off, but for what the step does aside."""
        with self._held():
            try:
                yield self._let_in
            except BaseException:
                self.hide()  # before any reader is let in: what broke off has left the state in between
                raise

    @contextmanager
    def _held(self, *, at_once: bool = False) -> Iterator[None]:
        self._acquire(at_once=at_once)
        try:
            yield
        finally:
            self._lock.release()

    def _acquire(self, *, at_once: bool = False) -> None:
        if not self._line.acquire(blocking=not at_once):
            raise Busy
        try:
            if not self._lock.acquire(blocking=not at_once):
                raise Busy
        finally:
            self._line.release()

    @contextmanager
    def _let_in(self) -> Iterator[None]:
        self._lock.release()
        try:
            yield
        finally:
            self._acquire()

    def show(self, state: State) -> None:
        """Everything that the state says is committed now."""
        self._shown = (state, state.episodes.frame, state.cursor, tuple(state.mutes.values()))

    def hide(self) -> None:
        """There is nothing to be seen any more."""
        self._shown = None

    @property
    def cursor(self) -> int | None:
        """The cursor of what is shown, or None while nothing is."""
        shown = self._shown
        return None if shown is None else shown[2]

    @property
    def open_day(self) -> int | None:
        """The day (since 1970) that is open, or None while nothing is shown or no day has begun."""
        closed_day = None if (shown := self._shown) is None else shown[0].closed_day
        return None if closed_day is None else closed_day + 1

    def subscriber(self, subscriber_id: str, *, at_once: bool = False) -> dict[str, Any] | None:
        """The front office's record, or None where nobody of that id is known here. Raises: Busy."""
        with self._held(at_once=at_once):
            if (shown := self._shown) is None:
                return None
            state, episodes, _, mutes = shown
            if at_once and not is_at_hand(state):
                raise Busy
            rulebook = self._book.on((state.closed_day or 0) + 1)
            record = describe(state, rulebook, subscriber_id, episodes, mutes)
        if record is not None:
            record["as_of"]["partition"] = self.partition
        return record

    def holder(self, msisdn: str) -> tuple[int, str] | None:
        """(since when, id) of the newest subscriber who has this phone number."""
        with self._held():
            if (shown := self._shown) is None:
                return None
            state = shown[0]
            number = state.attributes.vocabularies["msisdn"].number(msisdn)
            if number < 0:
                return None
            rows = np.flatnonzero(state.attributes["msisdn"][: len(state.roster)] == number)
            if rows.size == 0:
                return None
            told_us = state.attributes["profile_us"][rows]
            newest = int(rows[np.argmax(told_us)])
            return int(told_us.max()), str(state.roster.text(newest))

    def warnings(self, query: WarningQuery) -> pl.DataFrame:
        """The first `query.limit` warnings (columns of TRANSITIONS), newest first."""
        if (shown := self._shown) is None:
            return pl.DataFrame(schema=TRANSITIONS)
        wanted = pl.col("state").is_in(OPEN) if query.state is None else pl.col("state") == query.state
        if query.suppressed is not None:
            wanted &= pl.col("suppressed_by").is_not_null() == query.suppressed
        for name in _FILTERS:
            if (value := getattr(query, name)) is not None:
                wanted &= pl.col(name) == value
        if query.since_us is not None:
            wanted &= pl.col("raised_us") >= query.since_us
        if query.before is not None:
            last_us, last_id = query.before
            earlier = pl.col("raised_us") < last_us
            wanted &= earlier | ((pl.col("raised_us") == last_us) & (pl.col("episode_id") < last_id))
        return newest_first(_as_transitions(shown[1].filter(wanted)), query.limit)

    def open_counts(self) -> pl.DataFrame:
        """Published open warnings by rule and severity: columns of OPEN_COUNTS."""
        if (shown := self._shown) is None:
            return pl.DataFrame(schema=OPEN_COUNTS)
        told = shown[1].filter(pl.col("state").is_in(OPEN) & pl.col("suppressed_by").is_null())
        return count_open([told.select("rule", "severity", open=_ONE)])

    def segments(self) -> tuple[pl.DataFrame, int | None]:
        """Subscribers by segment and what tells segments apart (columns of CELLS), and the last closed day."""
        with self._held():
            if (shown := self._shown) is None:
                return pl.DataFrame(schema=CELLS), None
            state = shown[0]
            return count(state, self._book.on(state.closed_day or 0)), state.closed_day

    def warning(self, episode_id: str) -> dict[str, Any] | None:
        """One row of TRANSITIONS; what is only pending is no warning yet."""
        if (shown := self._shown) is None:
            return None
        wanted = (pl.col("episode_id") == episode_id) & (pl.col("state") != "pending")
        found = _as_transitions(shown[1].filter(wanted)).to_dicts()
        return found[0] if found else None

    def mutes(self) -> list[Mute]:
        """Those in force."""
        return [] if (shown := self._shown) is None else in_force(shown[3], last_day(shown[0]))

    @property
    def time(self) -> tuple[int | None, int | None]:
        """The last closed day (since 1970), and the instant (UTC microseconds) that the events have come to."""
        return (None, None) if (shown := self._shown) is None else (shown[0].closed_day, shown[0].watermark.us)

    def roll(self, rulebook: Rulebook, roll: Roll, limit: int) -> pl.DataFrame:
        """Subscribers on a list of a rulebook, with its numbers."""
        numbers = [pl.col(name) for name in roll.numbers]
        with self._held():
            if (shown := self._shown) is None:
                return pl.DataFrame(schema=dict.fromkeys(("subscriber_id", *roll.numbers), pl.Null))
            state = shown[0]
            rows = state.rows
            signals = columns(View.under(rulebook, state, rows), sorted(roll.names | set(roll.numbers)))
            met = evaluate(signals, roll.when.fill_null(value=False), rows.size)
            chosen = np.flatnonzero(met.to_numpy())[:limit]
            return signals[chosen].select(state.roster.take(rows[chosen]).alias("subscriber_id"), *numbers)


def count_open(counts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Counts (columns of OPEN_COUNTS) that may name a rule and severity several times, as one."""
    every = pl.concat([pl.DataFrame(schema=OPEN_COUNTS), *counts])
    return every.group_by("rule", "severity").agg(pl.col("open").sum()).sort("rule", "severity")


def newest_first(warnings: pl.DataFrame, limit: int) -> pl.DataFrame:
    """At most `limit` rows, by (raised_us, episode_id) descending."""
    return warnings.sort("raised_us", "episode_id", descending=True).head(limit)


def _as_transitions(episodes: pl.DataFrame) -> pl.DataFrame:
    return episodes.with_columns(transition=pl.col("state")).select(list(TRANSITIONS))
