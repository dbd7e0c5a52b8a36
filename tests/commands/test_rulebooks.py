"""The commands over rulebooks: published for a day, rolled back, listed; a running service switches and says so."""

import json
import shutil
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from service.__main__ import app
from service.core.books import Publication
from service.core.calendar import to_day
from service.kafka.sender import KafkaSender
from service.ports import Message
from service.settings import KafkaSettings
from service.wire.partitioning import partition_of
from service.wire.rulebooks import Version, version_message
from tests.e2e.asking import Front, front_of
from tests.e2e.running import PARTITIONS, committed, completed, environment, running_service, wait_for_day
from tests.e2e.sending import Sent, send

RULES = Path(__file__).parents[2] / "rules"
FIRST = date(2026, 1, 10)


def asked(*words: str, status: int = 0) -> Result:
    found = CliRunner().invoke(app, ["rules", *words])
    assert found.exit_code == status, found.output
    return found


def told(*words: str, status: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(asked(*words, "--json", status=status).stdout.splitlines()[-1])
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The shipped rules folder, to be changed."""
    return Path(shutil.copytree(RULES, tmp_path / "rules"))


def change(folder: Path, least: int) -> Path:
    """Other rules: of one shared threshold."""
    params = folder / "params.yaml"
    lines = params.read_text(encoding="utf-8").splitlines(keepends=True)
    at = next(at for at, line in enumerate(lines) if line.startswith("high_value_minor:"))
    lines[at] = f"high_value_minor: {least}\n"
    params.write_text("".join(lines), encoding="utf-8")
    return folder


@pytest.fixture
def environ(kafka_bootstrap: str, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Settings with topics of our own, which are there."""
    environ = environment(kafka_bootstrap, unique, tmp_path)
    for name, value in environ.items():
        if name.startswith("CHURN_"):
            monkeypatch.setenv(name, value)
    found = CliRunner().invoke(app, ["topics", "create"])
    assert found.exit_code == 0, found.output
    return environ


def live(bootstrap: str, name: str, days: range) -> None:
    """Some usage of every partition on some days, the last of which stays open."""
    people = {partition_of(f"s-{n}".encode(), PARTITIONS, "murmur2"): f"s-{n}" for n in range(200)}
    sent = []
    for day in days:
        for partition, who in people.items():
            for number in range(4):  # a leap in time is believed when several agree
                at = datetime(FIRST.year, FIRST.month, FIRST.day, 12, tzinfo=UTC) + timedelta(days=day, minutes=number)
                event = {"id": f"{who}-{at}", "type": "usage.data", "subscriber_id": who, "bytes": 1}
                value = json.dumps(event | {"occurred_at": at.isoformat()}).encode()
                sent.append(Sent(partition or 0, who.encode(), value))
    completed(send(bootstrap, f"{name}.usage.events", sent))


async def write(bootstrap: str, message: Message) -> None:
    sender = KafkaSender(KafkaSettings(bootstrap_servers=bootstrap))
    await sender.start()
    await sender.send(message)
    await sender.stop()


def judged(bootstrap: str, name: str) -> dict[date, set[str]]:
    """Hashes by day, over all partitions."""
    topic = f"{name}.churn.decisions"
    found: dict[date, set[str]] = defaultdict(set)
    for record in completed(committed(bootstrap, [topic]))[topic]:
        if (record.key or b"").startswith(b"day/"):
            found[date.fromisoformat(record.key.decode().removeprefix("day/"))].add(
                json.loads(record.value)["rulebook"]
            )
    return dict(found)


def day_of(number: int) -> str:
    return (FIRST + timedelta(days=number)).isoformat()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("publish", "rules", "--hash", "00"), "--hash names a version that was published: leave out the folder"),
        (("publish", "--effective", "soon\x1b"), "--effective soon\\x1b is no day, such as 2026-02-01"),
        (("publish", "--by", ""), "--by must have 1 to 256 characters"),
        (("release", "breaker", "--through", "31.1."), "--through 31.1. is no day, such as 2026-02-01"),
    ],
)
def test_what_cannot_be_asked_is_told_in_a_sentence(words: tuple[str, ...], sentence: str) -> None:
    assert asked(*words, status=2).stderr == f"{sentence}\n"


def test_without_a_broker_nothing_is_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    assert asked("versions", status=2).stderr.startswith("No Kafka broker answers at 127.0.0.1:1: start one")


def test_a_bad_folder_is_not_published_and_tells_all_its_faults(environ: dict[str, str], folder: Path) -> None:
    assert environ
    rule = folder / "drops" / "spend_drop.yaml"
    rule.write_text(
        rule.read_text(encoding="utf-8").replace("status = 'normal'", "status = 'nromal'"), encoding="utf-8"
    )
    (folder / "drops" / "torn.yaml").write_text("a: [", encoding="utf-8")
    found = asked("publish", str(folder), "--effective", day_of(0), status=2)
    lines = found.stderr.splitlines()
    assert any(line.startswith("drops/spend_drop.yaml:") and "did you mean normal?" in line for line in lines)
    assert any(line.startswith("drops/torn.yaml:") and "not YAML" in line for line in lines)
    assert asked("publish", "/nowhere", "--effective", day_of(0), status=2).stderr.startswith(
        "/nowhere: no such folder"
    )
    assert told("versions") == {"open_day": None, "publications": []}


def test_versions_are_published_for_their_days_rolled_back_and_listed(environ: dict[str, str], folder: Path) -> None:
    assert environ
    found = asked("publish", str(folder), status=2)
    assert found.stderr.startswith("No shard has closed a day yet, so nobody knows which comes next")
    old = told("publish", str(folder), "--effective", day_of(0), "--by", "mona")
    assert (old["effective_on"], old["number"], old["by"], old["opened_before"]) == (day_of(0), 1, "mona", [])
    assert "spend_drop" in old["rules"]
    new = told("publish", str(change(folder, 1)), "--effective", day_of(5))
    assert new["hash"] != old["hash"]
    back = asked("publish", "--hash", old["hash"], "--effective", day_of(9)).stdout
    assert back.startswith(f"Rulebook {old['hash']} with {len(old['rules'])} rules judges from {day_of(9)} on.")
    listed = told("versions")["publications"]
    assert [(one["hash"], one["effective_on"], one["state"], one["problems"]) for one in listed] == [
        (old["hash"], day_of(9), "later", []),
        (new["hash"], day_of(5), "later", []),
        (old["hash"], day_of(0), "next", []),
    ]
    assert "2 rulebooks were published, 3 times in all." in asked("versions").stdout
    almost = old["hash"][:-1] + ("0" if old["hash"][-1] != "0" else "1")
    said = asked("publish", "--hash", almost, "--effective", day_of(9), status=2).stderr
    assert said == f"--hash {almost} was never published; did you mean {old['hash']}?\n"


@pytest.fixture
def front(environ: dict[str, str], kafka_bootstrap: str, unique: str, tmp_path: Path) -> Iterator[Front]:
    """A service that has closed two days, and has the third open."""
    live(kafka_bootstrap, unique, range(3))
    with running_service(environ, tmp_path / "log") as service:
        front = front_of(service)
        completed(wait_for_day(service, kafka_bootstrap, f"{unique}.churn.decisions", FIRST + timedelta(days=1)))
        yield front


def test_a_running_service_switches_at_its_close_of_the_day_and_says_so(
    front: Front, kafka_bootstrap: str, unique: str, folder: Path
) -> None:
    before = front.ask("/v1/rules").json()
    assert (before["effective_on"], before["next"], before["refused"]) == (None, None, [])
    for day in (1, 2):  # closed, open
        said = asked("publish", str(folder), "--effective", day_of(day), status=2).stderr
        assert said == (
            "Some shard has closed that day or has it open: the earliest day is 2026-01-13 (--effective 2026-01-13)\n"
        )
    new = told("publish", str(change(folder, 1)))
    assert new["effective_on"] == day_of(3)
    front.until(lambda: front.ask("/v1/rules").json()["next"] is not None)
    coming = front.ask("/v1/rules").json()
    assert (coming["rulebook"], coming["next"]) == (
        before["rulebook"],
        {"hash": new["hash"], "effective_on": day_of(3)},
    )
    assert [one["state"] for one in told("versions")["publications"]] == ["next"]
    live(kafka_bootstrap, unique, range(3, 6))
    decisions = f"{unique}.churn.decisions"
    completed(wait_for_day(front.service, kafka_bootstrap, decisions, FIRST + timedelta(days=4)))
    front.until(lambda: front.ask("/v1/rules").json()["rulebook"] == new["hash"])
    after = front.ask("/v1/rules").json()
    assert (after["effective_on"], after["next"]) == (day_of(3), None)
    front.until(lambda: f'churn_rulebook_info{{hash="{new["hash"]}"}} 1.0' in front.ask("/metrics").text)
    days = judged(kafka_bootstrap, unique)
    expected = {FIRST + timedelta(days=day): {before["rulebook"] if day < 3 else new["hash"]} for day in range(5)}
    assert days == expected
    released = told("release", "standing", "--by", "mona", "--note", "looked at")
    assert released == {"what": "standing", "rule": None, "through": day_of(4), "by": "mona"}
    feedback = f"{unique}.churn.feedback"
    records = completed(committed(kafka_bootstrap, [feedback]))[feedback]
    assert sorted(record.partition for record in records) == list(range(PARTITIONS))
    assert {(record.key, json.loads(record.value)["type"]) for record in records} == {(None, "warnings.released")}
    said = asked("release", "breaker", "--rule", "spend_drp", status=2).stderr
    assert said == "--rule spend_drp is no rule; did you mean spend_drop?\n"


def test_a_published_rulebook_that_cannot_be_used_replaces_nothing_and_is_shown(
    front: Front, kafka_bootstrap: str, unique: str, folder: Path
) -> None:
    before = front.ask("/v1/rules").json()["rulebook"]
    bad = Version("0bad", {"drops/a.yaml": {"version": 1}}, (Publication("0bad", to_day(FIRST) + 3, 1, "", "x"),))
    message = version_message(bad, f"{unique}.churn.rulebook")
    completed(write(kafka_bootstrap, message))
    [refused] = front.until(lambda: front.ask("/v1/rules").json()["refused"])
    assert refused["hash"] == "0bad"
    assert all(problem.startswith("drops/a.yaml: ") for problem in refused["problems"])
    assert front.until(lambda: front.total("churn_rulebook_refused") == 1)
    [listed] = told("versions")["publications"]
    assert listed["problems"] == refused["problems"]
    said = asked("publish", "--hash", "0bad", "--effective", day_of(9), status=2).stderr
    assert said.startswith("Rulebook 0bad cannot be used with these settings:\ndrops/a.yaml: ")
    live(kafka_bootstrap, unique, range(3, 6))
    completed(wait_for_day(front.service, kafka_bootstrap, f"{unique}.churn.decisions", FIRST + timedelta(days=4)))
    assert set(map(frozenset, judged(kafka_bootstrap, unique).values())) == {frozenset({before})}
    told("publish", str(folder), "--effective", day_of(6))
    live(kafka_bootstrap, unique, range(6, 8))
    completed(wait_for_day(front.service, kafka_bootstrap, f"{unique}.churn.decisions", FIRST + timedelta(days=6)))
    front.until(lambda: front.ask("/v1/rules").json()["refused"] == [])  # what took its place is in force
    assert front.until(lambda: front.total("churn_rulebook_refused") == 0)
