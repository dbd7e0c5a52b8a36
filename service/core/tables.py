"""Small columnar tables of what a subscriber has several of: bundles, bills, fees, recharges, complaints, quotas."""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from service.core.tellings import mark_current, standing

_MOST_PIECES = 16


class ByRow(NamedTuple):
    """A frame that is sorted by row, and its rows as plain integers.

    One row's lines are found without a search of whole columns, for which a thread lets go of the interpreter: who
    answers a lookup would wait for its turn after each.
    """

    frame: pl.DataFrame
    rows: memoryview

    @classmethod
    def of(cls, frame: pl.DataFrame) -> "ByRow":
        """A frame with its rows at hand."""
        return cls(frame, frame["row"].to_numpy().data)

    def places(self, row: int) -> range:
        """Where in the frame the lines of a row are."""
        first = bisect.bisect_left(self.rows, row)
        return range(first, bisect.bisect_right(self.rows, row, lo=first))

    def lines(self, row: int) -> list[dict[str, Any]]:
        """The lines of a row, as plain values."""
        return [self.frame.row(at, named=True) for at in self.places(row)]

    def between(self, rows: np.ndarray) -> pl.DataFrame:
        """The lines from the least of some rows to the largest."""
        if not rows.size:
            return self.frame.clear()
        first = bisect.bisect_left(self.rows, int(rows.min()))
        return self.frame.slice(first, bisect.bisect_right(self.rows, int(rows.max()), lo=first) - first)


def gather(frame: pl.DataFrame, rows: np.ndarray, columns: Sequence[str]) -> list[pl.Series]:
    """Columns of a frame, ascending by its own `row` and with one line each, for any rows; null where it has none."""
    if frame.is_empty():
        return [pl.Series(name, [None], frame.schema[name]).new_from_index(0, rows.size) for name in columns]
    mine = frame["row"].to_numpy()
    at = np.minimum(np.searchsorted(mine, rows), mine.size - 1)
    places = pl.Series(at.astype(np.uint32)).set(pl.Series(mine[at] != rows), None)
    return [frame[name].gather(places) for name in columns]


@dataclass(slots=True)
class Table:
    """Rows keyed by `key`; of several with one key that stands which `tellings` says, of `firsts` the least.

    With `sums` those columns are added up over the key instead. Appending is cheap; reading compacts.
    """

    key: tuple[str, ...]
    schema: dict[str, pl.DataType]
    sums: tuple[str, ...] = ()
    firsts: tuple[str, ...] = ()
    _pieces: list[ByRow] = field(default_factory=list)
    _is_compact: bool = True

    def add(self, piece: pl.DataFrame) -> None:
        """Append rows; columns of the schema that `piece` lacks are null."""
        if piece.is_empty():
            return
        missing = [pl.lit(None, dtype).alias(name) for name, dtype in self.schema.items() if name not in piece.columns]
        columns = [pl.col(name).cast(dtype) for name, dtype in self.schema.items()]
        self._pieces.append(ByRow.of(piece.with_columns(missing).select(columns).sort("row", maintain_order=True)))
        self._is_compact = False
        if len(self._pieces) > _MOST_PIECES:
            self._compact()

    def frame(self) -> pl.DataFrame:
        """One line per key, sorted by key; columns of the schema."""
        self._compact()
        return self._pieces[0].frame if self._pieces else pl.DataFrame(schema=self.schema)

    def replace(self, frame: pl.DataFrame) -> None:
        """Let `frame` (columns of the schema, one line per key) be the whole table."""
        self._pieces, self._is_compact = [ByRow.of(frame)], True

    def of_row(self, row: int) -> list[dict[str, Any]]:
        """The lines of one row, as plain values."""
        mine = [line for piece in self._pieces for line in piece.lines(row)]
        keys = {tuple(line[name] for name in self.key) for line in mine}
        if len(keys) == len(mine):
            return mine
        return self._merged([pl.DataFrame(mine, self.schema)]).to_dicts()

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return sum(int(piece.frame.estimated_size()) for piece in self._pieces)

    def _compact(self) -> None:
        if not self._is_compact:
            self.replace(self._merged([piece.frame for piece in self._pieces]))

    def _merged(self, pieces: list[pl.DataFrame]) -> pl.DataFrame:
        stacked = pl.concat(pieces)
        rest = [name for name in self.schema if name not in self.key]
        if "occurred_us" in self.schema:
            # What was compacted before lies before all that came since.
            stacked = mark_current(stacked, self.key, "occurred_us")
            made = [pl.col(name).min() if name in self.firsts else standing(name) for name in rest]
        else:
            made = [self._made(name) for name in rest]
        merged = stacked.group_by(self.key, maintain_order=True).agg(made).sort(self.key)
        return merged.select(list(self.schema))

    def _made(self, name: str) -> pl.Expr:
        """What becomes of a column of lines that bear no time of their own."""
        if name in self.sums:
            return pl.col(name).sum()
        return pl.col(name).min() if name in self.firsts else pl.col(name).drop_nulls().last()
