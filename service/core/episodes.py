"""Warnings in their life: which are open, what each says, who was contacted."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
import polars as pl

from service.core.calendar import to_date
from service.core.strings import StringIndex
from service.core.turn import CONTACTS, TRANSITIONS

OPEN = ("raised", "acknowledged", "snoozed", "recovering")
LIVE = ("pending", *OPEN)
_MOST_CHUNKS = 64
_WORD_BITS = 64
_GROWTH = 1.25
_ANY = ""
_NO_TRANSITIONS = pl.DataFrame(schema=TRANSITIONS)
_EPISODES = {"row": pl.Int32(), **{name: dtype for name, dtype in TRANSITIONS.items() if name != "transition"}}


def episode_id(subscriber_id: str, rule: str, day: int) -> str:
    """The id of an episode: the same subscriber, rule and first day always give the same, so a repeat shows."""
    return blake2b(f"{subscriber_id}\0{rule}\0{day}".encode(), digest_size=16).hexdigest()


@dataclass(slots=True)
class Episodes:
    """Live and recently resolved episodes, one line each, and contacts of the same time.

    Frames are replaced, never changed, so whoever holds one reads a consistent past.
    """

    frame: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_EPISODES))
    contacts: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=CONTACTS))
    # Which rules a row has a live episode of: a rule's place is a bit of a word (uint64) per row. _ANY stands for all
    # rules, and live or not.
    _places: dict[str, int] = field(default_factory=dict)
    _open: list[np.ndarray] = field(default_factory=list)
    _contacted: StringIndex = field(default_factory=StringIndex)

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        frames = int(self.frame.estimated_size()) + int(self.contacts.estimated_size())
        return frames + sum(words.nbytes for words in self._open) + self._contacted.nbytes

    def has_live(self, rule: str, rows: np.ndarray) -> np.ndarray:
        """Flags (bool): has the row an episode of the rule that is not resolved, be it only pending?"""
        place = self._places.get(rule)
        if place is None:
            return np.zeros(rows.size, bool)
        word, bit = divmod(place, _WORD_BITS)
        held = self._open[word]
        inside = rows < held.size
        flags = np.zeros(rows.size, bool)
        flags[inside] = (held[rows[inside]] >> np.uint64(bit)) & np.uint64(1) == 1
        return flags

    def has_any(self, row: int) -> bool:
        """Whether there may be an episode of a row, open or not; said without a look at the episodes."""
        place = self._places.get(_ANY)
        if place is None:
            return False
        word, bit = divmod(place, _WORD_BITS)
        return row < self._open[word].size and bool(int(self._open[word][row]) >> bit & 1)

    def was_contacted(self, subscriber_id: str) -> bool:
        """Whether there may be contacts of a subscriber; said without a look at the contacts."""
        return self._contacted.number(subscriber_id) >= 0

    def unknown(self, lines: pl.DataFrame) -> pl.DataFrame:
        """Those of `lines` (with row and episode_id) of which there is no episode yet, open or not."""
        if not self.has_live(_ANY, lines["row"].to_numpy()).any():
            return lines
        return lines.filter(~lines["episode_id"].is_in(self.frame["episode_id"].implode()))

    def put(self, lines: pl.DataFrame) -> None:
        """Let lines (columns of TRANSITIONS, and row) stand, new ones and newer ones of known episodes."""
        if lines.is_empty():
            return
        rows = lines["row"].to_numpy()
        if self.has_live(_ANY, rows).any():
            self.frame = self.frame.join(lines.select("episode_id"), on="episode_id", how="anti", maintain_order="left")
        rechunk = self.frame.n_chunks() > _MOST_CHUNKS
        self.frame = pl.concat([self.frame, lines.select(list(_EPISODES))], rechunk=rechunk)
        resolved = pl.col("state") == "resolved"
        self._flag(lines.filter(resolved), value=False)
        self._flag(lines.filter(~resolved), value=True)
        self._set(_ANY, rows, value=True)

    def contact(self, contacts: pl.DataFrame) -> None:
        """Add contacts."""
        if not contacts.is_empty():
            self.contacts = pl.concat([self.contacts, contacts])
            self._contacted.intern(contacts["subscriber_id"])

    def contacts_like(self, contacts: pl.DataFrame) -> pl.DataFrame:
        """All kept contacts of each (subscriber, channel) that some contacts are of."""
        if contacts.is_empty():
            return contacts
        touched = contacts.select("subscriber_id", "channel").unique()
        return self.contacts.join(touched, on=["subscriber_id", "channel"], how="semi", maintain_order="left")

    def drop(self, ids: pl.Series) -> None:
        """Let live episodes (ids) never have been."""
        gone = pl.col("episode_id").is_in(ids.implode())
        self._flag(self.frame.filter(gone), value=False)
        self.frame = self.frame.filter(~gone)

    def forget(self, before: int) -> tuple[str, ...]:
        """Drop what was resolved, and contacts made, before a day; returns the ids of the episodes dropped."""
        day = to_date(before)
        if self.frame.is_empty() and self.contacts.is_empty():
            return ()
        past = (pl.col("state") == "resolved") & (pl.col("resolved_on") < day)
        gone = self.frame.filter(past)["episode_id"].sort().to_list()
        if gone:
            self.frame = self.frame.filter(~past)
        kept = self.contacts.filter(pl.col("day") >= day)
        if kept.height < self.contacts.height:
            self._hold(kept)
        return tuple(gone)

    def restore(self, episodes: pl.DataFrame, rows: np.ndarray, contacts: pl.DataFrame) -> None:
        """Take over what was read back: `episodes` has the columns of TRANSITIONS but `transition`."""
        self.frame = episodes.with_columns(row=pl.Series(rows, dtype=pl.Int32))[list(_EPISODES)]
        self._hold(contacts)
        self._places, self._open = {}, []
        self._flag(self.frame.filter(pl.col("state").is_in(LIVE)), value=True)
        self._set(_ANY, rows, value=True)

    def _hold(self, contacts: pl.DataFrame) -> None:
        self.contacts = contacts
        self._contacted = StringIndex.of(contacts["subscriber_id"].unique())

    def _flag(self, lines: pl.DataFrame, *, value: bool) -> None:
        """Note of lines (columns rule and row) whether the row has a live episode of the rule."""
        for (rule,), part in lines.select("rule", "row").partition_by("rule", as_dict=True).items():
            self._set(str(rule), part["row"].to_numpy(), value=value)

    def _set(self, rule: str, rows: np.ndarray, *, value: bool) -> None:
        if not rows.size:
            return
        place = self._places.get(rule, len(self._places))
        word, bit = divmod(place, _WORD_BITS)
        while word >= len(self._open):
            self._open.append(np.zeros(0, np.uint64))
        self._open[word] = _grown(self._open[word], int(rows.max()) + 1)
        self._places[rule] = place  # at last: who looks a row up meanwhile finds a word for every place
        if value:
            self._open[word][rows] |= np.uint64(1 << bit)
        else:
            self._open[word][rows] &= ~np.uint64(1 << bit)


def _grown(words: np.ndarray, rows: int) -> np.ndarray:
    if rows <= words.size:
        return words
    grown = np.zeros(max(rows, int(words.size * _GROWTH)), words.dtype)
    grown[: words.size] = words
    return grown


def empty_transitions() -> pl.DataFrame:
    """No transitions."""
    return _NO_TRANSITIONS


def stack(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Transitions one after another, in a fixed order: by the record that caused them, subscriber and rule."""
    parts = [part for part in parts if not part.is_empty()]
    if not parts:
        return empty_transitions()
    told = pl.concat([part[list(TRANSITIONS)] for part in parts])
    # Days that a clock closes may have one cut: what befell an episode stays in its order.
    return told.sort("at", "subscriber_id", "rule", "episode_id", maintain_order=True)
