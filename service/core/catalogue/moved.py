"""Signals of sudden moves: how long ago the last of each was, and how many there were within the quarter."""

from collections.abc import Iterator

import polars as pl

from service.core.catalogue.signal import I32, Made, Signal, days_since
from service.core.moves import KEEP_DAYS, MOVES

LAST, TIMES = "_last", "_times"  # raw columns: the move and what is asked of it


def _of(move: str, meaning: str) -> Iterator[tuple[str, tuple[Signal, pl.Expr]]]:
    none = f"there was none in the last {KEEP_DAYS} closed days"
    yield (
        f"days_since_{move}",
        (Signal(I32, "days", f"days since {meaning}", none), days_since(pl.col(f"{move}{LAST}"))),
    )
    yield (
        f"{move}_{KEEP_DAYS}d",
        (
            Signal(I32, "times", f"how often {meaning} in the last {KEEP_DAYS} closed days"),
            pl.col(f"{move}{TIMES}").fill_null(0),
        ),
    )


MOVED: Made = {
    "open_complaints": (Signal(I32, "complaints", "complaints still open"), pl.col("open_complaints").fill_null(0)),
    **{name: made for move, meaning in MOVES.items() for name, made in _of(move, meaning)},
}
