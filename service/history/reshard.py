"""Snapshots of one partition count as those of another: every row goes to the partition that its subscriber's id has.

What a topic that is made anew begins with, like a bootstrap's: cursors stand before its beginning, and decisions (open
warnings, acknowledgements, contacts) are not carried, as they are not part of snapshots.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from service.core.frames import REPEATS_PREFIX, from_frames, meta, pieces_of, to_frames
from service.core.measures import PANE
from service.core.repeats import RUN
from service.core.step import close_through
from service.history.bootstrap import EmptyStore, NotEmptyError
from service.history.past import Lot
from service.history.pieces import Pieces
from service.ports import Snapshot, SnapshotStore
from service.wire.partitioning import partitions_of

_ALL = 2**63 - 1
_TEXT = "text/"
# Volumes of a feed are those of the shards that were: whether it can be believed is learned anew.
_AFRESH = {"cursor": 0, "feedback_cursor": 0, "writer_epoch": 0, "claims": [], "feed": None}
_MERGED = ("taken_us", "watermark_us", "incomplete", "lost_days", "known", "photo_known", "held_bytes")
_LEFT = ("rulebook",)  # what is carried depends on no rule


class ReshardError(Exception):
    """These snapshots cannot become those of another partition count, in one sentence."""


@dataclass(frozen=True, slots=True)
class _Source:
    """A shard's snapshot, and where its rows go: the new partition of each."""

    partition: int
    snapshot: Snapshot
    homes: np.ndarray

    def rows_for(self, partition: int) -> np.ndarray:
        return np.flatnonzero(self.homes == partition)


@dataclass(frozen=True, slots=True)
class _Taken:
    """Of a source the rows that go to one partition, and the first number that they get there."""

    source: _Source
    rows: np.ndarray
    first: int

    @property
    def held_bytes(self) -> int:
        """Its share of the memory that the source held."""
        return int(self.source.snapshot.manifest.get("held_bytes", 0)) * self.rows.size // self.source.homes.size

    def gathered(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Lines of a frame that has one for each row."""
        return frame[self.rows.astype(np.uint32)]

    def renumbered(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Lines of a frame whose column `row` says whose they are; order stays, as numbers rise with the old ones."""
        numbers = np.full(self.source.homes.size, -1, np.int32)
        numbers[self.rows] = np.arange(self.first, self.first + self.rows.size, dtype=np.int32)
        theirs = numbers[frame["row"].to_numpy()]
        return frame.with_columns(pl.Series("row", theirs)).filter(pl.Series(theirs >= 0))


def reshard(source: SnapshotStore, held: Iterable[int], target: EmptyStore, lot: Lot) -> Iterator[tuple[int, int]]:
    """Store the newest snapshots of the shards `held` by `source` as those of the lot's shards in `target`.

    Days that only some shards have closed are closed for all, judged by nobody.

    Yields: (partition, subscribers) as each is stored; one without subscribers gets no snapshot.
    Raises: ReshardError, NotEmptyError, DamagedError (history that cannot be read), OSError.
    """
    if not target.is_empty():
        raise NotEmptyError("there are snapshots at the target already: name a folder or a URL that is empty")
    partitions, partitioner = lot.intake.partitions, lot.intake.partitioner
    if partitioner == "any":
        raise ReshardError("with the partitioner `any` nobody knows where a subscriber belongs: set murmur2 or crc32")
    newest = {partition: _newest(source, partition) for partition in held}
    days = [one.manifest["closed_day"] for one in newest.values() if one.manifest["closed_day"] is not None]
    sources = []
    for number, snapshot in newest.items():
        ids = snapshot.frames["roster"]["subscriber_id"]
        known = ids.is_not_null().to_numpy()
        if known.any():
            closed = _closed(snapshot, max(days, default=None), lot.quiet)
            homes = np.full(known.size, -1, np.int32)  # rows that are free go nowhere
            homes[known] = partitions_of([key.encode() for key in ids.drop_nulls()], partitions, partitioner)
            sources.append(_Source(number, closed, homes))
    told = _told(sources)
    for partition in range(partitions):
        taken, first = [], 0
        for one in sources:
            rows = one.rows_for(partition)
            if rows.size:
                taken.append(_Taken(one, rows, first))
                first += rows.size
        if taken:
            manifest = told | {"held_bytes": sum(one.held_bytes for one in taken)}
            target.save(partition, Snapshot(manifest, _frames(taken), _pieces(taken)))
            yield partition, first


def _newest(store: SnapshotStore, partition: int) -> Snapshot:
    snapshot = store.newest(partition, _ALL)
    if snapshot is None:
        raise ReshardError(f"shard {partition} has no usable snapshot: see `snapshot verify`")
    return snapshot


def _closed(snapshot: Snapshot, day: int | None, lot: Lot) -> Snapshot:
    """A snapshot after the close of a day that another shard has closed."""
    if day is None or snapshot.manifest["closed_day"] in (None, day):
        return snapshot
    state = from_frames(lot.config, snapshot.manifest, snapshot.frames, snapshot.stored)
    close_through(state, lot.rulebook, day, "clock")
    pieces = pieces_of(state)
    return Snapshot({**snapshot.manifest, **meta(state)}, to_frames(state), pieces)


def _told(sources: Sequence[_Source]) -> dict[str, Any]:
    """What the new manifests say: what all shards say alike."""
    manifests = [source.snapshot.manifest for source in sources]
    if not manifests:
        raise ReshardError("there are no snapshots with subscribers: nothing is to be resharded")
    told: dict[str, Any] = {}
    for key in sorted({key for manifest in manifests for key in manifest} - {*_AFRESH, *_MERGED, *_LEFT}):
        said = {repr(manifest.get(key)): source.partition for source, manifest in zip(sources, manifests, strict=True)}
        if len(said) > 1:
            one, other = list(said.items())[:2]
            raise ReshardError(
                f"shard {one[1]} has {key} {one[0]} and shard {other[1]} {other[0]}: let the service keep snapshots "
                "of all shards under the same settings, stop it in order, and try again"
            )
        told[key] = manifests[0][key]
    marks = [manifest["watermark_us"] for manifest in manifests if manifest["watermark_us"] is not None]
    # Nobody's voice is lost: a new shard asks as many to agree on a leap as the largest of the former did.
    known = max((manifest.get("known", []) for manifest in manifests), key=len)
    photographed = all(manifest.get("photo_known", False) for manifest in manifests)
    # The least watermark is one that every shard believed in; events of the new topic move it on.
    told |= {**_AFRESH, "known": known, "photo_known": photographed, "watermark_us": min(marks, default=None)}
    incomplete: dict[int, int] = {}
    for manifest in manifests:
        for days, day in manifest.get("incomplete", []):
            incomplete[days] = max(day, incomplete.get(days, day))
    return told | {
        "taken_us": max(int(manifest.get("taken_us", 0)) for manifest in manifests),
        "incomplete": [[days, day] for days, day in sorted(incomplete.items())],
        "lost_days": sorted({day for manifest in manifests for day in manifest.get("lost_days", [])}),
    }


def _frames(taken: Sequence[_Taken]) -> dict[str, pl.DataFrame]:
    names = dict.fromkeys(name for one in taken for name in one.source.snapshot.frames)
    texts = [name.removeprefix(_TEXT) for name in names if name.startswith(_TEXT)]
    frames = {name: _stacked(name, taken) for name in names if not name.startswith(_TEXT)}
    for text in texts:
        column = pl.concat([_texts(one, text) for one in taken])
        vocabulary = column.drop_nulls().unique(maintain_order=True)
        codes = pl.DataFrame({"text": vocabulary, "code": np.arange(vocabulary.len(), dtype=np.int32)})
        coded = column.to_frame("text").join(codes, on="text", how="left", maintain_order="left")["code"]
        frames["attributes"] = frames["attributes"].with_columns(coded.fill_null(-1).alias(text))
        frames[f"{_TEXT}{text}"] = vocabulary.to_frame("text")
    return frames


def _texts(one: _Taken, name: str) -> pl.Series:
    frames = one.source.snapshot.frames
    codes = one.gathered(frames["attributes"])[name]
    known = codes.set(codes < 0, None)
    return frames[f"{_TEXT}{name}"]["text"].gather(known.cast(pl.UInt32))


def _stacked(name: str, taken: Sequence[_Taken]) -> pl.DataFrame:
    pieces = []
    for one in taken:
        frame = one.source.snapshot.frames.get(name)
        if frame is None:  # usage of a day that only other shards have
            continue
        if "row" not in frame.columns and frame.height != one.source.homes.size:
            raise ReshardError(f"nobody knows whose the lines of {name} are in shard {one.source.partition}")
        pieces.append(one.renumbered(frame) if "row" in frame.columns else one.gathered(frame))
    return pl.concat(pieces, how="vertical_relaxed")


def _pieces(taken: Sequence[_Taken]) -> Mapping[str, pl.DataFrame]:
    names = dict.fromkeys(name for one in taken for name in one.source.snapshot.pieces)
    return Pieces(tuple(names), lambda name: _gathered(name, taken))


def _gathered(name: str, taken: Sequence[_Taken]) -> pl.DataFrame:
    """Of one piece the lines of all who are taken, in the order that its kind has."""
    parts = [(one, piece) for one in taken if (piece := one.source.snapshot.pieces.get(name)) is not None]
    pieces = [one.renumbered(piece if isinstance(piece, pl.DataFrame) else piece.read()) for one, piece in parts]
    gathered = pl.concat(pieces, how="vertical_relaxed")
    return gathered.select(list(RUN)).sort("hash") if name.startswith(REPEATS_PREFIX) else gathered.select(list(PANE))
