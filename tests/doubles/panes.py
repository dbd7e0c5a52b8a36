"""Pieces of usage history and repeats that lie somewhere else than in a shard's memory, and may be found damaged."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from service.core.frames import REPEATS_PREFIX, Piece, StoredPiece, from_frames, leave, meta, pieces_of, to_frames
from service.core.panes import DamagedError
from service.core.repeats import RUN, Run
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


@dataclass
class StoredRun:
    """core.repeats.Sealed in memory; `damaged` makes it unreadable."""

    frame: pl.DataFrame
    damaged: bool = False

    def read(self) -> pl.DataFrame:
        if self.damaged:
            raise DamagedError("the run is damaged")
        return self.frame

    def run(self) -> Run:
        hashes, rows = (self.read()[name].to_numpy() for name in RUN)
        return hashes, rows


@dataclass(frozen=True)
class Kept:
    """A state as a store has it, to be taken up again any number of times."""

    told: dict[str, Any]
    frames: dict[str, pl.DataFrame]
    pieces: dict[str, StoredPiece]

    def taken_up(self, config: Config) -> State:
        return from_frames(config, self.told, self.frames, self.pieces)


def kept(state: State) -> Kept:
    """Store a state, which lets go of what is stored."""
    pieces = stored(pieces_of(state))
    frames = to_frames(state)
    leave(state, pieces)
    return Kept(meta(state), frames, pieces)


def stored(pieces: Mapping[str, Piece]) -> dict[str, StoredPiece]:
    """What a store makes of the pieces of a snapshot: each is read again as it was, once it is kept."""
    return {
        name: (StoredRun if name.startswith(REPEATS_PREFIX) else StoredPane)(piece)
        if isinstance(piece, pl.DataFrame)
        else piece
        for name, piece in pieces.items()
    }
