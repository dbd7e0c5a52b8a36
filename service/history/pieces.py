"""A shard's pieces on their way into a store, so that one at a time is in memory."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True, slots=True)
class Pieces(Mapping[str, pl.DataFrame]):
    """Pieces by name, each made when it is asked for."""

    names: tuple[str, ...]
    made: Callable[[str], pl.DataFrame]

    def __getitem__(self, name: str) -> pl.DataFrame:
        return self.made(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)
