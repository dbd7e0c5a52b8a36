"""The commands and the service as processes of their own, and what a committed reader finds on the topics."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Collection, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.structs import TopicPartition

Found = TypeVar("Found")

ROOT = Path(__file__).parents[2]
PROGRAM = (sys.executable, "-m", "service")
PARTITIONS = 4
STOP_WITHIN_S = 15.0
CLOSED_WITHIN_S = 240.0
FETCH_WITHIN_MS = 200


@dataclass(frozen=True)
class Service:
    """A service that runs, and where it writes its log."""

    process: subprocess.Popen[bytes]
    log: Path

    def last_lines(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")[-2000:]


def defaults() -> dict[str, str]:
    """Our environment without any setting of the service."""
    return {key: value for key, value in os.environ.items() if not key.startswith("CHURN_")}


def environment(bootstrap: str, name: str, folder: Path) -> dict[str, str]:
    """Settings of a service whose topics, group and snapshots nobody else has; days close by the log alone."""
    return {
        **defaults(),
        "CHURN_KAFKA__BOOTSTRAP_SERVERS": bootstrap,
        "CHURN_KAFKA__GROUP_ID": name,
        "CHURN_TOPICS__PREFIX": f"{name}.",
        "CHURN_TOPICS__PARTITIONS": str(PARTITIONS),
        "CHURN_TIME__CLOCK": "log",
        "CHURN_TIME__ZONE": "UTC",
        "CHURN_SNAPSHOTS__FOLDER": str(folder / "snapshots"),
        "CHURN_HTTP__PORT": "0",
    }


def answer(environ: Mapping[str, str], *arguments: str, within_s: float = 180) -> dict[str, Any]:
    """The JSON object that a command with --json prints as its last line."""
    done = subprocess.run(  # noqa: S603 - our own program
        [*PROGRAM, *arguments, "--json"],
        cwd=ROOT,
        env=dict(environ),
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
    )
    assert done.returncode == 0, f"{arguments} ended with {done.returncode}: {done.stderr[-2000:]}"
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@contextlib.contextmanager
def running_service(environ: Mapping[str, str], log: Path) -> Iterator[Service]:
    """The service, ended by SIGTERM, which it must obey in time and with status 0."""
    with started_service(environ, log) as service:
        yield service
        service.process.terminate()
        assert service.process.wait(STOP_WITHIN_S) == 0, service.last_lines()


@contextlib.contextmanager
def started_service(environ: Mapping[str, str], log: Path, *options: str) -> Iterator[Service]:
    """The service; how it ends is the test's to say."""
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own program
            [*PROGRAM, "run", *options],
            cwd=ROOT,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield Service(process, log)
    finally:
        process.kill()
        process.wait()


def completed(coroutine: Coroutine[Any, Any, Found]) -> Found:
    """What a coroutine gives, run on a loop of its own."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(coroutine)


async def wait_for_day(service: Service, bootstrap: str, topic: str, day: date) -> None:
    """Return when every shard's record of a day stands complete in the decisions."""
    key = f"day/{day}".encode()
    async with _reader(bootstrap) as consumer:
        parts = await _assigned(consumer, [topic])
        waiting = {part.partition for part in parts}
        async with asyncio.timeout(CLOSED_WITHIN_S):
            while waiting:
                assert service.process.poll() is None, f"the service ended: {service.last_lines()}"
                for record in await _fetched(consumer):
                    if record.key == key and record.value is not None:
                        told = json.loads(record.value)
                        if told["slices_done"] == told["slices"]:
                            waiting.discard(record.partition)


async def committed(bootstrap: str, topics: Sequence[str]) -> dict[str, list[ConsumerRecord]]:
    """All that a committed reader finds on topics, partition by partition in order."""
    found: dict[str, list[ConsumerRecord]] = {topic: [] for topic in topics}
    async with _reader(bootstrap) as consumer:
        parts = await _assigned(consumer, topics)
        ends = await consumer.end_offsets(parts)
        async with asyncio.timeout(60):
            while any([await consumer.position(part) < ends[part] for part in parts]):
                for record in await _fetched(consumer):
                    found[record.topic].append(record)
    return found


def _reader(bootstrap: str) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=None,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )


async def _assigned(consumer: AIOKafkaConsumer, topics: Collection[str]) -> list[TopicPartition]:
    parts = [TopicPartition(topic, part) for topic in topics for part in range(PARTITIONS)]
    consumer.assign(parts)
    await consumer.seek_to_beginning(*parts)
    return parts


async def _fetched(consumer: AIOKafkaConsumer) -> list[ConsumerRecord]:
    batches = await consumer.getmany(timeout_ms=FETCH_WITHIN_MS)
    return [record for records in batches.values() for record in records]
