"""What a subscriber is, one typed column per attribute: profile, status, porting, consent, balances, last times."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from service.core.events import CHANNELS, FIELDS, STATUSES
from service.core.strings import ABSENT, StringIndex
from service.core.tellings import mark_current

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
    "first_seen", "last_heard", "last_outgoing", "last_voice", "last_data", "last_sms", "last_spend", "last_recharge",
    "segment_since", "segment_before_since", "arrears_since",
)  # fmt: skip
_AMOUNTS = ("fee_minor", "balance_minor", "arrears_minor", "last_recharge_minor")
_FLAGS = ("dual_sim", *(f"consent_{channel}" for channel in CHANNELS))  # 1, 0 or ABSENT
_CODES = ("status", "porting", "segment", "segment_before")
# When what stands in a group of columns happened: an older record that comes later changes nothing.
_TIMES = (
    "profile_us", "activated_us", "status_us", "device_us", "forwarding_us", "balance_us",
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
    "subscriber.profile": (
        "profile_us",
        {name: name for name in FIELDS["subscriber.profile"] if name != "activated_on"},
    ),
    "device.changed": ("device_us", {"device_generation": "generation", "dual_sim": "dual_sim"}),
    "balance": ("balance_us", {"balance_minor": "amount_minor", "arrears_minor": "arrears_minor"}),
}


# Measures whose last day is remembered: column <- measure.
_LASTS = {f"last_{measure}": measure for measure in ("outgoing", "voice", "data", "sms", "spend")}


def _reach(ranks: np.ndarray, days: np.ndarray) -> np.ndarray:
    """Steps towards another network and their days, as one number (int64) that orders them."""
    reach: np.ndarray = (ranks.astype(np.int64) << 32) + days
    return reach


def _coded(status: pl.DataFrame) -> pl.DataFrame:
    """Tellings of a status, with its code."""
    codes = {name: code for code, name in enumerate(STATUSES)}
    return status.with_columns(code=pl.col("status").replace_strict(codes, return_dtype=pl.Int8))


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
        """The inverse of `frame` and of the vocabularies' strings; a column that it lacks tells nothing."""
        self.grow(frame.height)
        for name, (_, fill) in _FILL.items():
            if name not in frame.columns:  # a snapshot of before it was kept: nobody told it
                continue
            values = frame[name].to_numpy()
            if (values != fill).any():
                self.writable(name)[: frame.height] = values
        self.vocabularies = {
            name: StringIndex.of(vocabularies[name]) if name in vocabularies else StringIndex() for name in TEXTS
        }

    def apply(self, frames: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
        """Take over typed events (columns row, day, occurred_us, seq beside their fields).

        Returns the moves that show only beside what stood before (see core.moves): row, day, occurred_us of each.
        """
        moves = self._compare(frames)
        for event_type, (time, told) in _PLAIN.items():
            if (frame := frames.get(event_type)) is not None:
                self._tell(frame, time, told)
        porting = [
            frame.with_columns(rank=pl.lit(PORTING.index(event_type.removeprefix("np.")), pl.Int8))
            for event_type, frame in frames.items()
            if event_type.startswith("np.") and not frame.is_empty()
        ]
        if porting:
            self._port(pl.concat(porting))
        self._activate(frames)
        self._apply_own_ways(frames)
        return moves

    def _compare(self, frames: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
        """Tellings beside what stands before them, while it still does."""
        moves = {}
        if (profile := frames.get("subscriber.profile")) is not None and not profile.is_empty():
            told = self._told_over(profile, "profile_us", "fee_minor", "fee_minor")
            moves["plan_downgraded"] = told.filter(pl.col("value") < pl.col("before"))
        if (status := frames.get("subscriber.status")) is not None and not status.is_empty():
            told = self._told_over(_coded(status), "status_us", "status", "code")
            moves["status_changed"] = told.filter(pl.col("value") != pl.col("before"))
        if (balance := frames.get("balance")) is not None and not balance.is_empty():
            self._owe(self._told_over(balance, "balance_us", "arrears_minor", "arrears_minor"))
        return {name: told.select("row", "day", "occurred_us") for name, told in moves.items()}

    def _told_over(self, frame: pl.DataFrame, time: str, name: str, field: str) -> pl.DataFrame:
        """The tellings of a field that came to stand, each with its `value` and the one that stood `before` it."""
        standing = self.columns[name][frame["row"].to_numpy()]
        # Whose status nobody told is in normal status.
        stood = (
            pl.Series(standing)
            if name == "status"
            else pl.Series(standing).set(pl.Series(standing == _FILL[name][1]), None)
        )
        told = frame.with_columns(stood.alias("_stood"), value=field)
        told = self._current(told, time, "occurred_us").filter(pl.col("value").is_not_null())
        # An older one stands where nobody has told before.
        first = pl.col("_stood").is_null() & (pl.int_range(pl.len()).over("row") == 0)
        return told.filter(pl.col("is_current") | first).with_columns(
            before=pl.coalesce(pl.col("value").shift(1).over("row"), "_stood")
        )

    def _owe(self, told: pl.DataFrame) -> None:
        """Arrears begin on the day they are told of first, and end with the telling of none."""
        begun = (pl.col("value") > 0) & ~(pl.col("before") > 0).fill_null(value=False)
        last = told.group_by("row", maintain_order=True).agg(
            pl.col("day").filter(begun).last(), owes=pl.col("value").last() > 0
        )
        owing = last.filter(pl.col("owes") & pl.col("day").is_not_null())
        self._write("arrears_since", owing["row"].to_numpy(), owing["day"])
        paid = last.filter(~pl.col("owes"))["row"].to_numpy()
        paid = paid[self.columns["arrears_since"][paid] != UNKNOWN_DAY]
        if paid.size:
            self.writable("arrears_since")[paid] = UNKNOWN_DAY

    def _apply_own_ways(self, frames: Mapping[str, pl.DataFrame]) -> None:
        if (status := frames.get("subscriber.status")) is not None:
            self._status(status)
        if (forwarding := frames.get("forwarding.set")) is not None:
            # Forwarding switched off is told as forwarding to nobody.
            self._tell(forwarding, "forwarding_us", {"forwarding_network": "peer_network"}, clear=True)
        if (consent := frames.get("consent.changed")) is not None:
            for (channel,), part in consent.partition_by("channel", as_dict=True).items():
                self._tell(part, f"consent_{channel}_us", {f"consent_{channel}": "granted"})
        if (called := frames.get("competitor.called")) is not None:
            self._tell(called, "competitor_called_on", {"competitor_network": "network"}, by="day")
        if (recharge := frames.get("recharge")) is not None:
            paid = recharge.filter(pl.col("amount_minor") > 0)
            self._tell(paid, "last_recharge", {"last_recharge_minor": "amount_minor"}, by="day")

    def see(self, rows: np.ndarray, days: np.ndarray, closed_day: int | None) -> None:
        """Remember the earliest day of each row, and the last one it was heard of: an old record is heard today."""
        seen = self.writable("first_seen")
        fresh = rows[seen[rows] == UNKNOWN_DAY]
        seen[fresh] = np.iinfo(np.int32).max
        np.minimum.at(seen, rows, days)
        heard = days if closed_day is None else np.maximum(days, closed_day)
        np.maximum.at(self.writable("last_heard"), rows, heard)

    def clear(self, rows: np.ndarray) -> None:
        """Let nothing be told of `rows`."""
        for name, column in self.columns.items():
            if column.flags.writeable:
                column[rows] = _FILL[name][1]

    def note_used(self, day: int, piece: pl.DataFrame) -> None:
        """Remember what distinct rows used on a day (columns of PANE)."""
        rows = piece["row"].to_numpy()
        for name, measure in _LASTS.items():
            used = rows[piece[measure].to_numpy() > 0]
            if used.size:
                last = self.writable(name)
                last[used] = np.maximum(last[used], day)

    def _activate(self, frames: Mapping[str, pl.DataFrame]) -> None:
        """The day is told by its own event, or by a profile."""
        columns = ["row", "seq", "occurred_us", "activated_on"]
        parts = []
        if (activated := frames.get("subscriber.activated")) is not None:
            parts.append(activated.with_columns(activated_on=pl.col("day").cast(pl.Date)).select(columns))
        if (profile := frames.get("subscriber.profile")) is not None:
            parts.append(profile.filter(pl.col("activated_on").is_not_null()).select(columns))
        if parts:
            self._tell(pl.concat(parts), "activated_us", {"activated_on": "activated_on"})

    def _port(self, frame: pl.DataFrame) -> None:
        """Who has asked for a code or to port has not taken it back by asking about it again: the furthest step stands.

        How far a telling goes takes the place of its time: by the step, then by the day.
        """
        rows = frame["row"].to_numpy()
        standing = _reach(self.columns["porting"][rows], self.columns["porting_since"][rows])
        reached = _reach(frame["rank"].to_numpy(), frame["day"].to_numpy())
        told = mark_current(frame.with_columns(reach=pl.Series(reached)), ["row"], "reach", pl.Series(standing))
        latest = (
            told.filter("is_current")
            .group_by("row", maintain_order=True)
            .agg(pl.col("rank", "day").last(), pl.col("to_network").drop_nulls().last())
        )
        for name, source in {"porting": "rank", "porting_since": "day", "porting_network": "to_network"}.items():
            self._write(name, latest["row"].to_numpy(), latest[source])

    def _status(self, frame: pl.DataFrame) -> None:
        # Being told the same status again does not begin it anew, so each telling is compared with the one before it.
        told = self._current(_coded(frame), "status_us", "occurred_us").filter("is_current")
        rows = told["row"].to_numpy()
        before = pl.Series(
            np.where(self.columns["status_since"][rows] == UNKNOWN_DAY, -1, self.columns["status"][rows])
        )
        told = told.with_columns(before=pl.col("code").shift(1).over("row").fill_null(before))
        last = told.group_by("row", maintain_order=True).last()
        self._write("status_us", last["row"].to_numpy(), last["occurred_us"])
        self._write("status", last["row"].to_numpy(), last["code"])
        news = told.filter(pl.col("code") != pl.col("before")).group_by("row", maintain_order=True).last()
        self._write("status_since", news["row"].to_numpy(), news["day"])

    def _tell(
        self, frame: pl.DataFrame, time: str, told: Mapping[str, str], *, by: str = "occurred_us", clear: bool = False
    ) -> None:
        """Let tellings of column <- field stand; `time` is the column of theirs; an absent field may clear its own."""
        if frame.is_empty():
            return
        marked = self._current(frame, time, by)
        current, older = marked.filter("is_current"), marked.filter(~pl.col("is_current"))
        fields = told.values()
        latest = current.group_by("row", maintain_order=True).agg(
            pl.col(by).last().alias("_time"), *((pl.col(f) if clear else pl.col(f).drop_nulls()).last() for f in fields)
        )
        rows = latest["row"].to_numpy()
        self._write(time, rows, latest["_time"])
        for name, source in told.items():
            self._write(name, rows, latest[source], clear=clear)
        if not clear and not older.is_empty():
            first = older.group_by("row", maintain_order=True).agg(pl.col(f).drop_nulls().first() for f in fields)
            for name, source in told.items():
                unknown = self.columns[name][first["row"].to_numpy()] == _FILL[name][1]
                lacking = first.filter(pl.Series(unknown))
                self._write(name, lacking["row"].to_numpy(), lacking[source])

    def _current(self, frame: pl.DataFrame, time: str, by: str) -> pl.DataFrame:
        return mark_current(frame, ["row"], by, pl.Series(self.columns[time][frame["row"].to_numpy()]))

    def _write(self, name: str, rows: np.ndarray, values: pl.Series, *, clear: bool = False) -> None:
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
