"""Sudden moves: events that are news by themselves, remembered for a quarter by who has made any."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from service.core.hashing import hash64

KEEP_DAYS = 90

# move -> what it is. Only ever append: snapshots hold a move's number.
MOVES: Mapping[str, str] = {
    "status_changed": "the account status became another",
    "forwarding_away": "calls were forwarded to another network",
    "group_left": "a group was left",
    "port_queried": "leave to port the number was queried",
    "port_requested": "a port code was issued, or porting requested",
    "competitor_called": "a competitor's hotline was called",
    "device_changed": "the handset was changed",
    "plan_downgraded": "the plan became one of a lower fee",
    "data_overflow": "data went beyond a package, once in each of its periods",
    "complaint_opened": "a complaint was opened",
    "bundle_unlinked": "a bundle was unlinked and not replaced",
}
NUMBERS = {move: number for number, move in enumerate(MOVES)}

# One line a move; `ref` tells two of one subscriber apart.
TABLE = {"row": pl.Int32(), "move": pl.Int8(), "ref": pl.Int64(), "day": pl.Int32()}
# Of each subscriber and move of the last KEEP_DAYS closed days: the latest day, and how many there were.
FIGURES = {"row": pl.Int32(), "move": pl.Int8(), "day": pl.Int32(), "times": pl.Int32()}

_EVENTS: Mapping[str, tuple[str, ...]] = {
    "forwarding.set": ("forwarding_away",),
    "group.left": ("group_left",),
    "np.queried": ("port_queried",),
    "np.code_issued": ("port_requested",),
    "np.requested": ("port_requested",),
    "competitor.called": ("competitor_called",),
    "device.changed": ("device_changed",),
    "quota": ("data_overflow",),
    "complaint.opened": ("complaint_opened",),
    "bundle.unlinked": ("bundle_unlinked",),
}


def moves_in(
    frames: Mapping[str, pl.DataFrame], compared: Mapping[str, pl.DataFrame], own_network: str
) -> pl.DataFrame:
    """The moves (columns of TABLE) among typed events, and those that were found by comparing (see Attributes)."""
    parts = [_lines(move, told) for move, told in compared.items()]
    for event_type, moves in _EVENTS.items():
        if (frame := frames.get(event_type)) is not None:
            parts += [_lines(move, _meant(event_type, frame, own_network)) for move in moves]
    parts = [part for part in parts if not part.is_empty()]
    return pl.concat(parts) if parts else pl.DataFrame(schema=TABLE)


def _meant(event_type: str, frame: pl.DataFrame, own_network: str) -> pl.DataFrame:
    """Those events of a type that are moves."""
    match event_type:
        case "forwarding.set":
            return frame.filter(pl.col("peer_network") != own_network)
        case "competitor.called":
            return frame.filter(pl.col("network").ne_missing(own_network))
        case "quota":
            over = (pl.col("total") > 0) & (pl.col("used") > pl.col("total"))
            return frame.filter((pl.col("measure") == "data") & over)
        case "bundle.unlinked":
            return frame.filter(pl.col("reason").ne_missing("replaced"))
        case _:
            return frame


def _lines(move: str, told: pl.DataFrame) -> pl.DataFrame:
    return told.select(
        pl.col("row").cast(pl.Int32), move=pl.lit(NUMBERS[move], pl.Int8), ref=_refs(move, told), day="day"
    ).cast(TABLE)  # type: ignore[arg-type]  # a schema, as `cast` takes it


def _refs(move: str, told: pl.DataFrame) -> pl.Series:
    """What tells two such moves apart: the thing they are of where there is one, else the instant."""
    match move:
        case "complaint_opened":
            named = told.select(name=pl.col("complaint_id").fill_null(""))
        case "data_overflow":
            month = pl.col("day").cast(pl.Date).dt.strftime("%Y-%m")
            period = pl.coalesce(pl.col("resets_on").cast(pl.String), month)
            named = told.select(name=pl.concat_str(pl.col("package_id").fill_null(""), pl.lit(" "), period))
        case _:
            return told["occurred_us"]
    return pl.Series(hash64(named["name"]).view(np.int64))


def figures(moves: pl.LazyFrame, day: int) -> pl.LazyFrame:
    """What is known of moves at the close of a day: columns of FIGURES, by row and move."""
    recent = moves.filter(pl.col("day").is_between(day - KEEP_DAYS + 1, day))
    made = recent.group_by("row", "move").agg(pl.col("day").max(), times=pl.len().cast(pl.Int32))
    return made.select(list(FIGURES)).sort("row", "move")
