"""What cannot start says why in a sentence that names the remedy, with status 2, and nothing else."""

import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.e2e.running import PROGRAM, ROOT, answer, defaults, environment

CANNOT = 2
NOBODY = {"CHURN_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}


def complaints(environ: Mapping[str, str], *command: str) -> list[str]:
    """The lines on standard error of a command that must refuse."""
    done = subprocess.run(  # noqa: S603 - our own program
        [*PROGRAM, *(command or ("run",))],
        cwd=ROOT,
        env={**defaults(), **environ},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == CANNOT, done.stderr
    assert done.stdout == ""
    return done.stderr.splitlines()


def assert_complains(environ: Mapping[str, str], *sentences: str) -> None:
    """One line for each fault, holding these words."""
    lines = complaints(environ)
    assert len(lines) == len(sentences), lines
    for line, sentence in zip(lines, sentences, strict=True):
        assert sentence in line, line
        assert line[0] != "{", "this is a line of the log"


@pytest.mark.parametrize(
    ("environ", "sentences"),
    [
        (
            {"CHURN_HTTP__PORT": "abc", "CHURN_TIME__ZONE": "Mars/Olympus"},
            (
                "CHURN_TIME__ZONE is 'Mars/Olympus', but must be a time zone",
                "CHURN_HTTP__PORT is 'abc', but must be a whole number: change it, or leave it out for 8080",
            ),
        ),
        ({"CHURN_HTTP__PROT": "1"}, ("There is no setting CHURN_HTTP__PROT (did you mean CHURN_HTTP__PORT?)",)),
        (
            {"CHURN_SETTINGS_FILE": "/nowhere.yaml"},
            ("CHURN_SETTINGS_FILE: the settings file /nowhere.yaml cannot be read (No such file or directory)",),
        ),
        (
            {"CHURN_TIME__LATE_DAYS_BY_TYPE": "chrge=4"},
            ("CHURN_TIME__LATE_DAYS_BY_TYPE names chrge, which is no event type; did you mean charge?",),
        ),
        ({"CHURN_RULES__FOLDER": "/nowhere"}, ("CHURN_RULES__FOLDER is '/nowhere', where there is no folder",)),
        (
            {"CHURN_TIME__KEEP_DAYS": "50"},
            ("CHURN_TIME__KEEP_DAYS is 50, but must be at least 65, the days that a record may be late",),
        ),
        (
            {"CHURN_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:99999"},
            ("No Kafka broker answers at 127.0.0.1:99999: start one",),
        ),
        ({"CHURN_RULES__MAPPING": "prepaid"}, ("mappings/prepaid.yaml: there is no mapping prepaid",)),
        ({"CHURN_SNAPSHOTS__FOLDER": "/proc/none"}, ("CHURN_SNAPSHOTS__FOLDER is '/proc/none', where nothing can be",)),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_bad_setting_is_named_with_the_remedy(environ: Mapping[str, str], sentences: tuple[str, ...]) -> None:
    assert_complains({**NOBODY, **environ}, *sentences)


def test_a_line_of_a_settings_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("http:\n  port: 80\n  prot: 8080\n")
    assert_complains({"CHURN_SETTINGS_FILE": str(file)}, f"{file}:3: http.prot is no setting (did you mean port?)")


def test_a_line_of_a_rule_is_named(tmp_path: Path) -> None:
    rules = copied_rules(tmp_path)
    rule = rules / "silence" / "outgoing_silence.yaml"
    lines = rule.read_text().splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("clear_when:"))
    lines[at] = "clear_when: days_silnt < 7"
    rule.write_text("\n".join(lines))
    expected = f"outgoing_silence.yaml:{at + 1}: clear_when: unknown signal days_silnt; did you mean days_silent?"
    assert_complains({**NOBODY, "CHURN_RULES__FOLDER": str(rules)}, expected)


def test_a_line_of_a_mapping_is_named(tmp_path: Path) -> None:
    rules = copied_rules(tmp_path)
    mapping = rules / "mappings" / "prepaid_monthly.yaml"
    text = mapping.read_text()
    mapping.write_text(f"{text}bogus: 1\n")
    expected = f"mappings/prepaid_monthly.yaml:{len(text.splitlines()) + 1}: "
    assert_complains({**NOBODY, "CHURN_RULES__FOLDER": str(rules), "CHURN_RULES__MAPPING": "prepaid_monthly"}, expected)


@pytest.mark.parametrize("command", [("run",), ("topics", "create"), ("topics", "check"), ("replay", "{events}")])
def test_a_broker_that_is_not_there_is_named(tmp_path: Path, command: tuple[str, ...]) -> None:
    events = tmp_path / "events.ndjson"
    events.write_text(
        '{"id":"1","type":"usage.data","subscriber_id":"a","occurred_at":"2025-01-01T00:00:00Z","bytes":1}'
    )
    old_days = {"CHURN_TIME__CLOCK": "log"}  # else they are noted
    lines = complaints({**NOBODY, **old_days}, *(part.format(events=events) for part in command))
    assert lines == [
        (
            "No Kafka broker answers at 127.0.0.1:1: start one (deploy/kafka), or correct "
            "CHURN_KAFKA__BOOTSTRAP_SERVERS and the settings of security beside it"
        )
    ]


def test_topics_that_are_not_there_are_named_with_the_command_that_makes_them(
    kafka_bootstrap: str, unique: str, tmp_path: Path
) -> None:
    environ = environment(kafka_bootstrap, unique, tmp_path)
    [line] = complaints(environ)
    assert line.startswith(f"The topics {unique}.usage.events, {unique}.churn.feedback, ")
    assert line.endswith(" are missing: churn-warning topics create")


def test_feeding_topics_that_are_not_there_is_refused_at_once(
    kafka_bootstrap: str, unique: str, tmp_path: Path
) -> None:
    events = tmp_path / "events.ndjson"
    events.write_text(
        '{"id":"1","type":"usage.data","subscriber_id":"a","occurred_at":"2025-01-01T00:00:00Z","bytes":1}'
    )
    assert complaints(environment(kafka_bootstrap, unique, tmp_path), "replay", str(events)) == [
        f"The topics {unique}.usage.events, {unique}.churn.feedback are missing: churn-warning topics create"
    ]


def test_an_event_of_the_far_future_makes_no_replay_close_days_to_come(
    kafka_bootstrap: str, unique: str, tmp_path: Path
) -> None:
    events = tmp_path / "events.ndjson"
    line = '{{"id":"1","type":"usage.data","subscriber_id":"a","occurred_at":"{}T00:00:00Z","bytes":1}}\n'
    events.write_text("".join(map(line.format, ("2025-01-01", "2099-03-01", "2025-01-03"))))
    environ = environment(kafka_bootstrap, unique, tmp_path)
    answer(environ, "topics", "create")
    assert answer(environ, "replay", str(events))["closed_through"] == "2025-01-03"
    assert complaints(environ, "replay", str(events), "--through", "2099-03-01") == [
        "--through 2099-03-01 is yet to come, and no day is closed before its time: name an earlier one"
    ]
    events.write_text(line.format("2099-03-01"))
    assert complaints(environ, "replay", str(events)) == ["the file tells no event with a time, from 1970 to now"]


def test_a_port_that_is_taken_and_a_count_of_partitions_that_is_not_the_topics_are_named(
    kafka_bootstrap: str, unique: str, tmp_path: Path
) -> None:
    environ = environment(kafka_bootstrap, unique, tmp_path)
    answer(environ, "topics", "create")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert complaints({**environ, "CHURN_HTTP__PORT": str(port)}) == [
            (
                f"127.0.0.1:{port} cannot be listened on (Address already in use): "
                "correct CHURN_HTTP__HOST or CHURN_HTTP__PORT"
            )
        ]
    [line] = complaints({**environ, "CHURN_TOPICS__PARTITIONS": "3"})
    assert line.startswith(f"The topics {unique}.usage.events, {unique}.churn.feedback, ")
    assert line.endswith(
        " have 4 partitions, not 3 (CHURN_TOPICS__PARTITIONS): "
        "make them again, or set the variable to the usage topic's count"
    )


def copied_rules(folder: Path) -> Path:
    """The shipped rulebook, to be spoiled."""
    return Path(shutil.copytree(ROOT / "rules", folder / "rules"))
