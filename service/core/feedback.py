"""What people and channels report: cases taken over, put off or settled, contacts, mutes, and what is let go."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import polars as pl

from service.core.calendar import to_date, to_day
from service.core.episodes import OPEN, empty_transitions, stack
from service.core.state import State
from service.core.turn import CONTACTS, LATE, Counts, Mute, Release, Turn

# What of a report is joined to its episode.
_TOLD = {"by": "by", "until": "until", "outcome": "told_outcome", "occurred_us": "told_us", "offset": "told_at"}


def apply_feedback(state: State, frame: pl.DataFrame) -> Turn:
    """Take in reports, in their order; `frame` has the columns of wire.feedback.FEEDBACK.

    Days are not closed here: see `step.close_through`.
    """
    transitions = [_OF_EPISODES[kind](state, reports) for kind, reports in _runs(frame)]
    reported = frame.filter(pl.col("type") == "contact.reported")
    contacts = reported.select(
        "subscriber_id",
        "channel",
        day=pl.Series([to_date(d) for d in state.days_of(reported["occurred_us"].to_numpy()).tolist()], dtype=pl.Date),
        episode_id="episode_id",
        outcome="outcome",
    ).select(pl.col(name).cast(dtype) for name, dtype in CONTACTS.items())  # fmt: skip
    state.episodes.contact(contacts)
    mutes, releases = _mutes(state, frame), _releases(frame)
    state.mutes |= {mute.id: mute for mute in mutes}
    state.releases |= {release.id: release for release in releases}
    if not frame.is_empty():
        state.feedback_cursor = int(frame["offset"].max()) + 1  # type: ignore[arg-type]  # offsets are integers
    return Turn(
        cursor=state.cursor,
        feedback_cursor=state.feedback_cursor,
        transitions=stack(transitions),
        contacts=state.episodes.contacts_like(contacts),
        late=pl.DataFrame(schema=LATE),
        counts=Counts(),
        mutes=mutes,
        releases=releases,
    )


def _runs(frame: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """Reports of episodes in their order, those of one kind in a row together, each episode at most once in a run."""
    told = frame.filter(pl.col("type").is_in(list(_OF_EPISODES)))
    kinds, ids = told["type"].to_list(), told["episode_id"].to_list()
    start = 0
    seen: set[str] = set()
    for at, (kind, episode) in enumerate(zip(kinds, ids, strict=True)):
        if at > start and (kind != kinds[start] or episode in seen):
            yield kinds[start], told[start:at]
            start, seen = at, set()
        seen.add(episode)
    if kinds:
        yield kinds[start], told[start:]


def _acknowledge(state: State, reports: pl.DataFrame) -> pl.DataFrame:
    """The first to take a case over has it."""
    return _change(
        state,
        reports,
        pl.col("state").is_in(("raised", "snoozed", "recovering")) & pl.col("acknowledged_by").is_null(),
        transition=pl.lit("acknowledged"),
        state=pl.when(pl.col("state") == "recovering").then("state").otherwise(pl.lit("acknowledged")),
        snoozed_until=pl.lit(None, pl.Date),
        acknowledged_by=pl.col("by"),
        acknowledged_us=pl.col("told_us"),
    )


def _snooze(state: State, reports: pl.DataFrame) -> pl.DataFrame:
    """What it is put off to has to lie ahead."""
    ahead = reports.filter(pl.col("until").cast(pl.Int32) > (state.closed_day or 0))
    return _change(
        state,
        ahead,
        pl.col("state").is_in(("raised", "acknowledged", "snoozed")),
        transition=pl.lit("snoozed"),
        state=pl.lit("snoozed"),
        snoozed_until=pl.col("until"),
    )


def _settle(state: State, reports: pl.DataFrame) -> pl.DataFrame:
    """Somebody says how it ended."""
    told_us = reports["occurred_us"].to_numpy()
    days = pl.Series("settled_on", [to_date(day) for day in state.days_of(told_us).tolist()], dtype=pl.Date)
    return _change(
        state,
        reports.with_columns(until=days),
        pl.col("state").is_in(OPEN),
        transition=pl.lit("resolved"),
        state=pl.lit("resolved"),
        outcome=pl.col("told_outcome"),
        resolved_on=pl.col("until"),
        acknowledged_by=pl.coalesce("acknowledged_by", "by"),
    )


def _change(shard: State, reports: pl.DataFrame, may: pl.Expr, **changes: pl.Expr) -> pl.DataFrame:
    """Change the episodes that reports are of, where their state lets it; returns the transitions, and row."""
    if reports.is_empty():
        return empty_transitions()
    told = reports.select("episode_id", **{named: pl.col(name) for name, named in _TOLD.items()})
    frame = shard.episodes.frame
    lines = frame.filter(may).join(told, on="episode_id", maintain_order="left")
    if lines.is_empty():
        return empty_transitions()
    changed = lines.with_columns(changed_us="told_us", at="told_at", **changes)
    changed = changed.select(*frame.columns, "transition")
    shard.episodes.put(changed)
    return changed.select(list(empty_transitions().columns))


_OF_EPISODES: Mapping[str, Callable[[State, pl.DataFrame], pl.DataFrame]] = {
    "warning.acknowledged": _acknowledge,
    "warning.snoozed": _snooze,
    "warning.resolved": _settle,
}


def _mutes(state: State, frame: pl.DataFrame) -> tuple[Mute, ...]:
    """Mutes that are set, and those that somebody ends before their time."""
    found: dict[str, Mute] = {}
    for row in frame.filter(pl.col("type").is_in(("mute.set", "mute.ended"))).iter_rows(named=True):
        day = int(state.days_of(pl.Series([row["occurred_us"]]).to_numpy())[0])
        if row["type"] == "mute.set":
            until, matchers = to_day(row["until"]), json.loads(row["matchers"])
            found[row["mute_id"]] = Mute(row["mute_id"], matchers, day, until, row["by"] or "", row["note"] or "")
        elif (known := found.get(row["mute_id"], state.mutes.get(row["mute_id"]))) is not None:
            found[known.id] = replace(known, until=min(known.until, day - 1))
    return tuple(found.values())


def _releases(frame: pl.DataFrame) -> tuple[Release, ...]:
    released = frame.filter(pl.col("type") == "warnings.released")
    return tuple(
        Release(row["what"], row["rule"], to_day(row["through"]), row["by"] or "")
        for row in released.iter_rows(named=True)
    )
