"""Small columnar tables of what a subscriber has several of: bundles, bills, fees, recharges, complaints, quotas."""

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from service.core.tellings import mark_current, standing

_MOST_PIECES = 16


def lines_of(frame: pl.DataFrame, row: int) -> pl.DataFrame:
    """The lines of one row: for a single one numpy is several times quicker than a filter."""
    found = np.flatnonzero(frame["row"].to_numpy() == row)
    return (
        frame.slice(int(found[0]), 1)
        if found.size == 1
        else frame[found.astype(np.uint32)]
        if found.size
        else frame[:0]
    )


@dataclass(slots=True)
class Table:
    """Rows keyed by `key`; of several with one key that stands which `tellings` says, of `firsts` the least.

    With `sums` those columns are added up over the key instead. Appending is cheap; reading compacts.
    """

    key: tuple[str, ...]
    schema: dict[str, pl.DataType]
    sums: tuple[str, ...] = ()
    firsts: tuple[str, ...] = ()
    _pieces: list[pl.DataFrame] = field(default_factory=list)
    _is_compact: bool = True

    def add(self, piece: pl.DataFrame) -> None:
        """Append rows; columns of the schema that `piece` lacks are null."""
        if piece.is_empty():
            return
        missing = [pl.lit(None, dtype).alias(name) for name, dtype in self.schema.items() if name not in piece.columns]
        self._pieces.append(piece.with_columns(missing).select(pl.col(n).cast(t) for n, t in self.schema.items()))
        self._is_compact = False
        if len(self._pieces) > _MOST_PIECES:
            self._compact()

    def frame(self) -> pl.DataFrame:
        """One line per key, sorted by key; columns of the schema."""
        self._compact()
        return self._pieces[0] if self._pieces else pl.DataFrame(schema=self.schema)

    def replace(self, frame: pl.DataFrame) -> None:
        """Let `frame` (columns of the schema, one line per key) be the whole table."""
        self._pieces, self._is_compact = [frame], True

    def of_row(self, row: int) -> list[dict[str, object]]:
        """The lines of one row, as plain values."""
        mine = [lines for piece in self._pieces if not (lines := lines_of(piece, row)).is_empty()]
        if not mine:
            return []
        return (mine[0] if self._is_compact else self._merged(mine)).to_dicts()

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return sum(int(piece.estimated_size()) for piece in self._pieces)

    def _compact(self) -> None:
        if not self._is_compact:
            self.replace(self._merged(self._pieces))

    def _merged(self, pieces: list[pl.DataFrame]) -> pl.DataFrame:
        stacked = pl.concat(pieces)
        rest = [name for name in self.schema if name not in self.key]
        if "occurred_us" in self.schema:
            # What was compacted before lies before all that came since.
            stacked = mark_current(stacked, self.key, "occurred_us")
            made = [pl.col(name).min() if name in self.firsts else standing(name) for name in rest]
        else:
            made = [pl.col(name).sum() if name in self.sums else pl.col(name).drop_nulls().last() for name in rest]
        merged = stacked.group_by(self.key, maintain_order=True).agg(made).sort(self.key)
        return merged.select(list(self.schema))
