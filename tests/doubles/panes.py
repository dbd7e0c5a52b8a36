"""Pieces of usage history that lie somewhere else than in a shard's memory, and may be found damaged."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from service.core.frames import from_frames, meta, panes_of, to_frames
from service.core.panes import DamagedError, Stored
from service.core.state import Config, State


@dataclass
class StoredPane:
    """core.panes.Stored in memory; `damaged` makes it unreadable. It is at hand once it was asked."""

    frame: pl.DataFrame
    damaged: bool = False
    is_at_hand: bool = False

    @property
    def rows(self) -> int:
        return self.frame.height

    def read(self) -> pl.DataFrame:
        if self.damaged:
            raise DamagedError("the pane is damaged")
        return self.frame

    def line_of(self, row: int) -> tuple[int, ...] | None:
        self.is_at_hand = True
        found = self.read().filter(pl.col("row") == row).rows()
        return found[0] if found else None


@dataclass(frozen=True)
class Kept:
    """A state as a store has it, to be taken up again any number of times."""

    told: dict[str, Any]
    frames: dict[str, pl.DataFrame]
    panes: dict[str, Stored]

    def taken_up(self, config: Config) -> State:
        return from_frames(config, self.told, self.frames, self.panes)


def kept(state: State) -> Kept:
    """Store a state, which lets go of what is stored."""
    panes = stored(panes_of(state))
    frames = to_frames(state)
    state.panes.leave(panes)
    return Kept(meta(state), frames, panes)


def stored(panes: Mapping[str, pl.DataFrame | Stored]) -> dict[str, Stored]:
    """What a store makes of the panes of a snapshot: each is read again as it was, once it is kept."""
    return {name: StoredPane(piece) if isinstance(piece, pl.DataFrame) else piece for name, piece in panes.items()}
