"""The composition root: settings become a running service; it owns the start, and the order of stopping.

start   broker reached, topics checked ─► log, group, publishers ─► HTTP ─► worker
stop    pipeline (finish, commit, snapshot, leave the group) ─► live streams ─► HTTP
"""

import asyncio
import contextlib
import gc
import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version

import polars as pl

from service.api.app import Options, build_app
from service.api.peers import PeerQuestions
from service.api.server import HttpServer
from service.clock import Clock, SystemClock
from service.core.calendar import month_number
from service.core.events import FIELDS
from service.core.rules import Rulebook
from service.core.signals import Terms as SignalTerms
from service.core.signals import catalogue
from service.core.state import Config
from service.kafka.consumer import KafkaIntake
from service.kafka.group import machines
from service.kafka.log import KafkaLog
from service.kafka.publisher import KafkaPublisher
from service.kafka.sender import KafkaSender
from service.kafka.tail import KafkaAlertTail
from service.kafka.topics import check_topics
from service.metrics import Metrics
from service.peers import Directory, Peers, advertised, is_of_this_machine_only, url_of
from service.rulebook.loading import PARAMS_FILE, build
from service.rulebook.mapping import Mapping as UsageMapping
from service.rulebook.mapping import expand_values
from service.rulebook.problems import Problem, RulebookError, suggest
from service.settings import HttpSettings, Settings, SettingsError
from service.shard import Terms, World
from service.store.copies import Copies
from service.store.files import Files
from service.store.store import Store
from service.wire.decode import Intake
from service.wire.rejects import Fault
from service.wire.topics import Topics, TopicSpec
from service.worker import Elsewhere, Rulebooks, Summary, Worker, nowhere
from service.worker.rulebooks import Build

_LOG = logging.getLogger(__name__)
_COLLECT_AFTER = 200_000  # objects that a cycle may be among; Python's own default is 700
_MINUTE_US, _SECOND_US = 60_000_000, 1_000_000
_LOOK_S = 0.02
_DRAIN_S = 6.0  # of the ten seconds in which a stop must be over
_HTTP_S = 2.0


class UnfitError(Exception):
    """Topics or the address to listen on are not as the service needs them; each line is a sentence with the remedy."""


@dataclass(frozen=True, slots=True)
class Given:
    """What a service is made of: what was read at the start, and the time."""

    settings: Settings
    rulebook: Rulebook
    mapping: UsageMapping | None = None
    clock: Clock = field(default_factory=SystemClock)


@dataclass(frozen=True, slots=True)
class Running:
    """A service that runs: where it listens (last: alone), what it has counted, and its worker."""

    addresses: tuple[str, ...]
    summary: Summary
    worker: Worker
    task: asyncio.Task[None]

    @property
    def address(self) -> str:
        """Where everybody finds it."""
        return self.addresses[0]

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something that the summary tells is so, or the service has ended."""
        while not is_so() and not self.task.done():
            await asyncio.wait((self.task,), timeout=_LOOK_S)


def config_of(settings: Settings, rulebook: Rulebook) -> Config:
    """The core's terms. Raises: SettingsError where the time's settings fit neither the events nor the rules."""
    time = settings.time
    for event_type in time.late_days_by_type:
        if event_type not in FIELDS:
            known = suggest(event_type, FIELDS)
            raise SettingsError(f"CHURN_TIME__LATE_DAYS_BY_TYPE names {event_type}, which is no event type{known}")
    _check_keeping(settings, rulebook)
    return Config(
        zone=time.zone,
        windows_days=time.windows_days,
        year_on_year=time.year_on_year,
        photo_month=_photo_month(settings),
        grace_us=time.grace_minutes * _MINUTE_US,
        horizon_days=time.late_days,
        horizon_days_by_type=time.late_days_by_type,
        roaming_horizon_days=time.late_days_roaming,
        keep_days=time.keep_days,
        lost_days=time.lost_days,
        minor_digits=settings.money.minor_digits,
        own_network=_own_network(rulebook),
        partitions=settings.topics.partitions,
        feed_gate=settings.rules.feed_gate,
    )


def _own_network(rulebook: Rulebook) -> str:
    """What rules call our own network is none that calls are forwarded away to."""
    params = rulebook.contents.get(PARAMS_FILE)
    name = params.get("own_network") if isinstance(params, dict) else None
    return name if isinstance(name, str) else Config().own_network


def _check_keeping(settings: Settings, rulebook: Rulebook) -> None:
    """An episode is kept until no late record can raise it again. Raises: SettingsError."""
    time = settings.time
    kept, rule = max(((rule.keep_for_days or 0, rule.id) for rule in rulebook.rules), default=(0, ""))
    least = _longest_horizon(settings) + kept
    if time.keep_days < least:
        kept_by = f" and that rule {rule} keeps a warning (keep_for) together" if kept else ""
        raise SettingsError(
            f"CHURN_TIME__KEEP_DAYS is {time.keep_days}, but must be at least {least}, the days that a record may be "
            f"late (CHURN_TIME__LATE_DAYS...){kept_by}, else one could be raised twice: raise it, or lower those"
        )


def _longest_horizon(settings: Settings) -> int:
    time = settings.time
    return max(time.late_days, time.late_days_roaming, *time.late_days_by_type.values())


def terms_of(settings: Settings) -> SignalTerms:
    """Which windows rules may name."""
    time = settings.time
    return SignalTerms(time.windows_days, time.year_on_year, _photo_month(settings), settings.money.minor_digits)


def domains(settings: Settings) -> dict[str, pl.DataType]:
    """What rules may name under these settings: each signal's type, with its closed set where it has one."""
    return {name: signal.domain for name, signal in catalogue(terms_of(settings)).items()}


def given_params(settings: Settings) -> dict[str, str]:
    """What sentences may name that only the settings know."""
    return {"currency": settings.money.currency}


def builder_of(settings: Settings) -> Build:
    """How a published rulebook is built here from what its files say."""
    signals, given = domains(settings), given_params(settings)

    def built(files: Mapping[str, object]) -> Rulebook:
        rulebook = build(files, signals, given)
        try:
            _check_keeping(settings, rulebook)
        except SettingsError as error:
            raise RulebookError([Problem("settings", 0, str(error))]) from error
        return rulebook

    return built


def _photo_month(settings: Settings) -> int | None:
    month = settings.time.photo_month
    return month_number(month) if month else None


def intake_of(settings: Settings, mapping: UsageMapping | None) -> Intake:
    """What a usage record has to meet."""
    return Intake(
        partitions=settings.topics.partitions,
        partitioner=settings.kafka.partitioner,
        tolerance_us=settings.time.future_tolerance_s * _SECOND_US,
        expand=None if mapping is None else expand_values(mapping),
    )


def store_of(
    settings: Settings, place: str | None = None, partitions: int | None = None, *, copies: bool = True
) -> Store:
    """Where snapshots are kept: as the settings say, unless told another place and partition count.

    `copies`: whether what is read of the past is copied to where a part of it is found at once.
    """
    files = Files(place or settings.snapshots.folder)
    return Store(
        files,
        Copies(settings.snapshots.cache_folder if files.folder is None else files.folder / "cache", keeps=copies),
        partitions or settings.topics.partitions,
        settings.snapshots.keep,
        {"zone": settings.time.zone},
    )


def specs_of(settings: Settings) -> tuple[TopicSpec, ...]:
    """The topics that these settings ask for."""
    horizon_days = _longest_horizon(settings)
    # Input outlives the late horizon and the oldest snapshot by a week in which somebody can notice.
    return Topics(settings.topics.prefix).specs(settings.topics.partitions, horizon_days + 7, horizon_days)


@contextlib.asynccontextmanager
async def running(given: Given) -> AsyncIterator[Running]:
    """Run a service inside the block, and stop it in order at its end.

    Raises: BrokerMissing, UnfitError, SettingsError, Lost.
    """
    settings = given.settings
    topics, metrics = Topics(settings.topics.prefix), Metrics(version("churn-warning"), settings.time.clock)
    log, sender = KafkaLog(settings.kafka), KafkaSender(settings.kafka)
    rulebooks = Rulebooks(log, topics.rulebook, given.rulebook, builder_of(settings), metrics)
    terms = _terms(given, topics, rulebooks)
    collect_seldom()
    _try_writing(settings.snapshots.folder)
    if problems := await check_topics(settings.kafka, specs_of(settings)):
        raise UnfitError("\n".join(problems))
    metrics.partitions_known(settings.topics.partitions)
    metrics.reasons_known(Fault)
    summary = Summary(metrics)
    async with contextlib.AsyncExitStack() as stack:
        for client in (log, sender):
            stack.push_async_callback(client.stop)
            await client.start()
        await rulebooks.catch_up()
        world = World(log, _publishers(settings, topics), store_of(settings), given.clock, summary)
        intake = KafkaIntake(settings.kafka, [topics.usage, topics.feedback], rulebooks.newest_hash)
        directory = Directory(log, sender, topics.directory)
        worker = Worker(world, terms, intake, sender, _elsewhere(given, directory, stack))
        server = _server(given, worker, topics, metrics)
        addresses = _listen(server, settings.http)
        stack.push_async_callback(asyncio.to_thread, server.stop, _HTTP_S)
        task = asyncio.create_task(worker.run())
        stack.push_async_callback(_stop, worker, task, server)
        service = Running(tuple(url_of(*one) for one in addresses), summary, worker, task)
        own = advertised(settings.http, *addresses[-1])
        for beside in (
            _look_around(settings, service, own),
            directory.run(own, worker.running),
            rulebooks.run(worker.shelf.open_days),
        ):
            stack.callback(asyncio.create_task(beside).cancel)
        yield service


def collect_seldom() -> None:
    """Records come by the ten thousand and go without cycles: looking for those would take longer than reading them."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, *gc.get_threshold()[1:])


def _try_writing(place: str) -> None:
    """Find out at the start, not at the first snapshot, that there can be none. Raises: SettingsError."""
    try:
        Files(place).probe()
    except OSError as error:
        raise SettingsError(
            f"CHURN_SNAPSHOTS__FOLDER is '{place}', where nothing can be written ({error.strerror or error}): "
            "name a folder on a disk that outlives the process, or an object store's URL"
        ) from error


async def _look_around(settings: Settings, service: Running, own: str) -> None:
    """Once the shards are shared out, say what others would lack: snapshots that are kept here, leave to ask."""
    await service.until(lambda: bool(service.worker.readiness()["ready"]))
    members = await machines(settings.kafka)
    if said := unshared(settings.snapshots.folder, frozenset(members)):
        _LOG.warning(said)
    if len(set(members)) > 1 and is_of_this_machine_only(own):
        _LOG.warning("no other machine reaches %s, where this one is announced: set CHURN_HTTP__ADVERTISED", own)
    if len(members) > 1 and settings.http.peer_token is None:
        _LOG.warning(
            "the group has %d members, but CHURN_HTTP__PEER_TOKEN is not set: each answers only for its own shards; "
            "give all of them the same secret",
            len(members),
        )


def unshared(place: str, known: Collection[str]) -> str | None:
    """What is wrong with keeping snapshots in a place, where the group has members on these machines."""
    if Files(place).folder is None or len(known) <= 1:
        return None
    return (
        f"CHURN_SNAPSHOTS__FOLDER is the local folder '{place}', but the group has members on "
        f"{', '.join(sorted(known))}: unless all of them see it, a shard that moves reads its whole log again; "
        "name an object store's URL"
    )


def _elsewhere(given: Given, directory: Directory, stack: contextlib.AsyncExitStack) -> Elsewhere:
    """How other replicas are asked: not at all without the secret that they share."""
    http = given.settings.http
    if http.peer_token is None:
        return nowhere
    token = http.peer_token.get_secret_value()
    peers = Peers(lambda: directory.owners, token, http.peer_wait_ms / 1000, given.clock)
    stack.callback(peers.close)
    return peers


def _listen(server: HttpServer, http: HttpSettings) -> list[tuple[str, int]]:
    """Serve; returns hosts and ports, the one of this process alone last. Raises: UnfitError."""
    ports = (http.port,) if http.worker_port is None else (http.port, http.worker_port)
    try:
        return server.start(http.host, *ports)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (while")[0]  # Python's addition repeats the address
        named = " or ".join(str(port) for port in ports)
        raise UnfitError(
            f"{http.host}:{named} cannot be listened on ({reason}): correct CHURN_HTTP__HOST or CHURN_HTTP__PORT"
        ) from error


async def _stop(worker: Worker, task: asyncio.Task[None], server: HttpServer) -> None:
    """The pipeline first, then the streams; HTTP last, by the caller."""
    _LOG.info("stopping: the pipeline, then live streams, then HTTP")
    await worker.stop(_DRAIN_S)
    server.end_streams()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _publishers(settings: Settings, topics: Topics) -> Callable[[int], KafkaPublisher]:
    def publisher(partition: int) -> KafkaPublisher:
        group = settings.kafka.group_id
        return KafkaPublisher(settings.kafka, f"churn-warning-{group}-{topics.usage}-{partition}")

    return publisher


def _terms(given: Given, topics: Topics, rulebooks: Rulebooks) -> Terms:
    settings = given.settings
    return Terms(
        rulebook=rulebooks,
        intake=intake_of(settings, given.mapping),
        config=config_of(settings, given.rulebook),
        topics=topics,
        currency=settings.money.currency,
        wall=settings.time.clock == "wall",
        turn_records=settings.kafka.poll_records,
        turn_interval_s=settings.kafka.turn_interval_ms / 1000,
        mirror_interval_s=settings.kafka.mirror_interval_ms / 1000,
        breaker_records=settings.kafka.breaker_records,
        breaker_share=settings.kafka.breaker_share,
        breaker_run=settings.kafka.breaker_run,
        accept_gaps=settings.kafka.accept_gaps,
        stall_s=float(settings.kafka.stall_s),
        snapshot_records=settings.snapshots.every_records,
        snapshot_interval_s=settings.snapshots.every_minutes * 60.0,
        memory_bytes=settings.memory.limit_mb << 20 or None,
    )


def _server(given: Given, worker: Worker, topics: Topics, metrics: Metrics) -> HttpServer:
    settings = given.settings
    token = settings.http.peer_token
    options = Options(
        currency=settings.money.currency,
        minor_digits=settings.money.minor_digits,
        zone=settings.time.zone,
        acknowledge_wait_s=settings.http.acknowledge_wait_ms / 1000,
        clock=given.clock,
        peers=None if token is None else PeerQuestions(worker.shelf, token.get_secret_value()),
    )
    tail = KafkaAlertTail(settings.kafka, topics.warnings)
    return HttpServer(build_app(worker.desk, tail, metrics, options))
