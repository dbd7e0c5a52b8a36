"""A usage file in any form tells the same events, and one that cannot be read says why in one sentence."""

import json
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from service.history.files import FileError, Source, read_usage
from service.rulebook.mapping import Mapping, load_mapping

RULES = Path(__file__).parents[2] / "rules"
DAY = {
    "user_id": 1, "tariff": "surf", "reg_date": date(2018, 1, 1), "churn_date": None, "date": date(2018, 1, 2),
    "calls": 3, "minutes": 7.31, "sessions": 2, "mb": 80.25, "sms": 1,
}  # fmt: skip
ROWS = pl.DataFrame(
    [DAY, DAY | {"user_id": 2, "churn_date": date(2018, 1, 2)}, DAY | {"date": date(2018, 1, 1)}],
    schema_overrides={"churn_date": pl.Date},
)
EVENT = {"id": "1", "type": "usage.sms", "subscriber_id": "a", "occurred_at": "2024-01-01T10:00:00+08:00", "count": 1}


@pytest.fixture(scope="module")
def postpaid() -> Mapping:
    return load_mapping(RULES, "postpaid_daily")


def test_parquet_csv_and_lines_of_json_tell_the_same(tmp_path: Path, postpaid: Mapping) -> None:
    ROWS.write_parquet(tmp_path / "a.parquet")
    ROWS.write_csv(tmp_path / "a.csv")
    ROWS.write_ndjson(tmp_path / "a.ndjson")
    told = [read_usage(Source(tmp_path / name, postpaid)) for name in ("a.parquet", "a.csv", "a.ndjson")]
    assert told[0].events.height == 3 * 3 + 2 * 1 + 1 + 1
    assert told[0].events["occurred_us"].is_sorted()
    for other in told[1:]:
        assert other.rejects.is_empty()
        assert_frame_equal(other.events, told[0].events)


def test_own_events_stay_in_the_order_of_the_file_and_bad_lines_among_them(tmp_path: Path) -> None:
    earlier = EVENT | {"id": "2", "occurred_at": "2023-12-31T16:00:00.5Z"}
    lines = [json.dumps(EVENT).encode(), b"{", b'{"id":7}', b"\xff", json.dumps(earlier).encode()]
    file = tmp_path / "own.ndjson"
    file.write_bytes(b"\n".join(lines) + b"\n\n")
    usage = read_usage(Source(file, None))
    assert usage.events["value"].to_list() == lines
    assert usage.events["occurred_us"].to_list() == [1704074400000000, None, None, None, 1704038400500000]
    assert usage.events["subscriber_id"].to_list() == ["a", None, None, None, "a"]


def test_lines_that_no_reader_takes_are_told_and_the_others_count(tmp_path: Path, postpaid: Mapping) -> None:
    good = ROWS[:1].write_ndjson().encode()
    (tmp_path / "a.ndjson").write_bytes(good + b"[" * 200_000 + b'\n{"user_id":"\xff"}\n')
    usage = read_usage(Source(tmp_path / "a.ndjson", postpaid))
    assert usage.events.height > 0
    assert usage.rejects.rows() == [
        (1, "the record is no JSON: nested too deeply"),
        (2, "the record is no JSON: text is not UTF-8"),
    ]
    (tmp_path / "own.ndjson").write_bytes(b"[" * 200_000)
    assert read_usage(Source(tmp_path / "own.ndjson", None)).events["subscriber_id"].to_list() == [None]


def test_a_name_longer_than_any_file_s_is_a_sentence(tmp_path: Path, postpaid: Mapping) -> None:
    with pytest.raises(FileError, match="cannot be read: File name too long"):
        read_usage(Source(tmp_path / ("a" * 300 + ".csv"), postpaid))


def test_bad_rows_are_told_by_their_place(tmp_path: Path, postpaid: Mapping) -> None:
    text = ROWS.write_csv().replace("80.25", "eighty", 1)
    (tmp_path / "a.csv").write_text(text)
    usage = read_usage(Source(tmp_path / "a.csv", postpaid))
    assert usage.rejects.rows() == [(0, "mb is 'eighty', expected a number")]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("usage.parqet", b"", "usage.parqet has an ending that says nothing of its form: rename it to one of .parquet"),
        ("usage.parquet", b"PAR1 or not", "usage.parquet cannot be read as parquet: "),
        ("usage.csv", b"", "usage.csv cannot be read as csv: "),
        (
            "usage.csv",
            b"user,tariff\n1,surf\n",
            "usage.csv does not fit the mapping postpaid_daily: there is no column",
        ),
        ("usage.csv", b"a,b\n1,2\n1,2,3\n", "usage.csv cannot be read as csv: "),
    ],
)
def test_a_file_that_cannot_be_read_says_why(
    tmp_path: Path, postpaid: Mapping, name: str, content: bytes, sentence: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError) as error:
        read_usage(Source(tmp_path / name, postpaid))
    assert str(error.value).startswith(f"{tmp_path}/{sentence}")
    assert "\n" not in str(error.value)


def test_a_missing_file_is_told_with_the_nearest_name(tmp_path: Path, postpaid: Mapping) -> None:
    (tmp_path / "usage_2018.csv").touch()
    with pytest.raises(FileError, match=r"there is no file .*; did you mean usage_2018.csv\?"):
        read_usage(Source(tmp_path / "usage_2081.csv", postpaid))


def test_a_missing_column_is_told_with_the_nearest_name(tmp_path: Path, postpaid: Mapping) -> None:
    ROWS.rename({"minutes": "minuts"}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(FileError, match=r"there is no column minutes; did you mean minuts\?"):
        read_usage(Source(tmp_path / "a.parquet", postpaid))


def test_rows_want_a_mapping(tmp_path: Path) -> None:
    ROWS.write_parquet(tmp_path / "a.parquet")
    with pytest.raises(FileError, match="with --mapping"):
        read_usage(Source(tmp_path / "a.parquet", None))
