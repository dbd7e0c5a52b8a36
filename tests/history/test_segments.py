"""Tables of a file are those of a plain count over its events, and those of snapshots are the same."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from service.core.state import Config
from service.history.bootstrap import Known, bootstrap
from service.history.files import FileError, Source
from service.history.past import Lot
from service.history.segments import Kept, StoreError, compared, of_file, of_store
from service.wire.decode import Intake
from tests.core.test_segments import BOOK
from tests.history.stores import store_in
from tests.oracle.segments import WINDOW, Happened, Subscriber, counted

FIRST = date(2024, 3, 1)
DAYS = 25
CONFIG = Config(windows_days=(WINDOW,))
LOT = Lot(CONFIG, BOOK)
SHARDS = 3


def told() -> list[tuple[str, str, date, dict[str, Any]]]:
    """(subscriber, type, day, fields): habits that go up, down, or on, by number; some leave."""
    lines: list[tuple[str, str, date, dict[str, Any]]] = []
    for number in range(60):
        who, market = f"s{number}", ("campus", "public", "elsewhere")[number % 3]
        profile = {"activated_on": str(FIRST - timedelta(days=95 + number)), "market": market, "area": f"a{number % 2}"}
        lines.append((who, "subscriber.profile", FIRST, profile))
        if number % 4 == 0:
            bundle = {"bundle_id": "b", "hard": number % 8 == 0, "kind": "vpn" if number % 12 else "family"}
            lines.append((who, "bundle.linked", FIRST, bundle))
        for day in range(DAYS):
            now = day >= DAYS - WINDOW
            factor = (1.0, 0.3, 0.8, 2.0)[number % 4] if now else 1.0
            spend = {"amount_minor": round((20 + 10 * number) * factor), "kind": "usage"}
            lines.append((who, "charge", FIRST + timedelta(days=day), spend))
            minutes = round((number % 7) * ((2.5, 1.0, 0.2)[number % 3] if now else 1.0))
            if minutes:
                voice = {"seconds": minutes * 60, "billed_minutes": minutes}
                lines.append((who, "usage.voice", FIRST + timedelta(days=day), voice))
        if number % 10 == 9:
            lines.append((who, "subscriber.status", FIRST + timedelta(days=DAYS - 3), {"status": "pre_cancelled"}))
    return lines


def plain_of(
    lines: Sequence[tuple[str, str, date, dict[str, Any]]], today: date
) -> dict[str, dict[tuple[str, int], int]]:
    people: dict[str, Subscriber] = {}
    for who, kind, day, fields in sorted(lines, key=lambda line: line[2]):
        dated = {name: date.fromisoformat(value) if name == "activated_on" else value for name, value in fields.items()}
        people.setdefault(who, Subscriber()).events.append(Happened(day, kind, day, dated))
    for one in people.values():
        one.close(today)
    return counted(people.values(), today)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "events.ndjson"
    events = [
        {"id": str(n), "type": kind, "subscriber_id": who, "occurred_at": f"{day}T12:00:00Z", **fields}
        for n, (who, kind, day, fields) in enumerate(told())
    ]
    path.write_text("\n".join([*map(json.dumps, reversed(events)), "no event", ""]))
    return path


def numbers(tables: dict[str, Any], dimension: str) -> dict[tuple[str, int], int]:
    return {
        (str(tier["code"] or tier["label"] or ""), int(segment)): cell["subscribers"]
        for tier in tables["dimensions"][dimension]
        for segment, cell in tier["segments"].items()
        if segment != "total" and cell["subscribers"]
    }


@pytest.mark.parametrize("ago", [0, 4])
def test_tables_of_a_file_are_those_of_a_plain_count(file: Path, ago: int) -> None:
    today = FIRST + timedelta(days=DAYS - 1 - ago)
    answer = of_file(Source(file, None), today, LOT)
    plain = plain_of([line for line in told() if line[2] <= today], today)
    assert {(code, one["subscribers"]) for code, one in answer["segments"].items() if one["subscribers"]} == {
        (str(segment), count) for (_, segment), count in plain["segments"].items() if segment
    }
    assert answer["not_eligible"] == plain["segments"].get(("", 0), 0)
    for name in ("bundle", "spend", "voice", "tenure"):
        assert numbers(answer, name) == {at: count for at, count in plain[name].items() if at[1]}, name
    codes = {"campus": "601", "public": "602", "elsewhere": "elsewhere"}
    expected = {(codes[key], segment): count for (key, segment), count in plain["market"].items() if segment}
    assert numbers(answer, "market") == expected
    held = {
        (name, int(segment)): cell["subscribers"]
        for name, of in answer["bundles"].items()
        for segment, cell in of.items()
        if segment != "total" and cell["subscribers"]
    }
    assert held == {at: count for at, count in plain["bundles"].items() if at[1]}
    assert answer["codes"] == {
        code: sum(count for (key, _), count in plain["codes"].items() if key == code) for code, _ in plain["codes"]
    }
    assert (answer["as_of"], answer["last_day"]) == (str(today), str(FIRST + timedelta(days=DAYS - 1)))
    assert answer["rejected"] == 1
    assert len([one for one in answer["segments"].values() if one["subscribers"]]) > 4 - ago


def test_tables_of_snapshots_are_those_of_the_file(file: Path, tmp_path: Path) -> None:
    # The last days of a file stay open for the stream that follows.
    store = store_in(tmp_path / "store", SHARDS)
    intake = Intake(SHARDS)
    bootstrap(Known(Source(file, None)), store, replace(LOT, intake=intake))
    kept = Kept(store, tuple(sorted(store.shards())))
    closed = FIRST + timedelta(days=DAYS - 2)
    found = of_store(kept, closed, LOT)
    assert found.pop("closed_days") == {str(partition): str(closed) for partition in range(SHARDS)}
    expected = of_file(Source(file, None), closed, LOT)
    assert found == {name: expected[name] for name in found}
    assert of_store(replace(kept, anew=True), None, LOT) == found | {
        "closed_days": {str(partition): str(closed) for partition in range(SHARDS)}
    }


def test_snapshots_of_another_day_or_none_at_all_are_no_answer(file: Path, tmp_path: Path) -> None:
    store = store_in(tmp_path / "store", SHARDS)
    with pytest.raises(StoreError, match="there are no snapshots: name a file"):
        of_store(Kept(store, ()), None, LOT)
    bootstrap(Known(Source(file, None)), store, replace(LOT, intake=Intake(SHARDS)))
    with pytest.raises(StoreError, match=r"shard 0 is of 2024-03-24, not of 2024-03-20: ask for that day"):
        of_store(Kept(store, (0, 1, 2)), date(2024, 3, 20), LOT)
    with pytest.raises(StoreError, match="shard 7 has no usable snapshot"):
        of_store(Kept(store_in(tmp_path / "store", 9), (7,)), None, LOT)


def test_a_day_before_the_first_event_is_refused(file: Path) -> None:
    with pytest.raises(FileError, match=r"events.ndjson: there are no events on or before 2024-02-01"):
        of_file(Source(file, None), date(2024, 2, 1), LOT)


def test_what_is_compared_with_may_be_chosen() -> None:
    assert [compared(BOOK, against).against for against in (None, "own", "cohort")] == ["own", "own", "cohort"]
