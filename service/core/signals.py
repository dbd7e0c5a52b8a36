"""The catalogue of signals that rules may name, and their columns for any rows of a shard."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import polars as pl

from service.core.attributes import PORTING, UNKNOWN_AMOUNT, UNKNOWN_DAY
from service.core.events import CHANNELS, STATUSES
from service.core.measures import MEASURES
from service.core.state import DEFAULT_WINDOWS_DAYS, State

_QUARTER_DAYS = 90


class Signal(NamedTuple):
    """What people and the type check of rules need to know of a signal."""

    dtype: pl.DataType
    unit: str
    meaning: str
    null_when: str = "never"


@dataclass(slots=True)
class View:
    """Some rows of a state, with the figures of its last closed day at hand."""

    state: State
    rows: np.ndarray
    _derived: pl.DataFrame | None = None

    @property
    def day(self) -> int:
        """The last closed day."""
        return -1 if self.state.closed_day is None else self.state.closed_day

    @property
    def derived(self) -> pl.DataFrame:
        """Derived figures, one line per row of the view."""
        if self._derived is None:
            rows = pl.DataFrame({"row": self.rows.astype(np.int32)})
            self._derived = rows.join(self.state.holdings.derived, on="row", how="left", maintain_order="left")
        return self._derived

    def amount(self, name: str) -> pl.Series:
        """An amount attribute, null where unknown."""
        return _known(self.state.attributes[name][self.rows], UNKNOWN_AMOUNT)

    def days_since(self, name: str) -> pl.Series:
        """Days from a day attribute to the closed day, null where unknown."""
        return self.day - _known(self.state.attributes[name][self.rows], UNKNOWN_DAY)

    def flag(self, name: str) -> pl.Series:
        """A three-valued attribute as Boolean."""
        values = self.state.attributes[name][self.rows]
        return pl.Series(values == 1).set(pl.Series(values < 0), None)

    def code(self, name: str, names: Sequence[str]) -> pl.Series:
        """A coded attribute as text."""
        return pl.Series(names, dtype=pl.String).gather(self.state.attributes[name][self.rows].astype(np.uint32))

    def window(self, measure: str, days: int) -> pl.Series:
        """A window's sum."""
        return pl.Series(self.state.windows.current(measure, days)[self.rows])

    def baseline(self, measure: str, days: int) -> pl.Series:
        """A window's trailing baseline: the twice as many days before it, halved."""
        return pl.Series(self.state.windows.before(measure, days)[self.rows] / 2)

    def drop(self, measure: str, days: int) -> pl.Series:
        """How far a window fell below its baseline, as a share of it."""
        baseline = self.baseline(measure, days)
        return (1 - self.window(measure, days) / baseline).set(baseline <= 0, None)


def _known(values: np.ndarray, unknown: int) -> pl.Series:
    return pl.Series(values).set(pl.Series(values == unknown), None)


def _days_silent(view: View) -> pl.Series:
    attributes = view.state.attributes
    last, seen = attributes["last_outgoing"][view.rows], attributes["first_seen"][view.rows]
    since = np.where(last == UNKNOWN_DAY, np.maximum(seen, view.state.first_day or 0), last)
    return pl.Series((view.day - since).clip(min=0).astype(np.int32))


def _quarter(view: View) -> pl.Series:
    """Three months' value in minor units: the last three bills, else the spend of 90 days; never negative."""
    days = max(d for d in view.state.windows.lengths_days if d <= _QUARTER_DAYS)
    spend = view.window("spend", days)
    bills = view.derived["bills_sum"]
    return bills.fill_null(spend).clip(lower_bound=0)


def _bill_drop(view: View) -> pl.Series:
    before = view.derived["bills_before_last"] / 2
    return (1 - view.derived["bill_last"] / before).set(before.fill_null(0) <= 0, None)


def _segment(view: View) -> pl.Series:
    return pl.Series(view.state.attributes["segment"][view.rows].astype(np.int32))


def _derived(name: str, fill: object = None) -> Callable[[View], pl.Series]:
    def column(view: View) -> pl.Series:
        series = view.derived[name]
        return series if fill is None else series.fill_null(fill)

    return column


def _flag(name: str) -> Callable[[View], pl.Series]:
    return lambda view: view.flag(name)


def _text(name: str) -> Callable[[View], pl.Series]:
    return lambda view: view.state.attributes.texts(name, view.rows)


_I32, _I64, _F64, _STR, _BOOL = pl.Int32(), pl.Int64(), pl.Float64(), pl.String(), pl.Boolean()

_OTHERS: Mapping[str, tuple[Signal, Callable[[View], pl.Series]]] = {
    "days_silent": (
        Signal(_I32, "days", "days since the last outgoing event, or since first seen where none is known"),
        _days_silent,
    ),
    "days_since_recharge": (
        Signal(_I32, "days", "days since the last recharge", "no recharge is known"),
        lambda v: v.day - v.derived["recharge_day"],
    ),
    "recharge_gap_days": (
        Signal(_F64, "days", "median of the last five gaps between recharge days", "fewer than five gaps are known"),
        _derived("recharge_gap_days"),
    ),
    "fee_month": (
        Signal(_I64, "minor", "recurring fees charged for the bill month of the closed day"),
        _derived("fee_month", 0),
    ),
    "bill_last": (Signal(_I64, "minor", "the latest closed bill", "no bill is known"), _derived("bill_last")),
    "bill_baseline": (
        Signal(_F64, "minor", "the two bills before the latest, halved", "fewer than three bills are known"),
        lambda v: v.derived["bills_before_last"] / 2,
    ),
    "bill_drop": (
        Signal(_F64, "ratio", "how far the latest bill fell below its baseline", "there is no positive baseline"),
        _bill_drop,
    ),
    "monthly_value": (
        Signal(_I64, "minor", "mean of the last three bills, else a third of the spend of 90 days"),
        lambda v: _quarter(v) // 3,
    ),
    "money_at_risk": (
        Signal(_I64, "minor", "a year's value: the three months behind monthly_value times four"),
        lambda v: _quarter(v) * 4,
    ),
    "status": (Signal(_STR, "", "account status; normal if never told"), lambda v: v.code("status", STATUSES)),
    "days_in_status": (
        Signal(_I32, "days", "days since the status began", "no status was ever told"),
        lambda v: v.days_since("status_since"),
    ),
    "tenure_days": (
        Signal(_I32, "days", "days since activation", "the activation is unknown"),
        lambda v: v.days_since("activated_on"),
    ),
    "fee": (Signal(_I64, "minor", "monthly fee of the plan", "unknown"), lambda v: v.amount("fee_minor")),
    "key_person": (Signal(_BOOL, "", "is the key person of a group"), _derived("key_person", fill=False)),
    "group_id": (Signal(_STR, "", "the group joined last", "member of none"), _derived("group_id")),
    "bundles": (Signal(_I32, "bundles", "bundles held"), _derived("bundles", 0)),
    "hard_bundles": (Signal(_I32, "bundles", "hard bundles held"), _derived("hard_bundles", 0)),
    "hard_days_left": (
        Signal(_I32, "days", "days until the last hard bundle held ends", "none is held, or it is open-ended"),
        lambda v: v.derived["hard_end"] - v.day,
    ),
    "days_unlinked": (
        Signal(_I32, "days", "days since the last bundle went", "one is held, or none ever was"),
        lambda v: v.day - v.derived["unlinked_day"],
    ),
    "unlinked_reason": (
        Signal(_STR, "", "why the last bundle went: cancelled, lapsed or replaced", "days_unlinked is null"),
        _derived("unlinked_reason"),
    ),
    "ever_bundled": (Signal(_BOOL, "", "ever held a bundle"), _derived("ever_bundled", fill=False)),
    "porting": (
        Signal(_STR, "", "number portability: none, queried, code_issued, requested or ported"),
        lambda v: v.code("porting", PORTING),
    ),
    "days_since_porting": (
        Signal(_I32, "days", "days since the porting state began", "porting is none"),
        lambda v: v.days_since("porting_since"),
    ),
    "open_complaints": (Signal(_I32, "complaints", "complaints not yet closed"), _derived("open_complaints", 0)),
    "balance": (Signal(_I64, "minor", "account balance", "never told"), lambda v: v.amount("balance_minor")),
    "arrears": (Signal(_I64, "minor", "arrears", "never told"), lambda v: v.amount("arrears_minor")),
    "segment": (Signal(_I32, "code", "segment code of the closed day, 0 where not eligible"), _segment),
    **{
        name: (Signal(_STR, "", meaning, "unknown"), _text(name))
        for name, meaning in {
            "market": "market the subscriber belongs to",
            "area": "sales area",
            "manager": "account manager",
            "plan": "plan",
            "vip_level": "VIP level",
            "device_generation": "generation of the handset",
            "forwarding_network": "network calls are forwarded to",
        }.items()
    },
    **{
        f"consent_{channel}": (
            Signal(_BOOL, "", f"consent to be contacted by {channel}", "never told"),
            _flag(f"consent_{channel}"),
        )
        for channel in CHANNELS
    },
}  # fmt: skip


def _windowed(days: int) -> dict[str, Signal]:
    signals = {}
    for measure, (unit, meaning) in MEASURES.items():
        name = f"{measure}_{days}d"
        signals[name] = Signal(_I64, unit, f"{meaning}; closed days, last {days}")
        signals[f"{name}_baseline"] = Signal(_F64, unit, f"the {2 * days} days before the window of {name}, halved")
        signals[f"{name}_drop"] = Signal(
            _F64, "ratio", f"how far {name} fell below its baseline", "there is no positive baseline"
        )
    return signals


@lru_cache
def catalogue(windows_days: tuple[int, ...] = DEFAULT_WINDOWS_DAYS) -> Mapping[str, Signal]:
    """All signals by name for the given window lengths."""
    names: dict[str, Signal] = {}
    for days in windows_days:
        names |= _windowed(days)
    return names | {name: signal for name, (signal, _) in _OTHERS.items()}


def columns(view: View, names: Sequence[str]) -> pl.DataFrame:
    """The named signals for the rows of a view, one line per row in its order."""
    dtypes = catalogue(view.state.windows.lengths_days)
    made = [_column(view, name).cast(dtypes[name].dtype).alias(name) for name in names]
    return pl.DataFrame(made) if made else pl.DataFrame({"row": view.rows}).select()


def _column(view: View, name: str) -> pl.Series:
    if name in _OTHERS:
        return _OTHERS[name][1](view)
    is_derived = name.endswith(("d_baseline", "d_drop"))
    stem, _, suffix = name.rpartition("d_") if is_derived else (name.removesuffix("d"), "", "")
    measure, _, days = stem.rpartition("_")
    made = {"": view.window, "baseline": view.baseline, "drop": view.drop}[suffix]
    return made(measure, int(days))
