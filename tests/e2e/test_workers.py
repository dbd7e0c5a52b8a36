"""Several workers of one service on one machine: any of them answers, each is started again, and all end together."""

import asyncio
import os
import select
import signal
import socket
from collections.abc import Mapping
from pathlib import Path

import httpx
import orjson
import pytest

from service.settings import Settings, SettingsError
from service.supervisor import settings_of_workers
from tests.doubles.stand import PARTITIONS, home, neighbours
from tests.e2e.asking import addresses, front_of
from tests.e2e.running import Service, answer, environment, started_service
from tests.e2e.sending import Sent, send
from tests.e2e.test_bad_start import complaints

CITY = [who for partition in range(PARTITIONS) for who in neighbours(partition, 3)]
SOON = {"CHURN_KAFKA__SESSION_TIMEOUT_MS": "2000", "CHURN_KAFKA__HEARTBEAT_INTERVAL_MS": "500"}


def events() -> list[Sent]:
    told = {"type": "usage.sms", "occurred_at": "2025-03-01T08:00:00Z", "count": 2}
    return [Sent(home(who), who.encode(), orjson.dumps({"id": who, "subscriber_id": who, **told})) for who in CITY]


def pids(service: Service) -> list[int]:
    """Of the processes that a supervisor has."""
    return [
        int(one) for one in Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children").read_text().split()
    ]


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def made(bootstrap: str, unique: str, folder: Path) -> Mapping[str, str]:
    environ = {**environment(bootstrap, unique, folder), **SOON}
    answer(environ, "topics", "create")
    asyncio.run(send(bootstrap, f"{unique}.usage.events", events()))
    return environ


def all_answer(address: str) -> bool:
    """Whether one worker tells of every subscriber, and of all shards."""
    with httpx.Client(base_url=address, timeout=10) as client:
        try:
            found = [client.get(f"/v1/subscribers/{who}") for who in CITY]
            listed = client.get("/v1/warnings").json()
        except httpx.TransportError:
            return False
    told = [one.json()["daily"][-1]["sms"] for one in found if one.status_code == 200]
    assert {one.status_code for one in found} <= {200, 404, 503}
    return told == [2] * len(CITY) and listed["complete"]


def test_any_worker_answers_and_who_is_killed_is_started_again(
    kafka_bootstrap: str, unique: str, tmp_path: Path
) -> None:
    environ = made(kafka_bootstrap, unique, tmp_path)
    with started_service(environ, tmp_path / "log", "--workers", "2") as service:
        front = front_of(service)
        front.until(lambda: len(addresses(service)) == 2)
        own = [found[1] for found in addresses(service)]
        assert {found[0] for found in addresses(service)} == {front.address}
        for address in own:
            front.until(lambda address=address: all_answer(address))  # type: ignore[misc]  # the default is the loop's
        front.until(lambda: all_answer(front.address))
        states = [
            line
            for address in own
            for line in httpx.get(f"{address}/metrics").text.splitlines()
            if line.startswith("churn_shard_state{") and 'state="running"' in line and line.endswith(" 1.0")
        ]
        assert len(states) == PARTITIONS
        former = pids(service)
        os.kill(former[0], signal.SIGKILL)
        front.until(lambda: len(addresses(service)) == 3)
        last = addresses(service)[-1][1]
        front.until(lambda: all_answer(last), 60)
        assert "started again in" in service.log.read_text()
        now = pids(service)
        assert len(now) == 2
        assert former[1] in now
        service.process.terminate()
        assert service.process.wait(20) == 0, service.last_lines()
    assert not any(map(lives, now))


def test_workers_end_with_their_supervisor_however_that_ends(kafka_bootstrap: str, unique: str, tmp_path: Path) -> None:
    environ = made(kafka_bootstrap, unique, tmp_path)
    with started_service(environ, tmp_path / "log", "--workers", "2") as service:
        front_of(service).until(lambda: len(addresses(service)) == 2)
        workers = pids(service)
        descriptors = [os.pidfd_open(pid) for pid in workers]
        service.process.kill()
        service.process.wait()
        for pid, descriptor in zip(workers, descriptors, strict=True):
            assert ended(descriptor), f"worker {pid} lives on"
            os.close(descriptor)


def ended(descriptor: int) -> bool:
    """Whether a process ends within a deadline."""
    return bool(select.select([descriptor], [], [], 20)[0])


def test_what_no_worker_can_start_with_ends_all_with_the_sentence(
    kafka_bootstrap: str, unique: str, tmp_path: Path
) -> None:
    environ = environment(kafka_bootstrap, unique, tmp_path)
    lines = complaints(environ, "run", "--workers", "2")
    assert any(line.endswith(" are missing: churn-warning topics create") for line in lines)
    assert complaints(environ, "run", "--workers", "9") == [
        (
            "9 workers are too many for 4 partitions: each needs one at least; "
            "ask for fewer, or correct CHURN_TOPICS__PARTITIONS"
        )
    ]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        [line] = complaints({**environ, "CHURN_HTTP__PORT": port}, "run", "--workers", "2")
    assert line.startswith(f"127.0.0.1:{port} cannot be listened on (Address already in use)")


def test_workers_share_memory_and_secret_and_have_a_port_each() -> None:
    settings = Settings.model_validate({"memory": {"limit_mb": 3000}, "http": {"port": 8080}})
    told = settings_of_workers(settings, 3, 8080)
    assert [one["CHURN_HTTP__WORKER_PORT"] for one in told] == ["8081", "8082", "8083"]
    assert {one["CHURN_MEMORY__LIMIT_MB"] for one in told} == {"1000"}
    assert len({one["CHURN_HTTP__PEER_TOKEN"] for one in told}) == 1
    assert len(told[0]["CHURN_HTTP__PEER_TOKEN"]) == 64
    secret = "ours" * 8
    given = Settings.model_validate({"http": {"peer_token": secret, "port": 0}})
    assert settings_of_workers(given, 2, 4711)[1]["CHURN_HTTP__PEER_TOKEN"] == secret
    assert settings_of_workers(given, 2, 4711)[1]["CHURN_HTTP__WORKER_PORT"] == "0"
    named = Settings.model_validate({"http": {"advertised": "http://[fe80::1]:9000", "port": 9000}})
    told = settings_of_workers(named, 2, 9000)
    assert [one["CHURN_HTTP__ADVERTISED"] for one in told] == ["http://[fe80::1]:9001", "http://[fe80::1]:9002"]
    with pytest.raises(SettingsError, match="CHURN_HTTP__ADVERTISED needs a port"):
        settings_of_workers(Settings.model_validate({"http": {"advertised": "http://a", "port": 0}}), 2, 4711)
    with pytest.raises(SettingsError, match="CHURN_HTTP__PORT is 65535"):
        settings_of_workers(Settings.model_validate({"http": {"port": 65535}}), 2, 65535)
