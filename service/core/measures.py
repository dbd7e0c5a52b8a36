"""What is summed of a subscriber's usage, and how each event type adds to it."""

from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl

from service.core.selecting import select

# measure -> (unit, what it sums)
MEASURES: Mapping[str, tuple[str, str]] = {
    "spend": ("minor", "usage charges and refunds; recurring fees and one-off charges are not usage"),
    "voice": ("minutes", "billed minutes of outgoing calls, rounded up per call"),
    "voice_seconds": ("seconds", "duration of outgoing calls"),
    "voice_in": ("minutes", "billed minutes of incoming calls"),
    "data": ("bytes", "bytes up and down"),
    "sms": ("messages", "messages sent"),
    "recharge": ("minor", "recharges less reversals"),
    "outgoing": ("events", "outgoing calls, messages sent and data sessions"),
}

PANE = {"row": pl.Int32, **dict.fromkeys(MEASURES, pl.Int64)}

_OUT = pl.col("direction").fill_null("out") == "out"
_MINUTES = pl.coalesce("billed_minutes", (pl.col("seconds") + 59) // 60)
_ONE = pl.lit(1, pl.Int64)

_ADDS: Mapping[str, Mapping[str, pl.Expr]] = {
    "usage.voice": {
        "voice": pl.when(_OUT).then(_MINUTES).otherwise(0),
        "voice_seconds": pl.when(_OUT).then("seconds").otherwise(0),
        "voice_in": pl.when(_OUT).then(0).otherwise(_MINUTES),
        "outgoing": _OUT.cast(pl.Int64),
    },
    "usage.sms": {"sms": pl.when(_OUT).then("count").otherwise(0), "outgoing": _OUT.cast(pl.Int64)},
    "usage.data": {"data": pl.col("bytes"), "outgoing": _ONE},
    "charge": {"spend": pl.when(pl.col("kind").is_in(["usage", "refund"])).then("amount_minor").otherwise(0)},
    "recharge": {"recharge": pl.col("amount_minor")},
}


ADDED = frozenset(_ADDS)  # the types of events that add to a day


def contributions(frames: Mapping[str, pl.DataFrame]) -> dict[int, pl.DataFrame]:
    """What typed events with `row` and `day` add, by day: columns of PANE, one line per row, ascending."""
    parts = list(_parts(frames))
    if not parts:
        return {}
    days, rows = (np.concatenate([part[name].to_numpy() for part in parts]) for name in ("day", "row"))
    order = np.lexsort((rows, days))
    days, rows = days[order], rows[order]
    first = np.flatnonzero(np.r_[True, (days[1:] != days[:-1]) | (rows[1:] != rows[:-1])])
    sums = {measure: np.add.reduceat(_amounts(parts, measure)[order], first) for measure in MEASURES}
    whole = pl.DataFrame({"row": rows[first], **sums}, schema=PANE)
    told, starts = np.unique(days[first], return_index=True)
    ends = [*starts[1:].tolist(), whole.height]
    return {day: _part(whole, start, end) for day, start, end in zip(told.tolist(), starts.tolist(), ends, strict=True)}


def _part(whole: pl.DataFrame, start: int, end: int) -> pl.DataFrame:
    """Lines of a frame, copied where they are few: they may outlive it by days, and a slice would hold all of it."""
    is_most = 2 * (end - start) > whole.height
    return whole.slice(start, end - start) if is_most else whole[np.arange(start, end, dtype=np.uint32)]


def _amounts(parts: list[pl.DataFrame], measure: str) -> np.ndarray:
    """What each line of the parts adds to a measure."""
    return np.concatenate(
        [part[measure].to_numpy() if measure in part.columns else np.zeros(part.height, np.int64) for part in parts]
    )


def _parts(frames: Mapping[str, pl.DataFrame]) -> Iterator[pl.DataFrame]:
    for event_type, adds in _ADDS.items():
        frame = frames.get(event_type)
        if frame is not None and not frame.is_empty():
            yield select(frame, "day", "row", *(add.fill_null(0).alias(name) for name, add in adds.items()))
