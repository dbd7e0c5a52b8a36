"""What a subscriber is, one typed column per attribute: profile, status, porting, consent, balances, last times."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from service.core.events import CHANNELS, STATUSES
from service.core.strings import ABSENT, StringIndex

UNKNOWN_DAY = np.iinfo(np.int32).min
UNKNOWN_AMOUNT = np.iinfo(np.int64).min
_LONG_AGO = np.iinfo(np.int64).min
_FIRST_ROWS = 1024
_GROWTH = 1.25

PORTING = ("none", "queried", "code_issued", "requested", "ported")

TEXTS = (
    "msisdn", "market", "area", "manager", "channel", "industry", "plan", "vip_level",
    "device_generation", "forwarding_network", "porting_network", "competitor_network",
)  # fmt: skip
_DAYS = (
    "activated_on", "birthday", "status_since", "porting_since", "competitor_called_on",
    "first_seen", "last_outgoing", "last_recharge", "segment_since",
)  # fmt: skip
_AMOUNTS = ("fee_minor", "balance_minor", "arrears_minor", "last_recharge_minor")
_FLAGS = ("dual_sim", *(f"consent_{channel}" for channel in CHANNELS))  # 1, 0 or ABSENT
_CODES = ("status", "porting", "segment", "segment_before")
# When what stands in a group of columns happened: an older record that comes later changes nothing.
_TIMES = (
    "profile_us", "status_us", "porting_us", "device_us", "forwarding_us", "balance_us",
    *(f"consent_{channel}_us" for channel in CHANNELS),
)  # fmt: skip

_FILL: Mapping[str, tuple[np.dtype, int]] = {
    **dict.fromkeys(TEXTS, (np.dtype(np.int32), ABSENT)),
    **dict.fromkeys(_DAYS, (np.dtype(np.int32), int(UNKNOWN_DAY))),
    **dict.fromkeys(_AMOUNTS, (np.dtype(np.int64), int(UNKNOWN_AMOUNT))),
    **dict.fromkeys(_FLAGS, (np.dtype(np.int8), ABSENT)),
    **dict.fromkeys(_CODES, (np.dtype(np.int8), 0)),
    **dict.fromkeys(_TIMES, (np.dtype(np.int64), int(_LONG_AGO))),
}

# Events whose newest telling simply stands: the time they share, and column <- field.
_PLAIN: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "subscriber.activated": ("profile_us", {"activated_on": "day"}),
    "device.changed": ("device_us", {"device_generation": "generation", "dual_sim": "dual_sim"}),
    "balance": ("balance_us", {"balance_minor": "amount_minor", "arrears_minor": "arrears_minor"}),
}


def _untold(name: str, room: int) -> np.ndarray:
    dtype, fill = _FILL[name]
    return np.broadcast_to(np.array(fill, dtype), room)


@dataclass(slots=True)
class Attributes:
    """Columns by name, each as long as there is room for rows; texts are numbers of a vocabulary of their own.

    What no record ever told takes no memory: until the first write a column is one value, seen `room` times.
    """

    columns: dict[str, np.ndarray] = field(default_factory=lambda: {name: _untold(name, 0) for name in _FILL})
    vocabularies: dict[str, StringIndex] = field(default_factory=lambda: {name: StringIndex() for name in TEXTS})

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        told = sum(column.nbytes for column in self.columns.values() if column.flags.writeable)
        return told + sum(vocabulary.nbytes for vocabulary in self.vocabularies.values())

    def grow(self, rows: int) -> None:
        """Make room for `rows` rows; amortised."""
        have = self.columns["status"].size
        if rows <= have:
            return
        room = max(rows, int(have * _GROWTH), _FIRST_ROWS)
        for name, former in self.columns.items():
            self.columns[name] = _untold(name, room)
            if former.flags.writeable:
                self.writable(name)[:have] = former

    def writable(self, name: str) -> np.ndarray:
        """A column to write to."""
        if not self.columns[name].flags.writeable:
            self.columns[name] = self.columns[name].copy()
        return self.columns[name]

    def texts(self, name: str, rows: np.ndarray) -> pl.Series:
        """The texts of an attribute for `rows`, null where unknown."""
        return self.vocabularies[name].take(self.columns[name][rows]).alias(name)

    def frame(self, rows: int) -> pl.DataFrame:
        """All columns of the first `rows` rows, texts as numbers of their vocabulary."""
        return pl.DataFrame({name: column[:rows].copy() for name, column in self.columns.items()})

    def restore(self, frame: pl.DataFrame, vocabularies: Mapping[str, pl.Series]) -> None:
        """The inverse of `frame` and of the vocabularies' strings."""
        self.grow(frame.height)
        for name, (_, fill) in _FILL.items():
            values = frame[name].to_numpy()
            if (values != fill).any():
                self.writable(name)[: frame.height] = values
        self.vocabularies = {name: StringIndex.of(vocabularies[name]) for name in TEXTS}

    def apply(self, frames: Mapping[str, pl.DataFrame]) -> None:
        """Take over typed events (columns row, day, occurred_us, at beside their fields)."""
        for event_type, frame in frames.items():
            if event_type in _PLAIN and not frame.is_empty():
                time, told = _PLAIN[event_type]
                self._set(_latest(frame), time, told)
        porting = [
            frame.with_columns(state=pl.lit(PORTING.index(event_type.removeprefix("np.")), pl.Int8))
            for event_type, frame in frames.items()
            if event_type.startswith("np.") and not frame.is_empty()
        ]
        if porting:
            told = {"porting": "state", "porting_since": "day", "porting_network": "to_network"}
            self._set(_latest(pl.concat(porting)), "porting_us", told)
        self._apply_own_ways(frames)

    def _apply_own_ways(self, frames: Mapping[str, pl.DataFrame]) -> None:
        if (profile := frames.get("subscriber.profile")) is not None:
            self._profile(profile)
        if (status := frames.get("subscriber.status")) is not None:
            self._status(status)
        if (forwarding := frames.get("forwarding.set")) is not None:
            # Forwarding switched off is told as forwarding to nobody.
            self._set(_latest(forwarding), "forwarding_us", {"forwarding_network": "peer_network"}, clear=True)
        if (consent := frames.get("consent.changed")) is not None:
            for (channel,), part in consent.partition_by("channel", as_dict=True).items():
                self._set(_latest(part), f"consent_{channel}_us", {f"consent_{channel}": "granted"})
        if (called := frames.get("competitor.called")) is not None:
            self._latest_day(called, "competitor_called_on", {"competitor_network": "network"})
        if (recharge := frames.get("recharge")) is not None:
            paid = recharge.filter(pl.col("amount_minor") > 0)
            self._latest_day(paid, "last_recharge", {"last_recharge_minor": "amount_minor"})

    def see(self, rows: np.ndarray, days: np.ndarray) -> None:
        """Remember the earliest day of each row."""
        seen = self.writable("first_seen")
        fresh = rows[seen[rows] == UNKNOWN_DAY]
        seen[fresh] = np.iinfo(np.int32).max
        np.minimum.at(seen, rows, days)

    def note_outgoing(self, day: int, rows: np.ndarray) -> None:
        """Remember that distinct `rows` were active on a day."""
        last = self.writable("last_outgoing")
        last[rows] = np.maximum(last[rows], day)

    def _profile(self, frame: pl.DataFrame) -> None:
        # A profile record tells only what it has: each field's newest telling stands.
        fields = [name for name in frame.columns if name in _FILL]
        known = self.columns["profile_us"][frame["row"].to_numpy()]
        current = frame.filter(pl.col("occurred_us") >= pl.Series(known)).sort("occurred_us", "at")
        merged = current.group_by("row").agg(
            pl.col("occurred_us").last(), *(pl.col(f).drop_nulls().last() for f in fields)
        )
        self._set(merged, "profile_us", {name: name for name in fields})

    def _status(self, frame: pl.DataFrame) -> None:
        codes = {name: code for code, name in enumerate(STATUSES)}
        # Being told the same status again does not begin it anew, so each telling is compared with the one before it.
        told = frame.with_columns(code=pl.col("status").replace_strict(codes, return_dtype=pl.Int8))
        told = told.sort("row", "occurred_us", "at")
        rows = told["row"].to_numpy()
        told = told.filter(pl.col("occurred_us") >= pl.Series(self.columns["status_us"][rows]))
        rows = told["row"].to_numpy()
        before = pl.Series(
            np.where(self.columns["status_since"][rows] == UNKNOWN_DAY, -1, self.columns["status"][rows])
        )
        told = told.with_columns(before=pl.col("code").shift(1).over("row").fill_null(before))
        news = told.filter(pl.col("code") != pl.col("before"))
        self._set(_latest(told), "status_us", {"status": "code"})
        last_news = news.group_by("row", maintain_order=True).last()
        self.writable("status_since")[last_news["row"].to_numpy()] = last_news["day"].to_numpy()

    def _latest_day(self, frame: pl.DataFrame, day_column: str, told: Mapping[str, str]) -> None:
        latest = _latest(frame)
        rows = latest["row"].to_numpy()
        latest = latest.filter(pl.col("day") >= pl.Series(self.columns[day_column][rows]))
        self.writable(day_column)[latest["row"].to_numpy()] = latest["day"].to_numpy()
        for name, source in told.items():
            self._write(name, latest["row"].to_numpy(), latest[source], clear=False)

    def _set(self, latest: pl.DataFrame, time: str, told: Mapping[str, str], *, clear: bool = False) -> None:
        """Write one line per row where it is not older than what stands; an absent field leaves that, or clears it."""
        latest = self._current(latest, time)
        rows = latest["row"].to_numpy()
        self.writable(time)[rows] = latest["occurred_us"].to_numpy()
        for name, source in told.items():
            self._write(name, rows, latest[source], clear=clear)

    def _current(self, latest: pl.DataFrame, time: str) -> pl.DataFrame:
        standing = self.columns[time][latest["row"].to_numpy()]
        return latest.filter(pl.Series(latest["occurred_us"].to_numpy() >= standing))

    def _write(self, name: str, rows: np.ndarray, values: pl.Series, *, clear: bool) -> None:
        dtype, fill = _FILL[name]
        if values.null_count():
            present = values.is_not_null().to_numpy()
            if clear:
                self.writable(name)[rows[~present]] = fill
            rows, values = rows[present], values.drop_nulls()
        if not rows.size:
            return
        if name in self.vocabularies:
            numbers = self.vocabularies[name].intern(values)
        else:
            numbers = values.cast(pl.Int32).to_numpy() if values.dtype == pl.Date else values.to_numpy()
        self.writable(name)[rows] = numbers.astype(dtype)


def _latest(frame: pl.DataFrame) -> pl.DataFrame:
    """One line per row: its last by (occurred_us, at)."""
    ordered = frame.sort("occurred_us", "at", descending=True)
    _, latest = np.unique(ordered["row"].to_numpy(), return_index=True)
    return ordered[latest.astype(np.uint32)]
