"""A real one-node Apache Kafka from Maven jars, started on free loopback ports and stopped by its own process id.

For tests and for people who want a broker to play with (`deploy/kafka`). It keeps nothing safe: one replica, no
authentication, and its data goes when its folder goes.
"""  # noqa: INP001 - deploy holds scripts and configuration, it is no package

import argparse
import asyncio
import base64
import contextlib
import fcntl
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

POM = Path(__file__).with_name("kafka-pom.xml")
START_WITHIN_S = 60.0
STOP_WITHIN_S = 15.0

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}{doors}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}{told}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{protocols}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={folder}/data
# A topic that nobody made on purpose would have the wrong number of partitions.
auto.create.topics.enable=false
num.partitions=4
# One node holds one replica of everything, and few partitions of what it keeps for itself start faster.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
# Replayed records bear the dates of their events: none may be deleted for its age.
log.retention.ms=-1
"""


class BrokerError(Exception):
    """The broker cannot be had; the sentence says why and what to do."""


def kafka_version() -> str:
    """The version of Kafka that the pom names."""
    found = re.search(r"<kafka\.version>([^<]+)</kafka\.version>", POM.read_text(encoding="utf-8"))
    if found is None:
        raise BrokerError(f"{POM.name} names no kafka.version")
    return found[1]


def jars() -> Path:
    """Folder of the broker's jars, fetched with Maven on first use. Raises: BrokerError."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "churn-warning"
    folder = cache / f"kafka-{kafka_version()}"
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "kafka.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs on a fresh machine fetch once
        if not folder.is_dir():
            _fetch_jars(folder)
    return folder


def _fetch_jars(folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise BrokerError("mvn is missing, which fetches the jars of Apache Kafka: apt-get install maven")
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{folder.name}."))
    command = [maven, "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={partial}"]
    sys.stderr.write(f"Fetching Apache Kafka {kafka_version()} with Maven, once ...\n")
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own arguments
    if done.returncode != 0:
        shutil.rmtree(partial)
        reason = next((line for line in done.stdout.splitlines() if "ERROR" in line), done.stderr.strip())
        raise BrokerError(f"Maven could not fetch the jars of Apache Kafka {kafka_version()}: {reason}")
    partial.rename(folder)


class Broker:
    """One node in a folder of its own. It may be stopped or killed, and started again with its data and address.

    `doors` are further ports to listen on, each with the port that clients who come by it are told to use: that of a
    proxy, so that all they say goes through it.
    """

    def __init__(self, folder: Path, port: int | None = None, doors: Mapping[int, int] | None = None) -> None:
        self._folder = folder
        self.port = port or free_port()
        self._doors = doors or {}
        self._controller_port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """What clients take as their bootstrap servers."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start and wait until a transaction has worked. Raises: BrokerError."""
        config = self._folder / "server.properties"
        self._folder.mkdir(parents=True, exist_ok=True)
        config.write_text(self._properties(), encoding="utf-8")
        if not (self._folder / "data").exists():
            format_command = _java("-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool", "format")
            self._run([*format_command, "-t", _cluster_id(), "-c", str(config)])
        log = (self._folder / "broker.log").open("ab")
        with log:
            self._process = subprocess.Popen(  # noqa: S603 - our own arguments
                [*dying_with_us(), *_java("-Xmx1g", "-XX:+UseSerialGC", "kafka.Kafka"), str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is ours to handle
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """End it in order: SIGTERM, then SIGKILL if it takes too long."""
        if self._process is None:
            return
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_WITHIN_S)
        self.kill()

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def wait(self) -> None:
        """Return when it has ended, for whatever reason."""
        if self._process is not None:
            self._process.wait()

    def freeze(self) -> None:
        """Stop answering without closing a connection, as a stalled machine would; `thaw` goes on."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on after `freeze`."""
        self._signal(signal.SIGCONT)

    def _properties(self) -> str:
        return PROPERTIES.format(
            port=self.port,
            controller_port=self._controller_port,
            folder=self._folder,
            doors="".join(f",DOOR{port}://127.0.0.1:{port}" for port in self._doors),
            told="".join(f",DOOR{port}://127.0.0.1:{told}" for port, told in self._doors.items()),
            protocols="".join(f",DOOR{port}:PLAINTEXT" for port in self._doors),
        )

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own arguments
        if done.returncode != 0:
            raise BrokerError(f"Kafka could not format its folder {self._folder}: {done.stderr.strip()[-500:]}")

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_WITHIN_S
        error: object = "it does not accept connections"
        while time.monotonic() < deadline:
            if self._exited_within(0.05):
                raise BrokerError(f"Kafka ended while starting; its last lines: {self._last_lines()}")
            if not _accepts(self.port):
                continue
            try:
                # In a thread of its own, since the caller may be inside an event loop.
                with ThreadPoolExecutor(1) as thread:
                    thread.submit(_try_transaction, self.address, deadline - time.monotonic()).result()
            except (KafkaError, TimeoutError, OSError) as raised:
                error = raised
            else:
                return
        raise BrokerError(f"Kafka was not ready within {START_WITHIN_S:.0f} s ({error}): {self._last_lines()}")

    def _exited_within(self, seconds: float) -> bool:
        assert self._process is not None  # noqa: S101 - called between start and stop only
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self._process.returncode is not None

    def _last_lines(self) -> str:
        text = (self._folder / "broker.log").read_text(encoding="utf-8", errors="replace")
        return " | ".join(text.splitlines()[-5:])


@contextlib.contextmanager
def running_broker(folder: Path, port: int | None = None, doors: Mapping[int, int] | None = None) -> Iterator[Broker]:
    """A started broker, stopped at the end. Raises: BrokerError."""
    broker = Broker(folder, port, doors)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


def _try_transaction(address: str, within_s: float) -> None:
    # A loop factory leaves the policy's current loop alone.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(asyncio.wait_for(_first_transaction(address), within_s))


async def _first_transaction(address: str) -> None:
    """Make the broker's own topics for transactions and groups, so that no client waits for them."""
    topic = "broker.warm-up"
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        if topic not in await admin.list_topics():
            await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
        async with (
            AIOKafkaProducer(bootstrap_servers=address, transactional_id=topic, retry_backoff_ms=20) as producer,
            producer.transaction(),
        ):
            await producer.send_and_wait(topic, b"", partition=0)
            await producer.send_offsets_to_transaction({TopicPartition(topic, 0): 0}, topic)
    finally:
        await admin.close()


def _java(*arguments: str) -> list[str]:
    java = shutil.which("java")
    if java is None:
        raise BrokerError("java is missing, which runs Apache Kafka: apt-get install default-jre-headless")
    return [java, "-cp", f"{jars()}/*", *arguments]


def dying_with_us() -> list[str]:
    """Prefix of a command that the kernel ends when this process does, where the tool for it is there."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []


def _cluster_id() -> str:
    """A random id that the command line does not take for an option."""
    while (made := base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()).startswith("-"):
        pass
    return made


def free_port() -> int:
    """A port of the loopback address that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def main() -> int:
    """Run a broker until Ctrl-C or SIGTERM; its address is the first line of the output."""
    parser = argparse.ArgumentParser(
        prog="deploy/kafka",
        description="Start an Apache Kafka of one node on the loopback address, to play with.",
        epilog="example: deploy/kafka --port 9092",
    )
    parser.add_argument("--port", type=int, help="port to listen on (default: a free one)")
    parser.add_argument("--folder", type=Path, help="keep the data here (default: a temporary folder)")
    options = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with contextlib.ExitStack() as stack:
            folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kafka-")))
            broker = stack.enter_context(running_broker(folder.resolve(), options.port))
            sys.stdout.write(f"{broker.address}\n")
            sys.stdout.flush()
            sys.stderr.write(f"Kafka {kafka_version()} runs as process {broker.pid}; Ctrl-C stops it.\n")
            broker.wait()
        sys.stderr.write("deploy/kafka: Kafka ended by itself\n")
    except KeyboardInterrupt:
        return 0
    except BrokerError as error:
        sys.stderr.write(f"deploy/kafka: {error}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
