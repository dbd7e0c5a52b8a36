"""A service that is stopped, or killed, while events flow: it ends in time, and started again says everything once."""

import json
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest

from tests.e2e.asking import Front, following, front_of
from tests.e2e.retelling import Said, found, names, retell
from tests.e2e.running import (
    PROGRAM,
    ROOT,
    answer,
    completed,
    defaults,
    environment,
    started_service,
    wait_for_day,
)

# Many subscribers and few days: an operator closes one day a day, not sixty a second.
SUBSCRIBERS, DAYS = 4_500, 30
EVENTS_PER_SECOND = 20_000
STOP_WITHIN_S = 10.0
# Small, so that snapshots are taken while events flow; a killed member is missed soon.
SETTINGS = {
    "CHURN_SNAPSHOTS__EVERY_RECORDS": "15000",
    "CHURN_KAFKA__SESSION_TIMEOUT_MS": "2000",
    "CHURN_KAFKA__HEARTBEAT_INTERVAL_MS": "500",
}


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A city's life as a file, with all that goes wrong on the way, and how many events it holds."""
    file = tmp_path_factory.mktemp("feed") / "events.ndjson"
    size = ("--subscribers", str(SUBSCRIBERS), "--days", str(DAYS), "--start", "2025-03-01", "--seed", "11")
    told = answer(defaults(), "simulate", *size, "--faults", "--out", str(file))
    return file, told["events"]


@contextmanager
def feeding(environ: Mapping[str, str], file: Path, events: int) -> Iterator[subprocess.Popen[str]]:
    """Send the file as fast as an operator's busy hour."""
    speed = DAYS * 86_400 * EVENTS_PER_SECOND / events
    process = subprocess.Popen(  # noqa: S603 - our own program
        [*PROGRAM, "replay", str(file), "--speed", str(speed), "--json"],
        cwd=ROOT,
        env=dict(environ),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_everything_is_said_once_though_the_service_ends_while_events_flow(
    kafka_bootstrap: str, feed: tuple[Path, int], tmp_path: Path, number: signal.Signals
) -> None:
    file, events = feed
    environ = {**environment(kafka_bootstrap, f"stop-{uuid.uuid4().hex[:12]}", tmp_path), **SETTINGS}
    answer(environ, "topics", "create")
    with started_service(environ, tmp_path / "first.log") as first, feeding(environ, file, events) as feeder:
        took_s = end(front_of(first), number, events)
        with started_service(environ, tmp_path / "second.log") as second:
            fed = json.loads(feeder.communicate(timeout=60)[0].splitlines()[-1])
            last = date.fromisoformat(fed["closed_through"])
            completed(wait_for_day(second, kafka_bootstrap, names(environ).decisions, last))
            second.process.terminate()
            assert second.process.wait(STOP_WITHIN_S) == 0, second.last_lines()
    assert fed["events"] == events
    said = assert_said_once(environ, kafka_bootstrap, last)
    pace = f"{fed['events'] / fed['wall_s']:,.0f} events/s"
    sys.stdout.write(f"\n{number.name} at {pace}: ended in {took_s:.2f} s; all of {said.total():,} messages once\n")


def end(front: Front, number: signal.Signals, events: int) -> float:
    """Send the signal while events flow to the service and warnings flow from it; returns the seconds to its end."""
    process = front.service.process
    with following(front) as follower:
        front.until(lambda: "raised" in follower.events and front.total("churn_records_in_total") > events / 4)
        assert front.total("churn_records_in_total") < events, "all had been read before the service was told to end"
        process.send_signal(number)
        began_s = time.monotonic()
        status = process.wait(STOP_WITHIN_S)
        took_s = time.monotonic() - began_s
    assert status == (0 if number is signal.SIGTERM else -number), front.service.last_lines()
    assert follower.cut == (number is signal.SIGKILL)
    return took_s


def assert_said_once(environ: Mapping[str, str], bootstrap: str, last: date) -> Said:
    """What a committed reader finds is what an uninterrupted service says of the same log, byte for byte, once."""
    said, left, log = found(environ, bootstrap)
    expected, out = retell(environ, log, last)
    assert ids(said) == ids(expected)
    assert said == expected
    assert left == out
    assert sum(times for (topic, *_), times in said.items() if topic == names(environ).warnings) > 300
    assert sum(times for (topic, *_), times in said.items() if topic != names(environ).warnings) > 30
    assert left.total() > 10
    return said


def ids(said: Said) -> Counter[tuple[str, bytes]]:
    """How often each event was said, by topic and ce_id."""
    counted: Counter[tuple[str, bytes]] = Counter()
    for (topic, _, _, _, headers), times in said.items():
        counted[topic, dict(headers)["ce_id"]] += times
    return counted
