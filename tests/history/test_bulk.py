"""Daily aggregates loaded before day one give what the events behind them give, to the last unit."""

import json
import random
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from service.core.calendar import to_day
from service.core.measures import MEASURES
from service.core.rules import Rulebook, SegmentBands
from service.core.state import Config, State
from service.core.step import close_through, step
from service.history.bootstrap import Known, NotEmptyError, bootstrap
from service.history.bulk import KnownDays, bootstrap_days
from service.history.files import FileError, Source
from service.history.past import Lot
from service.history.windows import windows_of
from service.store.store import Store
from service.wire.decode import Intake
from service.wire.partitioning import partition_of
from tests.core.streams import Event, batch_of, day_of, used
from tests.history.stores import restored, store_in

ZONE = "Europe/Berlin"  # its clocks change within the days below
CONFIG = Config(zone=ZONE, windows_days=(1, 7, 10))
BANDED = Rulebook("banded", (), bands=(SegmentBands("spend", 7, 0.2, 0.5, 100),))
SHARDS = 3
LOT = Lot(CONFIG, BANDED, intake=Intake(SHARDS))
FIRST, DAYS = datetime(2024, 2, 26, tzinfo=UTC), 41
LAST = date(2024, 4, 6)
TODAY = to_day(date(2024, 4, 8))
PEOPLE = [*(str(n) for n in range(40)), "a/b?c%20", "日本", "x" * 40]


def days_of_usage(seed: int) -> list[Event]:
    """Some use something on most days, everybody on the last; a few are silent, or only called."""
    rng = random.Random(seed)
    events = []
    for offset in range(DAYS):
        for who in PEOPLE:
            at = FIRST + timedelta(days=offset, hours=12, seconds=rng.randrange(9 * 3600))
            told: list[tuple[str, dict[str, Any]]] = [
                ("usage.voice", {"seconds": rng.randrange(900), "direction": rng.choice(["out", "in"])}),
                ("usage.data", {"bytes": rng.randrange(2**40)}),
                ("usage.sms", {"count": rng.randrange(5), "direction": "in"}),
                ("charge", {"amount_minor": rng.randrange(900), "kind": rng.choice(["usage", "recurring"])}),
                ("charge", {"amount_minor": -rng.randrange(90), "kind": "refund"}),
                ("recharge", {"amount_minor": rng.randrange(5000)}),
            ]
            count = 1 if offset == DAYS - 1 else max(0, rng.randrange(-3, 4))
            events += [
                Event(f"{offset}-{n}", who, told[n][0], at, told[n][1]) for n in rng.sample(range(len(told)), count)
            ]
    return events


def aggregated(events: Sequence[Event]) -> pl.DataFrame:
    """What plain sums make of events: a line for each subscriber and day on which anything happened."""
    sums: dict[tuple[str, date], dict[str, int]] = defaultdict(lambda: dict.fromkeys(MEASURES, 0))
    for event in events:
        line = sums[event.subscriber, day_of(event.at, ZONE)]
        for measure, amount in used(event).items():
            line[measure] += amount
    lines = [{"subscriber_id": who, "day": day, **line} for (who, day), line in sums.items()]
    return pl.DataFrame(lines).sample(fraction=1.0, shuffle=True, seed=1)


def write_events(events: Sequence[Event], path: Path) -> Path:
    path.write_text(
        "".join(
            json.dumps(
                {"id": e.id, "type": e.type, "subscriber_id": e.subscriber, "occurred_at": e.at.isoformat(), **e.fields}
            )
            + "\n"
            for e in events
        )
    )
    return path


def known_of(state: State) -> pl.DataFrame:
    """Everybody's sums and the days of their silence, by id."""
    rows = np.arange(state.subscribers)
    days = pl.DataFrame({name: state.attributes[name][rows] for name in ("first_seen", "last_outgoing")})
    sums = state.windows.frame(state.subscribers)
    return days.hstack(sums).with_columns(subscriber_id=state.roster.strings).sort("subscriber_id")


def segments_of(state: State) -> pl.DataFrame:
    """Everybody's segment, by id."""
    codes = state.attributes["segment"][: state.subscribers]
    return pl.DataFrame({"subscriber_id": state.roster.strings, "segment": codes}).sort("subscriber_id")


def history_of(state: State) -> pl.DataFrame:
    """All panes, by id."""
    panes = [state.panes.total(day).with_columns(day=pl.lit(day)) for day in state.panes.days]
    told = pl.concat(panes, how="vertical_relaxed").cast(dict.fromkeys(MEASURES, pl.Int64))
    ids = state.roster.take(told["row"].to_numpy()).alias("subscriber_id")
    return told.drop("row").with_columns(ids).sort("day", "subscriber_id")


def loaded(lines: pl.DataFrame, folder: Path, **more: Path) -> Store:
    lines.write_parquet(folder / "days.parquet")
    store = store_in(folder / "snapshots", SHARDS)
    bootstrap_days(KnownDays(folder / "days.parquet", TODAY, **more), store, LOT)
    return store


@pytest.mark.parametrize("seed", [1, 2])
def test_aggregates_give_what_their_events_give(tmp_path: Path, seed: int) -> None:
    events = days_of_usage(seed)
    by_events = store_in(tmp_path / "by_events", SHARDS)
    source = Source(write_events(events, tmp_path / "events.ndjson"), None)
    assert bootstrap(Known(source), by_events, LOT)["rejected"] == 0
    by_days = loaded(aggregated(events), tmp_path)
    after = [Event("n", who, "usage.data", FIRST + timedelta(days=DAYS, hours=13), {"bytes": 7}) for who in PEOPLE]
    for partition in range(SHARDS):
        ours, theirs = restored(by_days, partition, CONFIG), restored(by_events, partition, CONFIG)
        assert (ours.closed_day, ours.cursor, ours.judged) == (theirs.closed_day, 0, False)
        assert ours.closed_day == to_day(LAST) - 1
        assert len(ours.watermark.known) == len(theirs.watermark.known) == min(3, ours.subscribers)
        assert_frame_equal(history_of(ours), history_of(theirs))
        assert_frame_equal(known_of(ours), known_of(theirs))
        mine = [e for e in after if partition_of(e.subscriber.encode(), SHARDS, "murmur2") == partition]
        for state in (ours, theirs):
            step(state, BANDED, batch_of(mine))
            close_through(state, BANDED, to_day(LAST) + 1, "clock")
        assert ours.closed_day == theirs.closed_day == to_day(LAST) + 1
        assert_frame_equal(known_of(ours), known_of(theirs))
        assert_frame_equal(segments_of(ours), segments_of(theirs))


def test_days_beyond_every_window_are_only_remembered(tmp_path: Path) -> None:
    long_ago = date(2024, 1, 1)
    lines = aggregated(days_of_usage(1))
    older = lines.filter(pl.col("day") == LAST).with_columns(day=pl.lit(long_ago))
    state = restored(loaded(pl.concat([lines, older]), tmp_path), 0, CONFIG)
    assert state.panes.days[0] == to_day(LAST) - 1 - 30
    assert (state.attributes["first_seen"][: state.subscribers] == to_day(long_ago)).all()


def test_measures_not_told_are_zero_and_days_may_be_files_of_their_own(tmp_path: Path) -> None:
    lines = aggregated(days_of_usage(1)).select("subscriber_id", "day", pl.col("spend").cast(pl.Int32))
    (tmp_path / "days").mkdir()
    for (day,), part in lines.partition_by("day", as_dict=True).items():
        part.write_parquet(tmp_path / "days" / f"{day}.parquet")
    parts = []
    for number, file in enumerate((tmp_path / "days", tmp_path / "days" / "*.parquet")):
        store = store_in(tmp_path / str(number), SHARDS)
        answer = bootstrap_days(KnownDays(file, TODAY), store, LOT)
        assert (answer["lines"], answer["subscribers"]) == (lines.height, len(PEOPLE))
        assert (answer["first_day"], answer["last_day"]) == ("2024-02-26", str(LAST))
        parts.append(pl.concat([known_of(restored(store, partition, CONFIG)) for partition in range(SHARDS)]))
    assert_frame_equal(parts[0], parts[1])
    assert parts[0]["spend_10d"].sum() > 0
    assert parts[0]["data_10d"].sum() == 0


def test_profiles_stand_beside_days(tmp_path: Path) -> None:
    people = tmp_path / "people.csv"
    people.write_text("subscriber_id,market,activated_on\n3,campus,2012-02-29\nnever used,enterprise,2013-01-01\n")
    store = loaded(aggregated(days_of_usage(1)), tmp_path, profiles=people)
    told: dict[str, str | None] = {}
    for partition in range(SHARDS):
        state = restored(store, partition, CONFIG)
        rows = np.arange(state.subscribers)
        told |= dict(zip(state.roster.strings.to_list(), state.attributes.texts("market", rows).to_list(), strict=True))
        assert windows_of(state, (10,)).height == state.subscribers
    assert {who: market for who, market in told.items() if market} == {"3": "campus", "never used": "enterprise"}
    assert len(told) == len(PEOPLE) + 1


LINE = {"subscriber_id": ["a", "b"], "day": [LAST, LAST], "spend": [1, 2], "voice": [0, 3]}


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"subscriber_id": ["a", None]}, "has lines without a subscriber_id"),
        ({"subscriber_id": ["a", ""]}, "has lines without a subscriber_id"),
        ({"subscriber_id": ["a", "a"]}, "has two lines of one subscriber on 2024-04-06: add them up first"),
        ({"subscriber_id": [1, 2]}, "subscriber_id is Int64 and has to be String"),
        ({"day": [LAST, None]}, "has lines without a day"),
        ({"day": [LAST, date(2025, 1, 1)]}, "has lines of 2025-01-01, a day yet to come"),
        ({"day": ["2024-04-06", "2024-04-06"]}, "day is String and has to be Date"),
        ({"voice": [0, -3]}, "voice is below zero on 2024-04-06, which cannot be"),
        ({"voice": [0.5, 1.0]}, "voice is Float64 and has to be whole numbers of minutes"),
        ({"voices": [1, 1]}, r"there is no measure voices; did you mean voice\?; drop or rename it"),
    ],
)
def test_bad_lines_are_told_in_a_sentence_and_nothing_is_stored(
    tmp_path: Path, changed: dict[str, list[object]], sentence: str
) -> None:
    with pytest.raises(FileError, match=f"days.parquet:? {sentence}$"):
        loaded(pl.DataFrame(LINE | changed), tmp_path)
    assert store_in(tmp_path / "snapshots", SHARDS).is_empty()


def test_refunds_and_reversals_may_be_negative(tmp_path: Path) -> None:
    store = loaded(pl.DataFrame(LINE | {"spend": [-5, -6]}), tmp_path)
    states = [restored(store, p, CONFIG) for p in range(SHARDS) if store.newest(p, 0) is not None]
    assert sum(history_of(state)["spend"].sum() for state in states) == -11


@pytest.mark.parametrize("missing", ["subscriber_id", "day"])
def test_a_missing_column_is_told(tmp_path: Path, missing: str) -> None:
    with pytest.raises(FileError, match=f"has no column {missing}"):
        loaded(pl.DataFrame(LINE).drop(missing), tmp_path)


def test_what_is_no_parquet_or_empty_or_nowhere_is_told(tmp_path: Path) -> None:
    store = store_in(tmp_path / "snapshots", SHARDS)
    torn, none = tmp_path / "torn.parquet", tmp_path / "none.parquet"
    torn.write_bytes(b"PAR1 no more")
    pl.DataFrame(LINE).clear().cast({"day": pl.Date}).write_parquet(none)
    for file, sentence in (
        (torn, "cannot be read as Parquet"),
        (none, "tells of no day"),
        (tmp_path / "nowhere.parquet", "names no Parquet file"),
        (tmp_path / "no*.parquets", "names no Parquet file"),
    ):
        with pytest.raises(FileError, match=sentence):
            bootstrap_days(KnownDays(file, TODAY), store, LOT)


def test_a_store_in_use_is_left_alone(tmp_path: Path) -> None:
    loaded(pl.DataFrame(LINE), tmp_path)
    with pytest.raises(NotEmptyError):
        loaded(pl.DataFrame(LINE), tmp_path)
