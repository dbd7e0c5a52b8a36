"""A state as frames and plain values, and back: what a snapshot holds."""

import contextlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, cast

import numpy as np
import polars as pl

from service.core.attributes import TEXTS
from service.core.cohorts import Cohorts
from service.core.feed import Feed
from service.core.holdings import FIGURES
from service.core.panes import DamagedError, Stored
from service.core.repeats import Repeats, Sealed
from service.core.state import Config, State, new_state
from service.core.strings import StringIndex
from service.core.turn import CONTACTS, TRANSITIONS, Decisions

REPEATS_PREFIX = "repeats/"
_LOOSE_PREFIX = "loose/"
_TABLE_PREFIX = "table/"
_FIGURES_PREFIX = "figures/"
_TEXT_PREFIX = "text/"


StoredPiece = Stored | Sealed
Piece = pl.DataFrame | StoredPiece


def to_frames(state: State) -> dict[str, pl.DataFrame]:
    """Frames by name: all of a state but what `pieces_of` gives; `loose/<day>` is usage that is not in that."""
    rows = len(state.roster)
    frames = {
        "roster": pl.DataFrame({"subscriber_id": state.roster.strings.clone()}),
        "windows": state.windows.frame(rows),
        "activity": pl.DataFrame({str(n): word for n, word in enumerate(state.activity.words(rows))}),
        "attributes": state.attributes.frame(rows),
        "repeats": state.repeats.frame(),
    }
    frames |= {f"{_FIGURES_PREFIX}{name}": figures.frame for name, figures in state.holdings.figures.items()}
    frames |= {f"{_TABLE_PREFIX}{name}": table.frame() for name, table in state.holdings.tables.items()}
    frames |= {
        f"{_TEXT_PREFIX}{name}": pl.DataFrame({"text": state.attributes.vocabularies[name].strings.clone()})
        for name in TEXTS
    }
    return frames | {f"{_LOOSE_PREFIX}{day}": frame for day, frame in state.panes.loose().items()}


def pieces_of(state: State) -> dict[str, Piece]:
    """Usage of closed days and repeats of older ones by name, none of which ever changes again.

    To be called before `to_frames`; once a store has them see `leave`.
    """
    closed = -1 if state.closed_day is None else state.closed_day
    panes = state.panes.offer(closed, closed - state.config.longest_horizon_days)
    return {**panes, **{f"{REPEATS_PREFIX}{name}": run for name, run in state.repeats.offer(closed).items()}}


def leave(state: State, kept: Mapping[str, StoredPiece]) -> None:
    """Let go of what `pieces_of` gave, where a store has it now; `kept` are its pieces by name."""
    panes, runs = _parted(kept)
    state.panes.leave(panes)
    state.repeats.leave(runs)


def meta(state: State) -> dict[str, Any]:
    """What is not a column, as plain JSON values."""
    return {
        "cursor": state.cursor,
        "feedback_cursor": state.feedback_cursor,
        "closed_day": state.closed_day,
        "watermark_us": state.watermark.us,
        "claims": [[who, us] for who, us in sorted(state.watermark.claims.items())],
        "known": sorted(state.watermark.known),
        "windows_days": list(state.config.windows_days),
        "year_on_year": state.config.year_on_year,
        "photo_month": state.config.photo_month,
        "photo_known": state.windows.photo_known,
        "incomplete": [[days, lost] for days, lost in sorted(state.windows.incomplete.items())],
        "lost_days": sorted(state.windows.lost_days),
        "feed": {
            "volumes": [[day, dict(volumes)] for day, volumes in sorted(state.feed.volumes.items())],
            "doubted": [[day, sorted(markets)] for day, markets in sorted(state.feed.doubted.items())],
            "withheld": [[day, sorted(markets)] for day, markets in sorted(state.feed.withheld.items())],
        },
        "zone": state.config.zone,
        "held_bytes": state.nbytes + state.repeats.nbytes,
    }


def from_frames(
    config: Config,
    told: Mapping[str, Any],
    frames: Mapping[str, pl.DataFrame],
    pieces: Mapping[str, StoredPiece] = MappingProxyType({}),
) -> State:
    """The inverse of `to_frames`, `pieces_of` and `meta`; episodes are read back as decisions (see `recall`).

    A window length that the snapshot lacks is summed from the panes; of a column or a table that it lacks, being
    older, nothing is known.

    Raises:
        ValueError: the zone of the snapshot is not that of `config`, so that its days are others.
    """
    if told["zone"] != config.zone:
        raise ValueError(f"the snapshot is of zone {told['zone']}, the settings of {config.zone}")
    state = new_state(config)
    state.roster = StringIndex.of(frames["roster"]["subscriber_id"])
    state.windows.restore(frames["windows"])
    state.activity.restore([word.to_numpy() for word in frames["activity"].get_columns()])
    vocabularies = {name: frame["text"] for name, frame in _below(frames, _TEXT_PREFIX).items()}
    state.attributes.restore(frames["attributes"], vocabularies)
    panes, runs = _parted(pieces)
    state.repeats = Repeats.of(frames["repeats"], runs)
    state.holdings.restore(_below(frames, _TABLE_PREFIX), _below(frames, _FIGURES_PREFIX) or _former(frames))
    state.panes.restore(panes, {int(day): frame for day, frame in _below(frames, _LOOSE_PREFIX).items()})
    state.cursor, state.feedback_cursor = told["cursor"], told["feedback_cursor"]
    state.closed_day = told["closed_day"]
    state.windows.lost_days = set(told["lost_days"])
    state.windows.incomplete = {days: lost for days, lost in told["incomplete"] if days in config.windows_days}
    _sum_what_is_new(state, told)
    if (feed := told.get("feed")) is not None:
        state.feed = Feed(
            volumes=dict(feed["volumes"]),
            doubted={day: frozenset(markets) for day, markets in feed["doubted"]},
            withheld={day: frozenset(markets) for day, markets in feed["withheld"]},
        )
    state.watermark.us = told["watermark_us"]
    state.watermark.known = set(told["known"])
    state.watermark.claims = {int(who): int(us) for who, us in told["claims"]}
    return state


def _below(frames: Mapping[str, pl.DataFrame], prefix: str) -> dict[str, pl.DataFrame]:
    """Frames whose names begin so, by the rest of the name."""
    return {name.removeprefix(prefix): frame for name, frame in frames.items() if name.startswith(prefix)}


def _former(frames: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Figures as snapshots held them once: all in one frame."""
    if (derived := frames.get("derived")) is None:
        return {}
    parts = {name: [column for column in schema if column in derived.columns] for name, schema in FIGURES.items()}
    return {
        name: derived.select(columns).filter(pl.any_horizontal(pl.exclude("row").is_not_null()))
        for name, columns in parts.items()
        if len(columns) > 1
    }


def _parted(pieces: Mapping[str, StoredPiece]) -> tuple[dict[str, Stored], dict[str, Sealed]]:
    """Usage and repeats, by the names that each knows its own by."""
    panes = {name: piece for name, piece in pieces.items() if not name.startswith(REPEATS_PREFIX)}
    runs = {name.removeprefix(REPEATS_PREFIX): piece for name, piece in pieces.items() if name not in panes}
    return cast("dict[str, Stored]", panes), cast("dict[str, Sealed]", runs)


def _sum_what_is_new(state: State, told: Mapping[str, Any]) -> None:
    """Sum from the panes what the snapshot, made under other settings, has no sums of."""
    windows, closed = state.windows, state.closed_day
    windows.photo_known = told["photo_known"]
    if closed is None:
        return
    fresh = set(windows.lengths_days) - set(told["windows_days"])
    if state.config.year_on_year and not told["year_on_year"]:
        fresh = set(windows.lengths_days)
    for days in sorted(fresh):
        windows.build(days, closed, state.panes)
    _count_active(state, max(told["windows_days"]), closed)
    if windows.photo_month != told["photo_month"]:
        windows.build_photo(closed, state.panes)


def _count_active(state: State, known_days: int, closed: int) -> None:
    for ago in range(known_days, max(state.config.windows_days)):
        with contextlib.suppress(DamagedError):  # such a day makes its windows unknown as well
            total = state.panes.total(closed - ago)
            state.activity.correct(ago, total.filter(pl.col("outgoing") > 0)["row"].to_numpy())


def recall(state: State, decided: Decisions) -> None:
    """Put decisions that were read back into a state whose usage stands at their cursor.

    A close that was interrupted stays to be gone on with by `core.step.resume`.
    """
    days = decided.days
    lines = decided.episodes.select([name for name in TRANSITIONS if name != "transition"])
    rows = state.rows_of(lines["subscriber_id"]) if lines.height else np.empty(0, np.int32)
    state.episodes.restore(lines, rows, decided.contacts.select(list(CONTACTS)))
    state.mutes = {mute.id: mute for mute in decided.mutes}
    state.releases = {release.id: release for release in decided.releases}
    state.feedback_cursor = decided.feedback_cursor
    state.last_close = days[max(days)] if days else None
    if state.last_close is not None and state.last_close.day == state.closed_day:
        state.cohorts = Cohorts(state.last_close.cohorts)
    interrupted = state.last_close is not None and state.last_close.slices_done < state.last_close.slices
    state.judged = len(days) > (1 if interrupted else 0)
