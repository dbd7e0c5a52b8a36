"""Windows of a file are what a plain group_by over its events gives, to the last unit."""

import json
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from service.core.state import Config
from service.history.files import FileError, Source
from service.history.windows import write_windows
from service.rulebook.mapping import load_mapping
from tests.oracle.usage import postpaid_daily, prepaid_monthly
from tests.oracle.windows import sums_as_of

RULES = Path(__file__).parents[2] / "rules"


@pytest.mark.parametrize(
    ("name", "file", "as_of"),
    [
        ("prepaid_monthly", "prepaid_monthly_dev.parquet", date(2013, 8, 31)),
        ("prepaid_monthly", "prepaid_monthly_dev.parquet", date(2013, 7, 9)),
        ("postpaid_daily", "postpaid_daily.parquet", date(2018, 12, 31)),
    ],
)
def test_windows_of_a_real_file_equal_a_plain_group_by(
    real_data: Path, tmp_path: Path, name: str, file: str, as_of: date
) -> None:
    out = tmp_path / "windows.parquet"
    answer = write_windows(Source(real_data / file, load_mapping(RULES, name)), as_of, out, Config())
    recipe = {"prepaid_monthly": prepaid_monthly, "postpaid_daily": postpaid_daily}[name]
    expected = sums_as_of(recipe(real_data / file), as_of).rename({"subscriber": "subscriber_id"})
    found = pl.read_parquet(out)
    assert_frame_equal(found, expected, check_row_order=False, check_column_order=False)
    assert answer["subscribers"] == found.height > 100
    assert (answer["rejected"], answer["late"], answer["repeated"], answer["rows_rejected"]) == (0, 0, 0, 0)


def write_events(file: Path, *events: tuple[str, str, int]) -> Path:
    lines = [
        {"id": str(n), "type": "usage.sms", "subscriber_id": who, "occurred_at": at, "count": count}
        for n, (who, at, count) in enumerate(events)
    ]
    file.write_text("\n".join(map(json.dumps, lines)))
    return file


def test_days_are_local_and_order_does_not_matter(tmp_path: Path) -> None:
    file = write_events(
        tmp_path / "own.ndjson",
        ("b", "2024-03-10T15:59:00Z", 1),
        ("a", "2024-03-10T16:00:00Z", 2),  # in Shanghai it is tomorrow
        ("a", "2024-01-02T00:00:00Z", 8),
        ("a", "2024-03-09T16:00:00Z", 4),
    )
    config = Config(zone="Asia/Shanghai", windows_days=(1, 2))
    write_windows(Source(file, None), date(2024, 3, 10), tmp_path / "out.parquet", config)
    found = pl.read_parquet(tmp_path / "out.parquet").select("subscriber_id", "sms_1d", "sms_2d", "outgoing_1d")
    assert found.rows() == [("a", 4, 4, 1), ("b", 1, 1, 1)]


def test_lines_that_are_no_events_are_counted(tmp_path: Path) -> None:
    file = write_events(tmp_path / "own.ndjson", ("a", "2024-03-10T15:59:00Z", 1))
    file.write_text(file.read_text() + "\n{\n" + file.read_text() + '\n{"type":"usage.fax","subscriber_id":"a"}')
    answer = write_windows(Source(file, None), date(2024, 3, 10), tmp_path / "out.parquet", Config())
    assert {k: answer[k] for k in ("events", "repeated", "rejected", "ignored")} == {
        "events": 1, "repeated": 1, "rejected": 1, "ignored": 1,
    }  # fmt: skip


def test_a_day_before_all_events_has_no_windows(tmp_path: Path) -> None:
    file = write_events(tmp_path / "own.ndjson", ("a", "2024-03-10T15:59:00Z", 1))
    with pytest.raises(FileError, match=r"no events on or before 2024-03-09; the first is of 2024-03-10"):
        write_windows(Source(file, None), date(2024, 3, 9), tmp_path / "out.parquet", Config())


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    file = write_events(tmp_path / "own.ndjson", ("a", "2024-03-10T15:59:00Z", 1))
    out = tmp_path / "no folder" / "out.parquet"
    with pytest.raises(FileError, match="cannot be written"):
        write_windows(Source(file, None), date(2024, 3, 10), out, Config())
