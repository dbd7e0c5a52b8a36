"""Cutting a turn so that each transaction stays small and is complete up to its own cursor."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import polars as pl

from service.core.turn import Counts, Turn
from service.wire.rejects import Reject

MOST_TRANSITIONS = 5_000


def slices(turn: Turn, most: int = MOST_TRANSITIONS) -> Iterator[Turn]:
    """The same turn as turns of about `most` transitions, each ending before the first record of the next.

    The close of a day is sliced by the core, and what one record causes is never torn apart.
    """
    rest = turn
    while rest.day is None and rest.transitions.height > most:
        ats = rest.transitions["at"]
        cut = int(ats[most])
        first = int(ats.search_sorted(cut))
        if first == 0:  # one record causes more than that: it goes whole
            first = int(ats.search_sorted(cut, side="right"))
            if first == rest.transitions.height:
                break
            cut = int(ats[first])
        later = rest.transitions[first:]["episode_id"].implode()
        now = rest.transitions[:first]
        yield replace(
            rest,
            cursor=cut,
            transitions=now,
            contacts=rest.contacts.join(now, on="subscriber_id", how="semi", maintain_order="left").filter(
                ~pl.col("episode_id").is_in(later)
            ),
            late=rest.late.filter(pl.col("offset") < cut),
            forgotten=(),
            counts=Counts(),
        )
        rest = replace(rest, transitions=rest.transitions[first:], late=rest.late.filter(pl.col("offset") >= cut))
    yield rest


def before(rejects: Sequence[Reject], cursor: int) -> tuple[Sequence[Reject], Sequence[Reject]]:
    """Rejects of records before a cursor, and the others; both in offset order."""
    at = next((at for at, reject in enumerate(rejects) if reject.record.offset >= cursor), len(rejects))
    return rejects[:at], rejects[at:]


def says_nothing(turn: Turn) -> bool:
    """Whether a turn only moves the cursors."""
    frames = (turn.transitions, turn.contacts, turn.late, turn.segments)
    return turn.day is None and not turn.forgotten and all(frame.is_empty() for frame in frames)
