"""A shard's past from its sealed days: it stands at an earlier day again, and moves on day by day.

Of the past are usage and all that is counted of it. What the customer system told (bundles, bills, consent) is known
only as of the snapshot; who has another status since a later day was in normal service before it.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from service.core.activity import Activity
from service.core.attributes import UNKNOWN_DAY
from service.core.calendar import to_date
from service.core.catalogue.usage import ACTIVE, COMPARED, GAP
from service.core.frames import from_frames
from service.core.measures import MEASURES
from service.core.panes import Panes
from service.core.rules import Rulebook
from service.core.signals import View, columns
from service.core.state import Config, State
from service.core.windows import YEAR_DAYS, Windows
from service.history.files import FileError
from service.ports import Snapshot

_SUM = re.compile(rf"({'|'.join(MEASURES)})_(\d+)d(_before|_last_year)?")
_REPEATS = "repeats/"
_LAST = {f"last_{measure}": measure for measure in ("outgoing", "voice", "data", "sms", "spend")}
_MOVING = frozenset({"status", "segment", *_LAST})
_SILENT_DAYS = 90  # who was not active for longer counts as silent since first seen


@dataclass(frozen=True, slots=True)
class _Day:
    """A day's usage: rows, and per measure that was used the amounts, as narrow as they are."""

    rows: np.ndarray
    amounts: Mapping[str, np.ndarray]

    @property
    def active(self) -> np.ndarray:
        """Rows that used anything outgoing."""
        outgoing = self.amounts["outgoing"]
        return self.rows[outgoing > 0]


@dataclass(slots=True)
class Days:
    """Days of usage, each read once and kept as long as a window holds it."""

    panes: Panes
    measures: set[str] = field(default_factory=lambda: {"outgoing"})  # what is asked for of each day
    kept: dict[int, _Day] = field(default_factory=dict)

    def __getitem__(self, day: int) -> _Day:
        if day not in self.kept:
            total = self.panes.total(day)
            used = {name: _narrow(total[name].to_numpy()) for name in self.measures}
            self.kept[day] = _Day(total["row"].to_numpy(), used)
        return self.kept[day]

    def forget(self, before: int) -> None:
        """No day before that one is asked for any more."""
        for day in [day for day in self.kept if day < before]:
            del self.kept[day]


def _narrow(amounts: np.ndarray) -> np.ndarray:
    if not amounts.size:
        return amounts
    least, most = int(amounts.min()), int(amounts.max())
    fits = (kind for kind in (np.int16, np.int32) if np.iinfo(kind).min <= least and most <= np.iinfo(kind).max)
    return amounts.astype(next(fits, np.int64))


class AskedWindows(Windows):
    """Sums of those windows only that somebody asks for: each is summed when it is first taken, then moved on."""

    def __init__(self, config: Config, days: Days, rows: int) -> None:
        super().__init__(config.windows_days, year_on_year=config.year_on_year, photo_month=config.photo_month)
        self.day = 0
        self._days = days
        self._rows = rows
        self._asked: dict[str, np.ndarray] = {}

    def take(self, name: str, rows: np.ndarray) -> np.ndarray:
        """See Windows. With no rows it is only noted that the sum will be asked for."""
        if not rows.size:
            self._days.measures.add(_span(name)[0])
            return np.empty(0, np.int64)
        if name not in self._asked:
            self._asked[name] = self._summed(name)
        sums = self._asked[name]
        return sums if rows.size == sums.size else sums[rows]

    def is_known(self, name: str, closed_day: int) -> bool:
        """See Windows."""
        return _SUM.fullmatch(name) is not None or super().is_known(name, closed_day)

    def stand(self, day: int) -> None:
        """Stand at the close of a day: what is asked for is summed anew."""
        self.day = day
        self._asked.clear()

    def move(self) -> None:
        """Move on by a day."""
        self.day += 1
        for name, sums in self._asked.items():
            measure, first, last = _span(name)
            _add(sums, self._days[self.day - first], measure, 1)
            _add(sums, self._days[self.day - last], measure, -1)
        reach = max((_span(name)[2] for name in self._asked), default=1)
        self._days.forget(self.day - reach + 1)

    def _summed(self, name: str) -> np.ndarray:
        measure, first, last = _span(name)
        sums = np.zeros(self._rows, np.int64)
        for day in range(self.day - last + 1, self.day - first + 1):
            _add(sums, self._days[day], measure, 1)
        return sums


def _span(name: str) -> tuple[str, int, int]:
    """(measure, first, last) of a sum's days, by how long ago they were; see Windows."""
    found = _SUM.fullmatch(name)
    if found is None:  # the photographed month is in no snapshot as of an earlier day
        raise FileError(f"{name} cannot be had of sealed days")
    days = int(found[2])
    first = {None: 0, "_before": days, "_last_year": YEAR_DAYS}[found[3]]
    return found[1], first, 3 * days if found[3] == "_before" else first + days


def _add(sums: np.ndarray, day: _Day, measure: str, sign: int) -> None:
    amounts = day.amounts[measure]
    if sign > 0:
        sums[day.rows] += amounts
    else:
        sums[day.rows] -= amounts


@dataclass(frozen=True)
class SealedView(View):
    """As View, of all rows; what stands still over the days is looked up once."""

    still: dict[str, pl.Series] = field(default_factory=dict)

    def raw(self, names: Iterable[str]) -> pl.DataFrame:
        """See View."""
        wanted = frozenset(names)
        fixed = sorted(name for name in wanted if not _moves(name))
        if lacking := [name for name in fixed if name not in self.still]:
            self.still.update(super().raw(lacking).select(lacking).to_dict())
        return super().raw(wanted.difference(fixed)).with_columns(self.still[name] for name in fixed)


def _moves(name: str) -> bool:
    """Whether a raw column is another one on another day."""
    return (
        name in _MOVING or _SUM.fullmatch(name) is not None or name.startswith((ACTIVE, GAP)) or name.endswith(COMPARED)
    )


@dataclass(frozen=True)
class _Asking(View):
    """Nobody's view, which keeps the names of the raw columns that it is asked for."""

    raws: set[str] = field(default_factory=set)

    def raw(self, names: Iterable[str]) -> pl.DataFrame:
        """See View."""
        wanted = frozenset(names)
        self.raws.update(wanted)
        return super().raw(wanted)


@dataclass(slots=True)
class Sealed:
    """A shard that stands at a day of its past: its state says what was true at the close of that day."""

    state: State
    days: Days
    windows: AskedWindows
    first_day: int  # the earliest that is stored
    last_day: int
    _statuses: np.ndarray = field(init=False)  # as of the snapshot
    _still: dict[str, pl.Series] = field(default_factory=dict)
    _lasts: set[str] = field(default_factory=lambda: {"last_outgoing"})  # asked for

    def __post_init__(self) -> None:
        """Remember what moves with the days and cannot be counted again."""
        self._statuses = self.state.attributes["status"].copy()

    def view(self, rulebook: Rulebook) -> View:
        """All rows, those that are free as well, under a rulebook."""
        rows = np.arange(len(self.state.roster), dtype=np.int32)
        view = View.under(rulebook, self.state, rows)
        return SealedView(view.state, view.rows, view.derived, view.tops, self._still)

    def ask(self, rulebook: Rulebook, names: Iterable[str]) -> None:
        """Say, before it stands anywhere, which signals will be asked for under a rulebook."""
        view = View.under(rulebook, self.state, np.empty(0, np.int32))
        asking = _Asking(view.state, view.rows, view.derived, view.tops)
        columns(asking, names)
        self._lasts |= asking.raws & _LAST.keys()
        self.days.measures |= {_LAST[name] for name in self._lasts}

    def stand(self, day: int) -> None:
        """Stand at the close of `day`."""
        state = self.state
        state.closed_day = day
        self._take_status_back()
        self.windows.stand(day)
        for name in self._lasts:
            last = state.attributes.writable(name)
            last[last > day] = UNKNOWN_DAY
        state.activity = Activity(max(state.config.windows_days))
        state.activity.grow(len(state.roster))
        for ago in range(min(_SILENT_DAYS, day - self.first_day + 1) - 1, -1, -1):
            self._note_used(day - ago)
            state.activity.correct(ago, self.days[day - ago].active)

    def move(self) -> None:
        """Let the next day close."""
        state = self.state
        self.windows.move()
        day = state.closed_day = self.windows.day
        self._take_status_back()
        self._note_used(day)
        state.activity.close(0, len(state.roster), self.days[day].active)

    def _note_used(self, day: int) -> None:
        of = self.days[day]
        for name in self._lasts:
            self.state.attributes.writable(name)[of.rows[of.amounts[_LAST[name]] > 0]] = day

    def _take_status_back(self) -> None:
        attributes, day = self.state.attributes, self.state.closed_day or 0
        later = attributes["status_since"] > day
        attributes.columns["status"] = np.where(later, np.int8(0), self._statuses)


def open_sealed(config: Config, snapshot: Snapshot) -> Sealed | None:
    """A shard's past from its snapshot, standing nowhere yet; None where it has closed no day.

    Raises: ValueError where the snapshot is of another zone.
    """
    told: dict[str, Any] = {
        **snapshot.manifest,
        # No window is restored or summed: who asks for one gets it from the days.
        "windows_days": list(config.windows_days),
        "year_on_year": config.year_on_year,
        "photo_month": config.photo_month,
        "incomplete": [],
    }
    if told["closed_day"] is None:
        return None
    panes = {name: piece for name, piece in snapshot.stored.items() if not name.startswith(_REPEATS)}
    state = from_frames(config, told, {**snapshot.frames, "windows": pl.DataFrame()}, panes)
    return seal(state)


def seal(state: State) -> Sealed | None:
    """A shard's past from the shard itself, which is of no other use afterwards; None where it has closed no day."""
    if state.closed_day is None:
        return None
    days = Days(state.panes)
    state.windows = AskedWindows(state.config, days, len(state.roster))
    first = state.first_day
    return Sealed(state, days, state.windows, state.closed_day if first is None else first, state.closed_day)


def check_reach(shards: Iterable[Sealed], first: int) -> None:
    """Whether days are stored from `first` on. Raises: FileError."""
    begins = min((shard.first_day for shard in shards), default=first)
    if first < begins:
        raise FileError(f"{to_date(first)} cannot be judged: usage is stored from {to_date(begins)} on")
