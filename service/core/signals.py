"""The catalogue of signals that rules may name, and their columns for any rows of a shard."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType

import numpy as np
import polars as pl

from service.core.attributes import PORTING, TEXTS
from service.core.catalogue import account, moved, subscriber, ties, usage
from service.core.catalogue.signal import DAY, DEFAULT_TERMS, Made, Signal, Terms
from service.core.events import STATUSES
from service.core.holdings import FIGURES
from service.core.measures import MEASURES
from service.core.moves import MOVES, NUMBERS
from service.core.rules import Derived, Rulebook
from service.core.selecting import select, with_columns
from service.core.state import State
from service.core.tables import gather

__all__ = ["DEFAULT_TERMS", "Signal", "Terms", "View", "catalogue", "columns", "topics", "windows_of"]

_WINDOW = re.compile(
    rf"(?:{'|'.join((*MEASURES, 'active_days', 'zero_days'))})_(\d+)d"
    r"(?:_(?:baseline|drop|cohort)(?:_last_year|_vs_cohort)?)?"
)
_CODED = {"status": pl.Series(STATUSES), "porting": pl.Series(PORTING)}
# Of each raw column that is a figure which of FIGURES has it.
_FIGURE_OF = {column: name for name, schema in FIGURES.items() if name != "moves" for column in schema}
_MOVE_OF = {f"{move}{moved.LAST}": (move, "day") for move in MOVES}
_NONE: Mapping[str, Derived] = MappingProxyType({})
_MOVE_OF |= {f"{move}{moved.TIMES}": (move, "times") for move in MOVES}


@dataclass(frozen=True, slots=True)
class View:
    """Some rows of a state, each as of its last closed day; with the rulebook's own signals and bounds of tiers."""

    state: State
    rows: np.ndarray
    derived: Mapping[str, Derived] = field(default_factory=dict)
    tops: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def under(cls, rulebook: Rulebook, state: State, rows: np.ndarray) -> "View":
        """Rows as a rulebook sees them."""
        return cls(state, rows, rulebook.derived, {one.name: one.tops for one in rulebook.dimensions})

    @property
    def terms(self) -> Terms:
        """What the catalogue depends on."""
        config = self.state.config
        tops = tuple(sorted(self.tops.items()))
        return Terms(config.windows_days, config.year_on_year, config.photo_month, config.minor_digits, tops)

    def raw(self, names: Iterable[str]) -> pl.DataFrame:
        """Columns as the state keeps them, one line per row: sums, attributes (texts as text), figures of the day."""
        told: dict[str, pl.Series | np.ndarray] = {DAY: self.state.closed_days(self.rows)}
        figures: dict[str, list[str]] = {}
        moves: list[str] = []
        for name in sorted(names):
            if name in _FIGURE_OF:
                figures.setdefault(_FIGURE_OF[name], []).append(name)
            elif name in _MOVE_OF:
                moves.append(name)
            else:
                told[name] = self._own(name)
        for of, wanted in figures.items():
            found = gather(self.state.holdings.figures[of].between(self.rows), self.rows, wanted)
            told |= dict(zip(wanted, found, strict=True))
        return pl.DataFrame(told | self._moved(moves))

    def _moved(self, names: Iterable[str]) -> dict[str, pl.Series]:
        made = self.state.holdings.figures["moves"].between(self.rows)
        found = {}
        for name in names:
            move, column = _MOVE_OF[name]
            (found[name],) = gather(made.filter(pl.col("move") == NUMBERS[move]), self.rows, [column])
        return found

    def _own(self, name: str) -> pl.Series | np.ndarray:
        attributes, windows = self.state.attributes, self.state.windows
        if name in TEXTS:
            return attributes.texts(name, self.rows)
        if name in _CODED:
            codes: pl.Series = _CODED[name][attributes[name][self.rows].astype(np.uint32)]
            return codes
        if name in attributes.columns:
            own: np.ndarray = attributes[name][self.rows]
            return own
        if name.startswith((usage.ACTIVE, usage.GAP)):
            return self._active(name)
        if name.endswith(usage.COMPARED):
            return self._compared(*name.rsplit("_", 1))
        return windows.take(name, self.rows) if windows.is_known(name, self.state.closed_day or 0) else self._nothing()

    def _active(self, name: str) -> pl.Series | np.ndarray:
        days = int(name.rpartition("_")[2].removesuffix("d"))
        if days in self.state.windows.incomplete:
            return self._nothing()
        if name.startswith(usage.ACTIVE):
            return self.state.activity.days(days, self.rows)
        return pl.Series(self.state.activity.gaps(days, self.rows)).fill_nan(None)

    def _compared(self, window: str, what: str) -> np.ndarray:
        """What comparable subscribers kept of the window's baseline, or what that and the calendar let one expect."""
        cohorts = self.state.cohorts
        asked = cohorts.kept if what == "cohort" else cohorts.expected
        return asked(window, self.state.windows, self.state.attributes, self.rows)

    def _nothing(self) -> pl.Series:
        return pl.Series([None], dtype=pl.Int64).new_from_index(0, self.rows.size)


@lru_cache
def _topics(terms: Terms) -> Mapping[str, Made]:
    return {
        "usage by window": usage.windowed(terms),
        "rhythm": usage.rhythm(terms),
        "tiers": usage.tiers(terms),
        "bills and fees": account.BILLS,
        "recharges, balance and quota": account.BALANCES,
        "value": account.value(terms),
        "subscriber": subscriber.STANDING,
        "segment": subscriber.SEGMENT,
        "porting and consent": subscriber.RIGHTS,
        "bundles": ties.BUNDLES,
        "groups": ties.GROUPS,
        "sudden moves": moved.MOVED,
    }


def topics(terms: Terms = DEFAULT_TERMS) -> Mapping[str, Mapping[str, Signal]]:
    """All signals by topic and name, for the given windows."""
    return {topic: {name: signal for name, (signal, _) in made.items()} for topic, made in _topics(terms).items()}


def catalogue(terms: Terms = DEFAULT_TERMS) -> Mapping[str, Signal]:
    """All signals by name for the given windows."""
    return {name: signal for signals in topics(terms).values() for name, signal in signals.items()}


@lru_cache
def _made(terms: Terms) -> Mapping[str, tuple[pl.Expr, frozenset[str]]]:
    """Per signal how it is made, and the columns it is made of."""
    signals = {name: one for made in _topics(terms).values() for name, one in made.items()}
    made = {name: made.cast(signal.dtype).alias(name) for name, (signal, made) in signals.items()}
    return {name: (one, frozenset(one.meta.root_names()) - {DAY}) for name, one in made.items()}


def windows_of(names: Iterable[str], derived: Mapping[str, Derived] = _NONE) -> set[int]:
    """The window lengths, in days, that signals of these names are of, or are made of where they are derived."""
    every = {part for name in names for part in (derived[name].names if name in derived else (name,))}
    return {int(found[1]) for name in every if (found := _WINDOW.fullmatch(name))}


def columns(view: View, names: Iterable[str]) -> pl.DataFrame:
    """The named signals for the rows of a view, one line per row in its order, all made in one select.

    Those that the rulebook derives are made of the others in one more.
    """
    wanted = list(names)
    derived = [name for name in wanted if name in view.derived]
    if not derived:
        return _of_catalogue(view, wanted)
    parts = (view.derived[name].names for name in derived)
    known = _of_catalogue(view, sorted(frozenset(wanted).difference(derived).union(*parts)))
    made = (view.derived[name].expression.cast(view.derived[name].dtype).alias(name) for name in derived)
    return with_columns(known, made).select(wanted)


def _of_catalogue(view: View, names: Iterable[str]) -> pl.DataFrame:
    known = _made(view.terms)
    made = [known[name] for name in names]
    raw = view.raw(frozenset().union(*(roots for _, roots in made)))
    return select(raw, (expression for expression, _ in made))
