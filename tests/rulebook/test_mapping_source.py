"""A mapping file is checked as a whole: every fault is told with its line and the nearest name that exists."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from service.rulebook.mapping import Mapping, RowsError, expand, expand_values, load_mapping, read_mapping
from service.rulebook.problems import RulebookError

RULES = Path(__file__).parents[2] / "rules"
GOOD = """\
mapping: calls
why: A test.
zone: Europe/Berlin
columns:
  who: text
  began: { type: instant, form: "%d.%m.%Y %H:%M" }
  day: day
  seconds: { type: number, optional: true, path: call.seconds }
let:
  is_long: seconds > 60
subscriber: who
key: [who, day]
events:
  - type: usage.voice
    when: is_long
    at: began
    fields: { seconds: seconds }
  - type: complaint.opened
    on: day
    time: "02:30"
    fields: { complaint_id: who }
    constants: { topic: "null" }
"""


def read(text: str) -> Mapping:
    return read_mapping(text, "calls", "mappings/calls.yaml")


def faults(text: str) -> list[str]:
    with pytest.raises(RulebookError) as error:
        read(text)
    return [str(problem) for problem in error.value.problems]


def test_the_shipped_mappings_are_good() -> None:
    names = sorted(path.stem for path in (RULES / "mappings").glob("*.yaml"))
    assert names == ["cdr_3gpp", "postpaid_daily", "prepaid_monthly"]
    assert [load_mapping(RULES, name).name for name in names] == names


def test_a_name_that_is_not_there_is_told_with_the_nearest() -> None:
    with pytest.raises(RulebookError, match="did you mean prepaid_monthly"):
        load_mapping(RULES, "prepaid_montly")


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("who: text", "who: txt", "5: column who: type txt; did you mean text?"),
        ("is_long: seconds", "is_long: secnds", "10: is_long: unknown column secnds; did you mean seconds?"),
        ("seconds > 60", "seconds >", "10: is_long: `seconds >` is no SQL expression"),
        ("seconds > 60", "SUM(seconds) > 60", "10: is_long: `SUM(seconds)` looks at other rows"),
        ("seconds > 60", "ROW_NUMBER() OVER () > 1", "10: is_long: `ROW_NUMBER() OVER ()` looks at other rows"),
        ("seconds > 60", "NOW() > began", "10: is_long: there is no function NOW"),
        ("seconds > 60", "(SELECT 1) > 0", "10: is_long: `(SELECT 1)` looks at other rows"),
        ("when: is_long", "when: seconds", "15: when: `seconds` is a number, expected a flag"),
        ("at: began", "at: day", "16: at: `day` is a day, expected an instant"),
        ("    at: began\n", "", "14: event usage.voice: exactly one of at, on and spread says when it happens"),
        ("fields: { seconds: s", "fields: { secs: s", "17: usage.voice has no field secs; did you mean seconds?"),
        ("{ seconds: seconds }", "{ seconds: who }", "17: seconds: `who` is text, expected a whole number"),
        ("type: usage.voice", "type: usage.voise", "14: there is no event type usage.voise; did you mean usage.voice?"),
        ("on: day", "onn: day", "19: an event has no key onn; did you mean on?"),
        ('time: "02:30"', "time: 25:00", "20: time: 25:00 is no time of day"),
        ('topic: "null"', "topic: 7", "22: topic: 7 is no constant for text"),
        ("zone: Europe/Berlin", "zone: Europe/Bielefeld", "3: zone: there is no time zone Europe/Bielefeld"),
        ("mapping: calls", "mapping: call", "1: mapping: expected calls, the name of the file"),
        ("subscriber: who", "subscriber: day", "11: subscriber: `day` is a day, expected text"),
        ("key: [who, day]", "key: who", "12: key: expected a list of SQL expressions"),
        (
            "path: call.seconds",
            "path: 'call[].seconds'",
            "8: column seconds: a path through a list (step[]) and `take`",
        ),
        ("why: A test.\n", "", "1: why is missing"),
        ("  who: text\n", "  who: text\n  who: text\n", "6: found duplicate key"),
    ],
)
def test_a_fault_is_told_with_its_line(old: str, new: str, fault: str) -> None:
    assert old in GOOD
    told = faults(GOOD.replace(old, new, 1))
    assert any(line.startswith(f"mappings/calls.yaml:{fault}") for line in told), told


def test_all_faults_are_told_at_once() -> None:
    told = faults(GOOD.replace("when: is_long", "when: is_lng").replace("at: began", "at: begin"))
    assert [line.split(":")[1] for line in told] == ["15", "16"]


@pytest.mark.parametrize("text", ["", "- a\n", "mapping: [\n", "a: 1\nb\n"])
def test_what_is_no_mapping_is_told_too(text: str) -> None:
    assert faults(text)


def test_local_times_are_of_the_mappings_zone_also_over_a_clock_change() -> None:
    rows = pl.DataFrame({"who": ["a"], "began": ["31.03.2024 01:59"], "day": ["2024-03-31"], "seconds": [61]})
    events = expand(read(GOOD), rows).events
    # 02:30 is left out on that day: an hour later it is.
    assert [datetime.fromtimestamp(us / 1e6, UTC).isoformat() for us in events["occurred_us"]] == [
        "2024-03-31T00:59:00+00:00",
        "2024-03-31T01:30:00+00:00",
    ]


def test_a_text_null_stays_and_a_null_field_is_left_out() -> None:
    value = b'{"who":"x,\\"topic\\":null","began":"01.01.2024 10:00","day":"2024-01-01"}'
    (told,) = expand_values(read(GOOD))([value])
    assert told == [
        (
            b'{"id":"calls/x,\\"topic\\":null/2024-01-01/complaint.opened","type":"complaint.opened",'
            b'"subscriber_id":"x,\\"topic\\":null","occurred_at":"2024-01-01T01:30:00Z",'
            b'"complaint_id":"x,\\"topic\\":null","topic":"null"}'
        )
    ]


def test_parts_of_a_key_cannot_run_into_each_other() -> None:
    text = GOOD.replace("  day: day\n", "  day: day\n  part: text\n").replace("key: [who, day]", "key: [who, part]")
    rows = pl.DataFrame(
        {"who": ["a/b", "a"], "part": ["c", "b/c"], "began": ["01.01.2024 10:00"] * 2, "day": ["2024-01-01"] * 2}
    )
    assert expand(read(text), rows).events["value"].n_unique() == 2


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ({"who": ["a"], "begann": ["x"], "day": ["2024-01-01"]}, "there is no column began; did you mean begann?"),
        ({"who": ["a"], "began": [7], "day": ["2024-01-01"]}, "column began is Int64, expected an instant"),
    ],
)
def test_a_file_without_a_column_cannot_be_read(rows: dict[str, list[object]], sentence: str) -> None:
    with pytest.raises(RowsError, match=sentence.replace("?", r"\?")):
        expand(read(GOOD), pl.DataFrame(rows))


def test_local_times_of_a_file_in_the_hour_of_a_clock_change_cost_only_the_row_that_cannot_be() -> None:
    times = [datetime.fromisoformat(local) for local in ("2024-03-31T02:30", "2024-10-27T02:30", "2024-07-01T00:00")]
    rows = pl.DataFrame({"who": ["gap", "twice", "once"], "began": times, "day": ["2024-07-01"] * 3})
    expanded = expand(read(GOOD.replace("seconds > 60", "seconds IS NULL")), rows)
    assert expanded.rejects["row"].to_list() == [0]
    voices = expanded.events.filter(type="usage.voice").select("subscriber_id", "occurred_us").rows()
    assert voices == [("once", 1_719_784_800_000_000), ("twice", 1_729_989_000_000_000)]


def test_ids_that_a_file_holds_as_bytes_are_text_where_they_can_be() -> None:
    rows = pl.DataFrame({"who": [b"a", b"\xff", b"b"], "began": "01.07.2024 10:00", "day": ["2024-07-01"] * 3})
    expanded = expand(read(GOOD), rows)
    assert expanded.rejects.rows() == [(1, "who is b'\\xff', expected text")]
    assert set(expanded.events["subscriber_id"]) == {"a", "b"}


def test_a_number_beyond_all_floats_is_rejected() -> None:
    line = b'{"who":"a","began":"01.07.2024 10:00","day":"2024-07-01","call":{"seconds":%s}}'
    good, bad = expand_values(read(GOOD))([line % b"61", line % (b"9" * 350)])
    assert isinstance(good, list)
    assert isinstance(bad, str)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("why: A test.", "why: &a [*a]", "2: anchors and aliases"),
        ("why: A test.", "<<: {why: A test.}", "2: merge keys (<<) are not read"),
        ("why: A test.", "why: " + "[" * 3000, "2: nested more than 32 deep"),
        ('form: "%d.%m.%Y %H:%M"', "form: 5", "6: column began: form is how times are written"),
        ('topic: "null"', 'topic: "null", is_x: 1', "complaint.opened has no field is_x"),
        ("seconds > 60", "(" * 2000 + "true" + ")" * 2000, "10: is_long: nested too deeply"),
        ("seconds > 60", "NOT " * 2000 + "true", "10: is_long: nested too deeply"),
        ("zone: Europe/Berlin", "zone: localtime", "3: zone: there is no time zone localtime"),
        ("  day: day", "  day: day\n  _row: day", "8: column _row: a name must not begin with _"),
        (
            "fields: { seconds: seconds }",
            "constants: { seconds: 99999999999999999999 }",
            "seconds: 99999999999999999999 is",
        ),
    ],
)
def test_what_no_reader_bears_is_a_sentence(old: str, new: str, told: str) -> None:
    assert any(told in fault for fault in faults(GOOD.replace(old, new, 1)))


def test_a_file_that_is_not_utf8_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "mappings").mkdir()
    (tmp_path / "mappings" / "odd.yaml").write_bytes(b"\xff")
    with pytest.raises(RulebookError, match=r"mappings/odd\.yaml: it is not UTF-8 text"):
        load_mapping(tmp_path, "odd")
