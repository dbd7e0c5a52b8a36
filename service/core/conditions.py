"""Many conditions over the same rows: what several of them ask is worked out once."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

# A part that is asked as it stands, by its name, or two joined by AND or OR.
Node = str | tuple[str, "Node", "Node"]


@dataclass(frozen=True, slots=True)
class Conditions:
    """Conditions by name, split at AND and OR: the parts, and how each condition is put together of them.

    Planning hundreds of whole conditions takes polars longer than judging them: the time grows with their square.
    """

    parts: Mapping[str, pl.Expr]
    trees: Mapping[str, Node]
    names: tuple[str, ...]  # of the signals that they read

    def judge(self, frame: pl.DataFrame) -> dict[str, pl.Series]:
        """For each condition whether it holds, true or false; of one line where it reads no signal."""
        # Each part is so little work that handing it to another thread takes longer.
        made = frame.select_seq(part.alias(name) for name, part in self.parts.items())
        known: dict[Node, pl.Series] = dict(zip(self.parts, made.get_columns(), strict=True))
        return {name: _put_together(tree, known) for name, tree in self.trees.items()}


class Splitting:
    """Takes conditions one by one, and finds what they have in common."""

    def __init__(self) -> None:
        self._parts: dict[tuple[bytes, bool], tuple[str, pl.Expr]] = {}
        self._trees: dict[str, Node] = {}

    def add(self, name: str, condition: pl.Expr, *, unknown: bool = False) -> None:
        """Another condition; `unknown`: what it is taken for where it is unknown.

        AND and OR of parts that are taken so come out as they would if the whole were.
        """
        self._trees[name] = self._split(condition, unknown=unknown)

    def done(self) -> Conditions:
        """All of them."""
        parts = dict(self._parts.values())
        names = {name for part in parts.values() for name in part.meta.root_names()}
        return Conditions(parts, self._trees, tuple(sorted(names)))

    def _split(self, condition: pl.Expr, *, unknown: bool) -> Node:
        inside = condition.meta.pop()
        if len(inside) == 2:  # noqa: PLR2004 - what AND and OR join
            right, left = inside
            for kind, joined in (("and", left & right), ("or", left | right)):
                if joined.meta.eq(condition):
                    return kind, self._split(left, unknown=unknown), self._split(right, unknown=unknown)
        key = condition.meta.serialize(), unknown
        return self._parts.setdefault(key, (str(len(self._parts)), condition.fill_null(value=unknown)))[0]


def _put_together(node: Node, known: dict[Node, pl.Series]) -> pl.Series:
    found = known.get(node)
    if found is None:
        assert isinstance(node, tuple)  # noqa: S101 - every part is known
        kind, left, right = node
        one, other = _put_together(left, known), _put_together(right, known)
        found = known[node] = one & other if kind == "and" else one | other
    return found
