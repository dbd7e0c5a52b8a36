"""Two months loaded before day one and a third that streams in give what all three streamed in give."""

import json
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from service.core.calendar import to_day
from service.core.record import describe
from service.core.state import Config, State
from service.core.step import close_through, step
from service.history.bootstrap import Known, NotEmptyError, bootstrap
from service.history.files import FileError, Source, read_usage
from service.history.past import NO_RULES, Lot, live_through
from service.history.windows import windows_of
from service.rulebook.mapping import load_mapping
from service.wire.decode import Intake, decode
from service.wire.partitioning import partition_of
from service.wire.records import Record
from tests.history.stores import restored, store_in

RULES = Path(__file__).parents[2] / "rules"
CONFIG = Config()
SHARDS = 3
INTAKE = Intake(SHARDS)
LOT = Lot(CONFIG, intake=INTAKE)


def months(rows: int) -> pl.DataFrame:
    """Three months of made-up subscribers, as the monthly file has them."""
    lines = [
        {
            "id": who, "year": 2013, "month": month, "lifetime_days": 40 * who + 31 * month,
            "spend": who * 1.37 + month, "out_minutes": who * 2.5, "sms_out": who * month % 50, "data_mb": who * 0.7,
            "reload_sum": 5.0 * (who % 3), "days_silent": who % 12, "days_since_reload": who % 40,
        }
        for month in (6, 7, 8)
        for who in range(1, rows + 1)
    ]  # fmt: skip
    return pl.DataFrame(lines)


def stream(state: State, events: pl.DataFrame, partition: int) -> None:
    records = [
        Record("usage.events", partition, offset, -1, who.encode(), value)
        for offset, (who, value) in enumerate(events.select("subscriber_id", "value").iter_rows())
        if partition_of(who.encode(), SHARDS, "murmur2") == partition
    ]
    for start in range(0, len(records), 700):
        decoded = decode(records[start : start + 700], INTAKE)
        assert not decoded.rejects
        turns = step(state, NO_RULES, decoded.batch)
        assert not any(turn.late.height for turn in turns)


def test_history_and_a_stream_give_what_one_stream_gives(tmp_path: Path) -> None:
    mapping = load_mapping(RULES, "prepaid_monthly")
    rows = months(120)
    rows.write_parquet(tmp_path / "all.parquet")
    rows.filter(pl.col("month") < 8).write_parquet(tmp_path / "history.parquet")
    rows.filter(pl.col("month") == 8).write_parquet(tmp_path / "third.parquet")
    store = store_in(tmp_path, SHARDS)
    answer = bootstrap(Known(Source(tmp_path / "history.parquet", mapping)), store, LOT)
    assert (answer["subscribers"], answer["shards"]) == (120, SHARDS)
    assert (answer["first_day"], answer["last_day"]) == ("2013-06-01", "2013-07-31")

    third = read_usage(Source(tmp_path / "third.parquet", mapping)).events
    last = to_day(date(2013, 8, 31))
    parts = []
    for partition in range(SHARDS):
        state = restored(store, partition, CONFIG)
        assert (state.cursor, state.judged) == (0, False)
        stream(state, third, partition)
        close_through(state, NO_RULES, last, "clock")
        parts.append(windows_of(state, CONFIG.windows_days))
    whole, _ = live_through(read_usage(Source(tmp_path / "all.parquet", mapping)).events, Lot(CONFIG), last)
    expected = windows_of(whole.state, CONFIG.windows_days)
    assert expected["data_90d"].sum() > 0
    assert_frame_equal(pl.concat(parts).sort("subscriber_id"), expected)


def test_a_store_that_holds_anything_is_left_alone(tmp_path: Path) -> None:
    months(5).write_parquet(tmp_path / "all.parquet")
    known = Known(Source(tmp_path / "all.parquet", load_mapping(RULES, "prepaid_monthly")))
    store = store_in(tmp_path, SHARDS)
    bootstrap(known, store, LOT)
    before = sorted(path for path in (tmp_path / "snapshots").rglob("*"))
    with pytest.raises(NotEmptyError, match="there are snapshots already"):
        bootstrap(known, store, LOT)
    assert sorted(path for path in (tmp_path / "snapshots").rglob("*")) == before


def test_profiles_become_the_roster(tmp_path: Path) -> None:
    months(5).write_parquet(tmp_path / "all.parquet")
    (tmp_path / "people.csv").write_text(
        "subscriber_id,msisdn,market,fee_minor,activated_on,consent_call,consent_sms\n"
        "3,8613800000003,campus,5800,2012-02-29,true,\n"
        "none of the five,,enterprise,,,false,true\n"
        "4,8613800000004,campus,many,2012-02-29,true,\n"
        "2,,,,,false,\n"
    )
    known = Known(Source(tmp_path / "all.parquet", load_mapping(RULES, "prepaid_monthly")), tmp_path / "people.csv")
    store = store_in(tmp_path, 1)
    answer = bootstrap(known, store, Lot(CONFIG, intake=Intake(1)))
    assert (answer["subscribers"], answer["rows_rejected"]) == (6, 1)
    state = restored(store, 0, CONFIG)
    three, other = (describe(state, NO_RULES, who, state.episodes.frame) for who in ("3", "none of the five"))
    assert three is not None
    assert (three["market"], three["fee_minor"], three["msisdn"]) == ("campus", 5800, "8613800000003")
    assert other is not None
    assert other["market"] == "enterprise"
    assert json.dumps(other["consent"]) == '{"call": false, "sms": true, "manager": null}'
    two = describe(state, NO_RULES, "2", state.episodes.frame)
    assert two is not None
    # What the mapping declares of all stands where the table says nothing, and nowhere else.
    assert (two["fee_minor"], two["plan"]) == (0, "prepaid")
    assert json.dumps(two["consent"]) == '{"call": false, "sms": true, "manager": true}'


def test_a_profile_column_that_is_none_is_told(tmp_path: Path) -> None:
    months(5).write_parquet(tmp_path / "all.parquet")
    (tmp_path / "people.csv").write_text("subscriber_id,markt\n3,campus\n")
    known = Known(Source(tmp_path / "all.parquet", load_mapping(RULES, "prepaid_monthly")), tmp_path / "people.csv")
    with pytest.raises(FileError, match=r"there is no profile column markt; did you mean market\?"):
        bootstrap(known, store_in(tmp_path, 1), Lot(CONFIG, intake=Intake(1)))


def test_without_a_partitioner_nobody_knows_the_shard(tmp_path: Path) -> None:
    months(5).write_parquet(tmp_path / "all.parquet")
    known = Known(Source(tmp_path / "all.parquet", load_mapping(RULES, "prepaid_monthly")))
    with pytest.raises(FileError, match="set murmur2 or crc32"):
        bootstrap(known, store_in(tmp_path, 1), Lot(CONFIG, intake=Intake(1, "any")))
