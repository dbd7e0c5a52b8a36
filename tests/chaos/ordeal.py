"""A whole ordeal: a broker, workers behind wires that can be cut, a feed, faults; then what was said is judged."""

import argparse
import asyncio
import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import TopicPartition

from deploy.broker import Broker, free_port, running_broker
from service.kafka.log import KafkaLog
from service.kafka.sender import KafkaSender
from service.kafka.tail import KafkaAlertTail
from service.ports import Lost
from service.settings import Settings
from service.settings import load as load_settings
from service.wire.feedback import Acknowledged, of_warning
from service.wire.topics import Topics
from tests.bench.marginals import LAST_DAY, draw_habits, write_days
from tests.bench.place import ROOT, environment, own_folder
from tests.chaos.disk import Disk, disk_at
from tests.chaos.faults import Scene, plan
from tests.chaos.fleet import Fleet, Worker, until
from tests.chaos.judgement import Verdict, judge
from tests.chaos.proxy import Proxy

_READY_WITHIN_S = 300.0
_LOOK_S = 0.5
_ACKNOWLEDGED = 100  # one of so many warnings
_MEASURES = ("spend", "data", "outgoing")
_LEFT_OUT = {"clock": "a worker's clock cannot be moved here: libfaketime is not among what is installed"}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Go through it, and tell what was found."""
    with contextlib.ExitStack() as stack:
        folder = options.folder or stack.enter_context(own_folder())
        folder.mkdir(parents=True, exist_ok=True)
        disk = stack.enter_context(disk_at(folder / "snapshots", 256 + options.subscribers // 500))
        wires = {free_port(): free_port() for _ in range(options.workers)}
        broker = stack.enter_context(running_broker(folder / "kafka", doors=wires))
        every = max(1, options.rate * options.snapshots // options.partitions)
        environ = environment(broker.address, options.partitions, folder) | {
            "CHURN_SNAPSHOTS__EVERY_RECORDS": str(every)
        }
        _run(environ, "-m", "service", "topics", "create")
        origin = _load_history(environ, folder, options) if options.history else None
        return asyncio.run(_endure(options, environ, origin, (broker, wires, disk)))


def _load_history(environ: Mapping[str, str], folder: Path, options: argparse.Namespace) -> Path:
    """Days before the feed, by the service's own command; returns where what the shards begin with is kept aside."""
    days = folder / "days"
    days.mkdir()
    habits = draw_habits(options.subscribers)
    write_days(habits, range(LAST_DAY - options.history + 1, LAST_DAY + 1), _MEASURES, days)
    _run(environ, "-m", "service", "bootstrap", str(days), "--aggregates")
    shutil.rmtree(days)
    return Path(shutil.copytree(folder / "snapshots", folder / "origin"))


def _run(environ: Mapping[str, str], *arguments: str) -> None:
    subprocess.run(  # noqa: S603 - our own program
        [sys.executable, *arguments], cwd=ROOT, env=dict(environ), stdout=subprocess.DEVNULL, check=True
    )


async def _endure(
    options: argparse.Namespace,
    environ: Mapping[str, str],
    origin: Path | None,
    given: tuple[Broker, Mapping[int, int], Disk],
) -> dict[str, Any]:
    broker, wires, disk = given
    settings = load_settings(environ, None)
    faults = plan(options.kills, options.seconds, options.workers, options.seed, options.kinds.split(","))
    async with contextlib.AsyncExitStack() as stack:
        proxies = [await stack.enter_async_context(Proxy(port, inner)) for inner, port in wires.items()]
        fleet = stack.enter_context(_fleet(environ, options, proxies))
        watching = stack.enter_context(_task(fleet.watch()))
        await until(lambda: fleet.is_whole, _READY_WITHIN_S)
        scene = Scene(fleet, proxies, broker, disk)
        with _task(_acknowledge(settings)):
            fed, _ = await asyncio.gather(_feed(environ, options), scene.play(faults))
        settled_s = await settle(settings, fleet, options.settle)
        watching.cancel()
        ends = [end for worker in fleet.workers for end in worker.ends]
        stopped = await fleet.end()
        verdict = await judge(settings, origin)
    kinds = Counter(fault.kind for fault in faults)
    recovery_s = scene.recoveries()
    return {
        **{name: getattr(options, name) for name in ("seed", "seconds", "subscribers", "partitions", "workers")},
        "kills": len(faults),
        "faults": dict(kinds),
        "left_out": _LEFT_OUT,
        "disk": disk.way,
        "events": fed["sent"],
        "events_per_s": round(fed["sent"] / fed["seconds"]),
        **_told(verdict),
        "max_recovery_s": max((took_s for took_s in recovery_s.get("kill", ()) if took_s is not None), default=None),
        "recovery_s": recovery_s,
        "settled_s": settled_s,
        "ended_by_themselves": ends,
        "stopped": stopped,
    }


def _told(verdict: Verdict) -> dict[str, Any]:
    counts = {name: getattr(verdict, name) for name in ("messages", "transitions")}
    return {**counts, **asdict(verdict.difference)}


@contextlib.contextmanager
def _fleet(environ: Mapping[str, str], options: argparse.Namespace, proxies: list[Proxy]) -> Iterator[Fleet]:
    folder = Path(environ["CHURN_SNAPSHOTS__FOLDER"]).parent
    workers = []
    for number, proxy in enumerate(proxies):
        mine = {
            "CHURN_KAFKA__BOOTSTRAP_SERVERS": f"127.0.0.1:{proxy.port}",
            "CHURN_HTTP__PORT": str(free_port()),
        }
        workers.append(Worker(f"worker-{number}", {**environ, **mine}, folder / f"worker-{number}.log"))
    try:
        for worker in workers:
            worker.start()
        yield Fleet(workers, options.partitions)
    finally:
        for worker in workers:
            worker.kill()


@contextlib.contextmanager
def _task(coroutine: Any) -> Iterator["asyncio.Task[None]"]:
    """A task that is cancelled at the end of the block."""
    task = asyncio.create_task(coroutine)
    try:
        yield task
    finally:
        task.cancel()


async def _feed(environ: Mapping[str, str], options: argparse.Namespace) -> dict[str, float]:
    sizes = {
        "events": options.rate * options.seconds,
        **{name: getattr(options, name) for name in ("subscribers", "days", "rate", "seed")},
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.chaos.load",
        *(f"--{name}={size}" for name, size in sizes.items()),
        cwd=ROOT,
        env=dict(environ),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    found: dict[str, float] = json.loads(output.splitlines()[-1])
    return found


async def _acknowledge(settings: Settings) -> None:
    """Somebody takes a warning over now and then."""
    topics = Topics(settings.topics.prefix)
    sender, tail = KafkaSender(settings.kafka), KafkaAlertTail(settings.kafka, topics.warnings)
    await sender.start()
    raised = 0
    try:
        async for alert in tail.follow(await tail.positions()):
            raised += alert.data["transition"] == "raised"
            if alert.data["transition"] == "raised" and raised % _ACKNOWLEDGED == 0:
                told = {"subscriber_id": alert.data["subscriber_id"], "warning_id": alert.data["warning_id"]}
                report = Acknowledged(id=f"a{raised}", by="agent", occurred_at=alert.data["raised_at"], **told)
                with contextlib.suppress(Lost):  # nobody waits for it
                    await sender.send(of_warning(report, topics.feedback, alert.partition))
    finally:
        await sender.stop()


async def settle(settings: Settings, fleet: Fleet, within_s: float) -> float | None:
    """Wait until all input is committed by shards that run; returns the seconds, None where it is not in time."""
    began_s = time.monotonic()
    async with _asking(settings) as (log, admin):
        while not (fleet.is_whole and await _is_committed(settings, log, admin)):
            if time.monotonic() > began_s + within_s:
                return None
            await asyncio.sleep(_LOOK_S)
    return round(time.monotonic() - began_s, 1)


@contextlib.asynccontextmanager
async def _asking(settings: Settings) -> AsyncIterator[tuple[KafkaLog, AIOKafkaAdminClient]]:
    log, admin = KafkaLog(settings.kafka), AIOKafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap_servers)
    await log.start()
    await admin.start()
    try:
        yield log, admin
    finally:
        await admin.close()
        await log.stop()


async def _is_committed(settings: Settings, log: KafkaLog, admin: AIOKafkaAdminClient) -> bool:
    topics = Topics(settings.topics.prefix)
    committed = await admin.list_consumer_group_offsets(settings.kafka.group_id)
    for topic in (topics.usage, topics.feedback):
        for partition in range(settings.topics.partitions):
            stood = committed.get(TopicPartition(topic, partition))
            if (0 if stood is None else stood.offset) < (await log.ends(topic, partition)).high_watermark:
                return False
    return True
