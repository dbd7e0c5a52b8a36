"""The commands over dead letters: what is there, safely shown, sent back once, and a sentence for each mistake."""

import asyncio
import contextlib
import json
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from typer.testing import CliRunner, Result

from service.__main__ import app
from service.wire.deadletters import CUT, dead_letter
from service.wire.records import Message, Record
from service.wire.rejects import Fault, Reject
from tests.e2e.asking import front_of
from tests.e2e.running import PARTITIONS, PROGRAM, ROOT, answer, committed, completed, environment, running_service
from tests.e2e.sending import Sent, send
from tests.wire.examples import encoded, event, home_of

MANY = 20_000
HOME = home_of(b"s-1")
FOUL = b'{"x": "\x1b]0;owned\x07\xff"}'


def asked(*words: str, status: int = 0) -> Result:
    found = CliRunner().invoke(app, ["dead-letters", *words])
    assert found.exit_code == status, found.output
    return found


def told(*words: str, status: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(asked(*words, "--json", status=status).stdout.splitlines()[-1])
    return found


def letter(name: str, value: bytes | None, fault: Fault = Fault.MALFORMED, offset: int = 0) -> Message:
    lost = Record(f"{name}.usage.events", HOME, offset, 0, b"s-1", value, (("h\x1b", b"\x07"),))
    return dead_letter(Reject(lost, fault, "why\nit is"), f"{name}.usage.dead-letters")


def write(bootstrap: str, letters: Sequence[Message]) -> None:
    sent = [Sent(one.partition, one.key, one.value, one.headers) for one in letters]
    completed(send(bootstrap, letters[0].topic, sent))


@pytest.fixture
def place(kafka_bootstrap: str, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Topics of our own, which the settings name; gives their prefix."""
    for name, value in environment(kafka_bootstrap, unique, tmp_path).items():
        if name.startswith("CHURN_"):
            monkeypatch.setenv(name, value)
    found = CliRunner().invoke(app, ["topics", "create"])
    assert found.exit_code == 0, found.output
    return unique


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("list", "--reason", "malfomed"),
            "--reason malfomed is no reason; did you mean malformed?; there are malformed,",
        ),
        (("list", "--since", "yesterday"), "--since yesterday is no instant of RFC 3339, such as 2025-01-31T08:00:00Z"),
        (("list", "--until", "2025-01-31"), "--until 2025-01-31 is no instant of RFC 3339"),
        (
            ("list", "--since", "2025-01-31T08:00:00Z", "--until", "2025-01-31T09:00:00+01:00"),
            "--since 2025-01-31T08:00:00Z is not before --until 2025-01-31T09:00:00+01:00: no letter can be between",
        ),
        (
            ("replay", "--at", "3"),
            "--at 3 is no place, which is PARTITION:OFFSET as the list tells them, such as 3:1729",
        ),
        (("replay", "--at", "3:x\x1b"), "--at 3:x\\x1b is no place"),
        (
            ("replay", "--at", "3:1", "--limit", "1"),
            "--at names one letter: leave out --reason, --since, --until and --limit",
        ),
        (("show", "1", "2", "--raw", "--json"), "--raw and --json exclude each other"),
        (("list",), "No Kafka broker answers at 127.0.0.1:1: start one"),
    ],
)
def test_each_mistake_has_its_sentence(words: tuple[str, ...], sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    found = asked(*words, status=2)
    assert found.stderr.startswith(sentence)
    assert len(found.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["list", "show", "replay"])
def test_help_has_an_example(command: str) -> None:
    assert f"churn-warning dead-letters {command}" in asked(command, "--help").stdout


def test_topics_that_are_missing_are_named(kafka_bootstrap: str, unique: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_KAFKA__BOOTSTRAP_SERVERS", kafka_bootstrap)
    monkeypatch.setenv("CHURN_TOPICS__PREFIX", f"{unique}.")
    assert "are missing: churn-warning topics create" in asked("list", status=2).stderr


def test_list_counts_by_reason_and_shows_the_newest_without_ids(place: str, kafka_bootstrap: str) -> None:
    assert told("list") == {"letters": 0, "replayed": 0, "reasons": {}, "newest": []}
    write(kafka_bootstrap, [letter(place, b"{", offset=at) for at in range(3)])
    write(kafka_bootstrap, [letter(place, b"{}", Fault.FUTURE, 9)])
    listed = told("list", "--limit", "2")
    assert listed["reasons"] == {
        "malformed": {"letters": 3, "replayed": 0},
        "future": {"letters": 1, "replayed": 0},
    }
    newest, before = listed["newest"]
    assert (newest["partition"], newest["offset"], newest["reason"], newest["size_bytes"]) == (HOME, 3, "future", 5)
    assert (newest["from"], before["from"]) == (f"{place}.usage.events-{HOME}@9", f"{place}.usage.events-{HOME}@2")
    assert newest["message"] == "why\\nit is"
    assert newest["replayed"] is False
    assert len(newest["subscriber"]) == 16
    assert told("list", "--plain")["newest"][0]["subscriber"] == "s-1"
    assert told("list", "--reason", "future")["letters"] == 1
    assert told("list", "--since", newest["at"])["newest"][0] == newest
    assert told("list", "--until", "2013-01-01T00:00:00Z")["letters"] == 0
    shown = asked("list").stdout
    assert "s-1" not in shown
    assert "4 dead letters, of which 0 were replayed." in shown


def test_show_escapes_what_a_stranger_wrote_and_raw_does_not(place: str, kafka_bootstrap: str) -> None:
    write(kafka_bootstrap, [letter(place, FOUL), letter(place, None)])
    shown = asked("show", str(HOME), "0").stdout
    assert '{"x": "\\x1b]0;owned\\x07\\xff"}' in shown
    assert "header h\\x1b: \\x07" in shown
    assert "header __connect.errors.exception.message: why\\nit is" in shown
    assert all(one.isprintable() or one == "\n" for one in shown)
    assert asked("show", str(HOME), "0", "--raw").stdout_bytes == FOUL
    assert "(no value)" in asked("show", str(HOME), "1").stdout
    whole = told("show", str(HOME), "0")
    assert (whole["value"], whole["headers"][0]) == ('{"x": "\\x1b]0;owned\\x07\\xff"}', ["h\\x1b", "\\x07"])
    assert "There is no dead letter in partition 0 at offset 7" in asked("show", "0", "7", status=2).stderr
    assert "has no partition 9: name one of 0 to 3" in asked("show", "9", "7", status=2).stderr


def test_replay_says_what_it_would_do_does_it_once_and_names_what_it_cannot(place: str, kafka_bootstrap: str) -> None:
    cut = letter(place, None)
    cut = Message(cut.topic, cut.partition, cut.key, None, (*cut.headers, CUT))
    write(kafka_bootstrap, [letter(place, b"1"), letter(place, b"2"), letter(place, b"3", Fault.FUTURE), cut])
    assert asked("replay", "--reason", "future", "--dry-run").stdout == "Would replay 1 dead letters.\n"
    assert asked("replay", "--at", f"{HOME}:1").stdout == "Replayed 1 dead letters.\n"
    again = asked("replay", "--at", f"{HOME}:1").stdout
    assert again == "Replayed 0 dead letters. 1 were replayed before.\n"
    assert "There is no dead letter in partition 0 at offset 99" in asked("replay", "--at", "0:99", status=2).stderr
    rest = told("replay", status=1)
    assert rest == {"dry_run": False, "sent": 2, "replayed": 1, "cut": 1, "foreign": 0}
    assert "1 cannot be, for the broker took no record of their size" in asked("replay", status=1).stdout
    assert told("list")["replayed"] == 3
    sent = completed(committed(kafka_bootstrap, [f"{place}.usage.events"]))[f"{place}.usage.events"]
    assert sorted((one.value, one.key, one.partition, one.headers) for one in sent) == [
        (value, b"s-1", HOME, (("h\x1b", b"\x07"),)) for value in (b"1", b"2", b"3")
    ]


def test_what_was_mended_counts_and_what_is_bad_again_becomes_a_new_letter(
    place: str, kafka_bootstrap: str, tmp_path: Path
) -> None:
    environ = environment(kafka_bootstrap, place, tmp_path)
    usage = f"{place}.usage.events"
    good = encoded(event("usage.sms", id="a", subscriber_id="s-1", occurred_at="2025-01-31T08:00:00Z"))
    elsewhere = Sent((HOME + 1) % PARTITIONS, b"s-1", good)  # a producer that chose the wrong partition
    with running_service(environ, tmp_path / "service.log") as service:
        front = front_of(service)
        completed(send(kafka_bootstrap, usage, [elsewhere, Sent(HOME, b"s-1", b"{")]))
        front.until(lambda: front.total("churn_records_rejected_total") == 2)
        assert told("list")["letters"] == 2
        assert told("replay")["sent"] == 2
        front.until(lambda: front.total("churn_records_counted_total") == 1)
        front.until(lambda: front.total("churn_records_rejected_total") == 3)
        assert front.ask("/v1/subscribers/s-1").status_code == 200
    listed = told("list")
    assert (listed["letters"], listed["replayed"]) == (3, 2)


def test_a_replay_that_is_killed_has_sent_nothing_twice_when_the_next_one_ends(
    place: str, kafka_bootstrap: str, tmp_path: Path
) -> None:
    write(kafka_bootstrap, [letter(place, b"%d" % number) for number in range(MANY)])
    environ = environment(kafka_bootstrap, place, tmp_path)
    with begun_replay(environ, kafka_bootstrap, place) as process:
        process.kill()
        process.communicate(timeout=30)
        assert process.returncode != 0
    rest = answer(environ, "dead-letters", "replay")
    assert rest["sent"] + rest["replayed"] == MANY
    assert min(rest["sent"], rest["replayed"]) > 0
    assert Counter(one.value for one in taken(kafka_bootstrap, place)) == {b"%d" % number: 1 for number in range(MANY)}


def test_a_replay_that_is_overtaken_says_so_and_sends_nothing_more(
    place: str, kafka_bootstrap: str, tmp_path: Path
) -> None:
    write(kafka_bootstrap, [letter(place, b"%d" % number) for number in range(MANY)])
    environ = environment(kafka_bootstrap, place, tmp_path)
    with begun_replay(environ, kafka_bootstrap, place) as process:
        process.send_signal(signal.SIGSTOP)
        rest = answer(environ, "dead-letters", "replay")
        process.send_signal(signal.SIGCONT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert said.startswith(
        b"Another replay has begun, or CHURN_KAFKA__TRANSACTION_TIMEOUT_MS is too short: this one ends"
    )
    assert said.count(b"\n") == 1
    assert rest["sent"] + rest["replayed"] == MANY
    assert Counter(one.value for one in taken(kafka_bootstrap, place)) == {b"%d" % number: 1 for number in range(MANY)}


@contextlib.contextmanager
def begun_replay(environ: dict[str, str], bootstrap: str, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """A replay in a process of its own, which has sent something and not all."""
    command = [*PROGRAM, "dead-letters", "replay", "--json"]
    process = subprocess.Popen(  # noqa: S603 - our own program
        command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        completed(first_taken(bootstrap, f"{name}.usage.events"))
        yield process
    finally:
        process.kill()
        process.communicate()


async def first_taken(bootstrap: str, topic: str) -> None:
    """Return as soon as anything is committed there."""
    options = {"isolation_level": "read_committed", "auto_offset_reset": "earliest"}
    async with AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, **options) as consumer:
        await asyncio.wait_for(consumer.getone(), 120)


def taken(bootstrap: str, name: str) -> list[ConsumerRecord]:
    return completed(committed(bootstrap, [f"{name}.usage.events"]))[f"{name}.usage.events"]
