"""The catalogue of signals that rules may name, and their columns for any rows of a shard."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import polars as pl

from service.core.attributes import PORTING, TEXTS, UNKNOWN_AMOUNT, UNKNOWN_DAY
from service.core.calendar import month_days
from service.core.events import CHANNELS, CLOSED, STATUSES
from service.core.holdings import DERIVED
from service.core.measures import MEASURES
from service.core.selecting import select
from service.core.state import DEFAULT_WINDOWS_DAYS, State

_QUARTER_DAYS = 90
_WINDOW = re.compile(
    rf"(?:{'|'.join((*MEASURES, 'active_days'))})_(\d+)d(?:_(?:baseline|drop|cohort)(?:_last_year|_vs_cohort)?)?"
)


class Signal(NamedTuple):
    """What people and the type check of rules need to know of a signal."""

    dtype: pl.DataType
    unit: str
    meaning: str
    null_when: str = "never"
    among: tuple[str, ...] = ()  # all the values there can be, where that is a closed set

    @property
    def domain(self) -> pl.DataType:
        """The type with the closed set, so that a rule cannot compare with what never is."""
        return pl.Enum(self.among) if self.among else self.dtype


@dataclass(frozen=True, slots=True)
class View:
    """Some rows of a state, each as of its last closed day."""

    state: State
    rows: np.ndarray

    def raw(self, names: Iterable[str]) -> pl.DataFrame:
        """Columns as the state keeps them, one line per row: sums, attributes (texts as text), derived figures."""
        wanted = sorted(names)
        standing = {_ROW: self.rows.astype(np.int32), _DAY: self.state.closed_days(self.rows)}
        frame = pl.DataFrame(standing | {name: self._own(name) for name in wanted if name not in DERIVED})
        derived = [name for name in wanted if name in DERIVED]
        if derived:
            figures = self.state.holdings.derived.select("row", *derived)
            frame = frame.join(figures, left_on=_ROW, right_on="row", how="left", maintain_order="left")
        return frame

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
        if name.startswith(_ACTIVE):
            days = int(name.removeprefix(_ACTIVE).removesuffix("d"))
            return self._nothing() if days in windows.incomplete else self.state.activity.days(days, self.rows)
        if name.endswith(_COMPARED):
            return self._compared(*name.rsplit("_", 1))
        return windows.take(name, self.rows) if windows.is_known(name, self.state.closed_day or 0) else self._nothing()

    def _compared(self, window: str, what: str) -> np.ndarray:
        """What comparable subscribers kept of the window's baseline, or what that and the calendar let one expect."""
        cohorts = self.state.cohorts
        asked = cohorts.kept if what == "cohort" else cohorts.expected
        return asked(window, self.state.windows, self.state.attributes, self.rows)

    def _nothing(self) -> pl.Series:
        return pl.Series([None], dtype=pl.Int64).new_from_index(0, self.rows.size)


def _known_day(name: str) -> pl.Expr:
    return pl.when(pl.col(name) != UNKNOWN_DAY).then(pl.col(name))


def _known_amount(name: str) -> pl.Expr:
    return pl.when(pl.col(name) != UNKNOWN_AMOUNT).then(pl.col(name))


def _flag(name: str) -> pl.Expr:
    return pl.when(pl.col(name) >= 0).then(pl.col(name) == 1)


def _drop(now: pl.Expr, baseline: pl.Expr) -> pl.Expr:
    """How far something fell below its baseline, as a share of it; null without a positive one."""
    return pl.when(baseline > 0).then(1 - now / baseline)


_CODED = {"status": pl.Series(STATUSES), "porting": pl.Series(PORTING)}
_ROW, _DAY = "_row", "_day"
_ACTIVE = "active_days_"
_COMPARED = ("_cohort", "_expected")
_TODAY = pl.col(_DAY)
_BILL_BASELINE = pl.col("bills_before_last") / 2

_I32, _I64, _F64, _STR, _BOOL = pl.Int32(), pl.Int64(), pl.Float64(), pl.String(), pl.Boolean()

_OTHERS: Mapping[str, tuple[Signal, pl.Expr]] = {
    "days_silent": (
        Signal(_I32, "days", "days since the last outgoing event, or since first seen where none is known"),
        (_TODAY - pl.coalesce(_known_day("last_outgoing"), "first_seen")).clip(lower_bound=0),
    ),
    "days_since_recharge": (
        Signal(_I32, "days", "days since the last recharge", "no recharge is known"),
        _TODAY - pl.col("recharge_day"),
    ),
    "recharge_gap_days": (
        Signal(_F64, "days", "median of the last five gaps between recharge days", "fewer than five gaps are known"),
        pl.col("recharge_gap_days"),
    ),
    "fee_month": (
        Signal(_I64, "minor", "recurring fees charged for the bill month of the closed day"),
        pl.col("fee_month").fill_null(0),
    ),
    "bill_last": (Signal(_I64, "minor", "the latest closed bill", "no bill is known"), pl.col("bill_last")),
    "bill_baseline": (
        Signal(_F64, "minor", "the two bills before the latest, halved", "fewer than three bills are known"),
        _BILL_BASELINE,
    ),
    "bill_drop": (
        Signal(_F64, "ratio", "how far the latest bill fell below its baseline", "there is no positive baseline"),
        _drop(pl.col("bill_last"), _BILL_BASELINE),
    ),
    "status": (Signal(_STR, "", "account status; normal if never told", among=STATUSES), pl.col("status")),
    "days_in_status": (
        Signal(_I32, "days", "days since the status began", "no status was ever told"),
        _TODAY - _known_day("status_since"),
    ),
    "tenure_days": (
        Signal(_I32, "days", "days since activation", "the activation is unknown"),
        _TODAY - _known_day("activated_on"),
    ),
    "fee": (Signal(_I64, "minor", "monthly fee of the plan", "unknown"), _known_amount("fee_minor")),
    "key_person": (Signal(_BOOL, "", "is the key person of a group"), pl.col("key_person").fill_null(value=False)),
    "group_id": (Signal(_STR, "", "the group joined last", "member of none"), pl.col("group_id")),
    "bundles": (Signal(_I32, "bundles", "bundles held"), pl.col("bundles").fill_null(0)),
    "hard_bundles": (Signal(_I32, "bundles", "hard bundles held"), pl.col("hard_bundles").fill_null(0)),
    "hard_days_left": (
        Signal(_I32, "days", "days until the last hard bundle ends", "none is held, or it is open-ended"),
        pl.col("hard_end") - _TODAY,
    ),
    "days_unlinked": (
        Signal(_I32, "days", "days since the last bundle went", "one is held, or none ever was"),
        _TODAY - pl.col("unlinked_day"),
    ),
    "unlinked_reason": (
        Signal(_STR, "", "why the last bundle went", "days_unlinked is null", CLOSED["bundle.unlinked", "reason"]),
        pl.col("unlinked_reason"),
    ),
    "ever_bundled": (Signal(_BOOL, "", "ever held a bundle"), pl.col("ever_bundled").fill_null(value=False)),
    "porting": (
        Signal(_STR, "", "number portability: how far it is", among=PORTING),
        pl.col("porting"),
    ),
    "days_since_porting": (
        Signal(_I32, "days", "days since the porting state began", "porting is none"),
        _TODAY - _known_day("porting_since"),
    ),
    "open_complaints": (Signal(_I32, "complaints", "complaints still open"), pl.col("open_complaints").fill_null(0)),
    "balance": (Signal(_I64, "minor", "account balance", "never told"), _known_amount("balance_minor")),
    "arrears": (Signal(_I64, "minor", "arrears", "never told"), _known_amount("arrears_minor")),
    "segment": (Signal(_I32, "code", "segment code of the closed day, 0 where not eligible"), pl.col("segment")),
    **{
        name: (Signal(_STR, "", meaning, "unknown"), pl.col(name))
        for name, meaning in {
            "market": "market the subscriber belongs to",
            "area": "sales area",
            "manager": "account manager",
            "plan": "plan",
            "vip_level": "VIP level",
            "forwarding_network": "network calls are forwarded to",
        }.items()
    },
    "device_generation": (
        Signal(_STR, "", "generation of the handset", "unknown", CLOSED["device.changed", "generation"]),
        pl.col("device_generation"),
    ),
    **{
        f"consent_{channel}": (
            Signal(_BOOL, "", f"consent to be contacted by {channel}", "never told"),
            _flag(f"consent_{channel}"),
        )
        for channel in CHANNELS
    },
}  # fmt: skip


class Terms(NamedTuple):
    """Which windows there are, and what else than the days before they are compared with."""

    windows_days: tuple[int, ...] = DEFAULT_WINDOWS_DAYS
    year_on_year: bool = False
    photo_month: int | None = None


DEFAULT_TERMS = Terms()


def _windowed(days: int, terms: Terms) -> dict[str, tuple[Signal, pl.Expr]]:
    signals = {}
    for measure, (unit, meaning) in MEASURES.items():
        name = f"{measure}_{days}d"
        now, earlier = pl.col(name), [("", f"the {2 * days} days before the window of {name}, halved", _before)]
        if terms.year_on_year:
            earlier.append(("_last_year", f"the window of {name} 364 days ago", _last_year))
        if terms.photo_month is not None:
            earlier.append(("_photo", f"the month photographed, as if it had {days} days", _photo))
        signals[name] = (Signal(_I64, unit, f"{meaning}; closed days, last {days}"), now)
        for suffix, meant, made in earlier:
            baseline = made(measure, days, terms)
            fell = f"how far {name} fell below {name}_baseline{suffix}"
            signals[f"{name}_baseline{suffix}"] = (Signal(_F64, unit, meant, "that is not known"), baseline)
            signals[f"{name}_drop{suffix}"] = (
                Signal(_F64, "ratio", fell, "there is no positive baseline"),
                _drop(now, baseline),
            )
        baseline = _before(measure, days, terms)
        kept = f"what comparable subscribers kept of the baseline of {name}, on the median; 1 is all of it"
        below = f"how far {name} fell below what calendar and comparable subscribers let one expect of its baseline"
        signals[f"{name}_cohort"] = (
            Signal(_F64, "ratio", kept, "fewer than 200 are comparable"),
            pl.col(f"{name}_cohort").fill_nan(None),
        )
        signals[f"{name}_drop_vs_cohort"] = (
            Signal(_F64, "ratio", below, "there is no positive baseline"),
            _drop(now, baseline * pl.col(f"{name}_expected")),
        )
    used = Signal(_I32, "days", f"days of the last {days} closed ones with an outgoing event")
    return signals | {f"{_ACTIVE}{days}d": (used, pl.col(f"{_ACTIVE}{days}d"))}


def _before(measure: str, days: int, terms: Terms) -> pl.Expr:
    del terms
    return pl.col(f"{measure}_{days}d_before") / 2


def _last_year(measure: str, days: int, terms: Terms) -> pl.Expr:
    del terms
    return pl.col(f"{measure}_{days}d_last_year").cast(pl.Float64)


def _photo(measure: str, days: int, terms: Terms) -> pl.Expr:
    return pl.col(f"{measure}_photo") * days / len(month_days(terms.photo_month or 0))


def _valued(windows_days: tuple[int, ...]) -> dict[str, tuple[Signal, pl.Expr]]:
    # Without a window of three months the longest shorter one stands for it.
    days = max((d for d in windows_days if d <= _QUARTER_DAYS), default=min(windows_days))
    spend = pl.col(f"spend_{days}d") * _QUARTER_DAYS // days
    quarter = pl.coalesce("bills_sum", spend).clip(lower_bound=0)
    monthly = Signal(_I64, "minor", "mean of the last three bills, else a third of the spend of 90 days")
    yearly = Signal(_I64, "minor", "a year's value: the three months behind monthly_value times four")
    return {"monthly_value": (monthly, quarter // 3), "money_at_risk": (yearly, quarter * 4)}


@lru_cache
def _signals(terms: Terms) -> Mapping[str, tuple[Signal, pl.Expr]]:
    windowed = {name: signal for days in terms.windows_days for name, signal in _windowed(days, terms).items()}
    return {**windowed, **_valued(terms.windows_days), **_OTHERS}


def catalogue(terms: Terms = DEFAULT_TERMS) -> Mapping[str, Signal]:
    """All signals by name for the given windows."""
    return {name: signal for name, (signal, _) in _signals(terms).items()}


@lru_cache
def _made(terms: Terms) -> Mapping[str, tuple[pl.Expr, frozenset[str]]]:
    """Per signal how it is made, and the columns it is made of."""
    made = {name: made.cast(signal.dtype).alias(name) for name, (signal, made) in _signals(terms).items()}
    return {name: (one, frozenset(one.meta.root_names()) - {_DAY}) for name, one in made.items()}


def windows_of(names: Iterable[str]) -> set[int]:
    """The window lengths, in days, that signals of these names are of."""
    return {int(found[1]) for name in names if (found := _WINDOW.fullmatch(name))}


def columns(view: View, names: Iterable[str]) -> pl.DataFrame:
    """The named signals for the rows of a view, one line per row in its order, all made in one select."""
    config = view.state.config
    known = _made(Terms(config.windows_days, config.year_on_year, config.photo_month))
    made = [known[name] for name in names]
    raw = view.raw(frozenset().union(*(roots for _, roots in made)))
    return select(raw, (expression for expression, _ in made))
