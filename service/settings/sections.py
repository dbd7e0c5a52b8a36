"""The shape of the settings: sections, types, bounds, defaults and meanings."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    model_validator,
)

from service.settings.zones import is_zone

_SECRET = re.compile(r"[ -~]{16,}")
_LONGEST_NAME = 255  # of a file or folder, on every file system in use


def _zone(name: str) -> str:
    if not is_zone(name):
        raise ValueError("must be a time zone of the IANA database, such as Asia/Shanghai")
    return name


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not hold the character NUL")
    return text


def _path(path: Path) -> Path:
    _without_nul(str(path))
    if any(len(part.encode(errors="surrogateescape")) > _LONGEST_NAME for part in path.parts):
        raise ValueError(f"must not have a part longer than {_LONGEST_NAME} bytes")
    return path


def _host(name: str) -> str:
    try:
        name.encode("idna")
    except UnicodeError as error:
        raise ValueError("must be a host's name or address, such as 127.0.0.1") from error
    return _without_nul(name)


def _windows(days: tuple[int, ...]) -> tuple[int, ...]:
    if sorted(set(days)) != list(days):
        raise ValueError("must be rising numbers of days, such as 1,7,30")
    return days


def _listed(value: object) -> object:
    """`1,7,30` as a variable can say it."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _paired(value: object) -> object:
    """`charge=40,bill.closed=60` as a variable can say it."""
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    if not all(sign for _, sign, _ in pairs):
        raise ValueError("must be pairs such as charge=40,bill.closed=60")
    return {name.strip(): number.strip() for name, _, number in pairs}


def _stripped(value: object) -> object:
    """Without the line break of a mounted file; nothing left is nothing set."""
    return value.strip() or None if isinstance(value, str) else value


def _secret(secret: SecretStr | None) -> SecretStr | None:
    if secret is not None and not _SECRET.fullmatch(secret.get_secret_value()):
        raise ValueError("must be at least 16 characters of plain ASCII")
    return secret


Days = Annotated[int, Field(ge=1, le=400)]
Milliseconds = Annotated[int, Field(ge=1, le=3_600_000)]
Count = Annotated[int, Field(ge=1)]
Minutes = Annotated[int, Field(ge=1, le=525_600)]
Bytes = Annotated[int, Field(ge=1, le=2**31 - 1)]  # as Kafka's protocol holds them
Name = Annotated[str, Field(min_length=1), AfterValidator(_without_nul)]
File = Annotated[Path, AfterValidator(_path)]
Host = Annotated[Name, AfterValidator(_host)]
Zone = Annotated[str, AfterValidator(_zone)]
Secret = Annotated[SecretStr | None, BeforeValidator(_stripped), AfterValidator(_secret)]
Windows = Annotated[tuple[Days, ...], BeforeValidator(_listed), AfterValidator(_windows), Field(min_length=1)]
DaysByType = Annotated[dict[str, Days], BeforeValidator(_paired)]


class Section(BaseModel):
    """Nothing unknown is taken, nothing changes after the start."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class KafkaSettings(Section):
    """The broker, and how its records are read and written."""

    bootstrap_servers: Name = Field(
        default="127.0.0.1:9092", description="Brokers to ask first, host:port, separated by commas"
    )
    group_id: Name = Field(
        default="churn-warning", description="Consumer group, and the prefix of every transactional id"
    )
    client_id: Name = Field(
        default="churn-warning", description="Name under which the broker's own metrics show the service"
    )
    partitioner: Literal["murmur2", "crc32", "any"] = Field(
        default="murmur2",
        description="How producers of usage choose partitions: murmur2 (Java), crc32 (librdkafka), "
        "any (unknown: nothing is checked, and lookups ask every shard)",
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="Whether connections are encrypted, and whether they log in"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="PLAIN", description="How to log in, where security_protocol says SASL"
    )
    sasl_username: str | None = Field(default=None, description="User to log in as")
    sasl_password: SecretStr | None = Field(default=None, description="Password to log in with")
    ssl_ca_file: File | None = Field(
        default=None, description="PEM file of the authority to trust; the system's where not set"
    )
    ssl_certificate_file: File | None = Field(
        default=None, description="PEM file of our certificate, where brokers ask for one"
    )
    ssl_key_file: File | None = Field(default=None, description="PEM file of our certificate's key")
    ssl_key_password: SecretStr | None = Field(default=None, description="Password of the key file")
    ssl_check_hostname: bool = Field(default=True, description="Whether a broker's certificate must bear its host name")
    session_timeout_ms: Milliseconds = Field(
        default=6_000, description="A worker not heard of for this long loses its shards"
    )
    heartbeat_interval_ms: Milliseconds = Field(
        default=2_000, description="Time between signs of life; a third of the session"
    )
    rebalance_timeout_ms: Milliseconds = Field(
        default=30_000, description="Time workers have to join when shards are shared out"
    )
    request_timeout_ms: Milliseconds = Field(default=40_000, description="Time after which a request counts as lost")
    transaction_timeout_ms: int = Field(
        default=30_000,
        ge=1,
        le=900_000,
        description="Time after which the broker ends an open transaction; at most its transaction.max.timeout.ms, "
        "by default 900000",
    )
    retry_backoff_ms: Milliseconds = Field(default=20, description="Wait before a request is tried again")
    stall_s: Count = Field(
        default=60,
        description="Seconds without any record, though there are more, after which a worker joins the group anew",
    )
    poll_records: Count = Field(default=50_000, description="Most records of one turn")
    poll_wait_ms: Milliseconds = Field(default=200, description="Longest wait for records that are not there yet")
    turn_interval_ms: Milliseconds = Field(
        default=200,
        description="Shortest time between two turns of a shard, unless many records wait; more where the turns of all "
        "shards would take more than a core",
    )
    fetch_bytes: Bytes = Field(default=64 << 20, description="Most bytes of one fetch from a broker")
    fetch_partition_bytes: Bytes = Field(default=8 << 20, description="Most bytes of one partition in a fetch")
    mirror_interval_ms: Milliseconds = Field(
        default=1_000, description="Shortest time between two commits of turns that say nothing"
    )
    check_crcs: bool = Field(
        default=True, description="Whether read batches are verified; only the demo's embedded broker spoils checksums"
    )
    accept_gaps: bool = Field(
        default=False,
        description="Whether to go on where records were deleted before they were read; else their shard does not run, "
        "for what it told would be incomplete",
    )
    breaker_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="A shard takes no more usage where more than this share of breaker_records in a row is bad, or "
        "breaker_run in a row are; 1 lets all of them pass as dead letters",
    )
    breaker_records: Count = Field(default=1_000, description="Records in a row that breaker_share is measured over")
    breaker_run: Count = Field(
        default=500, description="Bad records in a row that are too many, however few there were before them"
    )
    whole_batches: bool = Field(
        default=True,
        description="Whether records are unpacked a batch at a time, which is faster; done only with versions of the "
        "client library that this was tested with",
    )
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = Field(
        default="lz4", description="How sent records are compressed"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.security_protocol.startswith("SASL") and not (self.sasl_username and self.sasl_password):
            raise ValueError(f"security_protocol {self.security_protocol} needs sasl_username and sasl_password")
        if (self.ssl_certificate_file is None) != (self.ssl_key_file is None):
            raise ValueError("ssl_certificate_file and ssl_key_file need each other")
        if self.heartbeat_interval_ms * 2 > self.session_timeout_ms:
            raise ValueError("heartbeat_interval_ms must be at most half of session_timeout_ms")
        if self.rebalance_timeout_ms < self.session_timeout_ms:
            raise ValueError("rebalance_timeout_ms must be at least session_timeout_ms")
        return self


class TopicSettings(Section):
    """Names of topics, and how `topics create` makes them."""

    prefix: str = Field(
        default="", pattern=r"^[a-zA-Z0-9._-]*$", description="What every topic's name begins with, such as test."
    )
    partitions: Count = Field(
        default=4, description="Partitions of the usage topic and all that follow it: the most workers there can be"
    )
    replication: int = Field(
        default=-1, ge=-1, le=32_767, description="Replicas of each partition; -1 takes the broker's default"
    )


class TimeSettings(Section):
    """Which day a record belongs to, when a day closes, and how late is too late."""

    clock: Literal["wall", "log"] = Field(
        default="wall",
        description="What may close a day: the usage events alone (log: replay, demo, tests) or also the time (wall)",
    )
    zone: Zone = Field(default="UTC", description="Time zone whose calendar days count")
    windows_days: Windows = Field(
        default=(1, 7, 14, 30, 60, 90), description="Lengths of the rolling windows in closed days"
    )
    year_on_year: bool = Field(
        default=False, description="Whether each window is also compared with itself 364 days ago"
    )
    photo_month: str = Field(
        default="",
        pattern=r"^(\d{4}-(0[1-9]|1[0-2]))?$",
        description="The photographed month, such as 2025-12, that windows are also compared with; empty for none",
    )
    grace_minutes: int = Field(
        default=120, ge=0, le=1_439, description="Time after midnight until which a day stays open"
    )
    future_tolerance_s: int = Field(
        default=300, ge=0, le=86_400, description="How far beyond the broker's time a record may be dated"
    )
    late_days: Days = Field(default=7, description="How many days late a record still counts")
    late_days_roaming: Days = Field(default=35, description="The same for roaming records, whose files come weeks late")
    late_days_by_type: DaysByType = Field(
        default={}, description="The same for single event types: charge=40,bill.closed=60"
    )
    keep_days: Days = Field(default=90, description="How many days resolved episodes and contacts are kept at hand")
    lost_days: int = Field(
        default=400,
        ge=1,
        le=10_000,
        description="Days without any record, beyond all windows, after which a subscriber is forgotten who holds "
        "no bundle and has refused nothing",
    )


class MoneySettings(Section):
    """The currency of every amount in events."""

    currency: str = Field(default="CNY", pattern=r"^[A-Z]{3}$", description="ISO 4217 code, for display and messages")
    minor_digits: int = Field(
        default=2, ge=0, le=4, description="Decimal digits that a minor unit is below the major one"
    )


class RuleSettings(Section):
    """The rulebook."""

    folder: File = Field(default=Path("rules"), description="Folder of the rulebook")
    mapping: str | None = Field(
        default=None,
        description="Mapping of usage events' fields to ours: a file's stem in mappings/ of the rules folder",
    )
    feed_gate: bool = Field(
        default=True,
        description="Whether a market whose feed falls silent is not judged for drops and silence until it is back",
    )


class SnapshotSettings(Section):
    """Snapshots of state, from which a shard starts again."""

    folder: Name = Field(
        default="snapshots",
        description="Folder of the snapshots, on a disk that outlives the process, or an object store's URL such as "
        "s3://bucket/prefix, with its credentials in AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION ...",
    )
    cache_folder: File = Field(
        default=Path("snapshots-cache"),
        description="Local folder in which lookups find usage of an object store's snapshots; those of a folder have "
        "it beside them",
    )
    every_records: Count = Field(default=2_000_000, description="A snapshot after this many records of a shard")
    every_minutes: Minutes = Field(default=10, description="A snapshot after this many minutes, where anything changed")
    keep: Count = Field(default=3, description="How many snapshots of a shard are kept")


class MemorySettings(Section):
    """How much memory the process may take before it refuses partitions."""

    limit_mb: int = Field(
        default=0, ge=0, description="Megabytes; 0 for what the control group, or else the machine, gives"
    )


class HttpSettings(Section):
    """The HTTP interface: lookups, lists, live warnings, metrics, health."""

    host: Host = Field(default="127.0.0.1", description="Address to listen on; 0.0.0.0 for all")
    port: int = Field(default=8080, ge=0, le=65_535, description="Port to listen on; 0 for any free one")
    worker_port: int | None = Field(
        default=None,
        ge=0,
        le=65_535,
        description="A second port, of this process alone (0: any free one), where several share the first; "
        "`run --workers` gives each worker its own",
    )
    advertised: str = Field(
        default="",
        pattern=r"^(https?://[^/\s@?#]+)?$",
        description="Where other replicas reach this one, such as http://10.0.0.7:8080; empty: the address that it "
        "listens on, or the machine's where it listens on all",
    )
    peer_token: Secret = Field(
        default=None,
        description="Secret that all replicas share, of 16 characters at least; without it they answer only for the "
        "shards that they have",
    )
    peer_wait_ms: Milliseconds = Field(
        default=1_000, description="How long an answer waits for another replica before it goes without"
    )
    acknowledge_wait_ms: Milliseconds = Field(
        default=2_000,
        description="How long what somebody did waits for the shards to apply it before it is answered by 202",
    )


class LogSettings(Section):
    """The service's own log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info",
        description="Least level written; debug also shows subscriber ids as they are, everything else their hashes",
    )
    format: Literal["auto", "json", "text"] = Field(
        default="auto", description="One JSON object a line, text, or text only for a terminal"
    )
    id_key: SecretStr | None = Field(
        default=None, description="Secret mixed into the hashes of ids, so that nobody finds a known id in the log"
    )


class Settings(Section):
    """All settings, by section."""

    kafka: KafkaSettings = KafkaSettings()
    topics: TopicSettings = TopicSettings()
    time: TimeSettings = TimeSettings()
    money: MoneySettings = MoneySettings()
    rules: RuleSettings = RuleSettings()
    snapshots: SnapshotSettings = SnapshotSettings()
    memory: MemorySettings = MemorySettings()
    http: HttpSettings = HttpSettings()
    log: LogSettings = LogSettings()
