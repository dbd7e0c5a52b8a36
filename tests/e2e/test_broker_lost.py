"""A broker that goes while the service runs: readiness says so, the process lives on, and goes on when it is back."""

from datetime import UTC, datetime
from pathlib import Path

from deploy.broker import Broker
from tests.e2e.asking import Front, front_of
from tests.e2e.running import answer, completed, environment, running_service
from tests.e2e.sending import Sent, send
from tests.wire.examples import encoded, event, home_of

LOST_WITHIN_S = 20.0
BACK_WITHIN_S = 60.0
REASON = "The broker does not answer; the service waits for it."


def tell(broker: Broker, unique: str, subscriber: str) -> None:
    """One event of a subscriber."""
    now = datetime.now(UTC).isoformat()
    value = encoded(event("usage.data", id=f"{subscriber}-1", subscriber_id=subscriber, occurred_at=now))
    key = subscriber.encode()
    completed(send(broker.address, f"{unique}.usage.events", [Sent(home_of(key), key, value)]))


def assert_takes(front: Front, broker: Broker, unique: str, subscriber: str) -> None:
    """An event told now is in a subscriber's record soon."""
    tell(broker, unique, subscriber)
    front.until(lambda: front.ask(f"/v1/subscribers/{subscriber}").status_code == 200, BACK_WITHIN_S)


def assert_says_lost(front: Front) -> None:
    """Readiness and the metric say so, and what is known is still told."""
    front.until(lambda: front.ask("/readyz").status_code == 503, LOST_WITHIN_S)
    said = front.ask("/readyz")
    assert said.headers["content-type"] == "application/problem+json"
    assert said.json()["detail"] == REASON
    assert "Retry-After" in said.headers
    assert front.ask("/livez").status_code == 200
    front.until(lambda: front.total("churn_broker_connected") == 0)


def test_a_broker_that_stalls_or_dies_is_waited_for(own_broker: Broker, unique: str, tmp_path: Path) -> None:
    environ = environment(own_broker.address, unique, tmp_path)
    answer(environ, "topics", "create")
    with running_service(environ, tmp_path / "service.log") as service:
        front = front_of(service)
        assert_takes(front, own_broker, unique, "before")
        own_broker.freeze()
        assert_says_lost(front)
        own_broker.thaw()
        front.until_ready(BACK_WITHIN_S)
        assert_takes(front, own_broker, unique, "thawed")
        own_broker.kill()
        assert_says_lost(front)
        own_broker.start()
        front.until_ready(BACK_WITHIN_S)
        assert_takes(front, own_broker, unique, "restarted")
        for subscriber in ("before", "thawed"):
            assert front.ask(f"/v1/subscribers/{subscriber}").status_code == 200
        front.until(lambda: front.total("churn_records_in_total") >= 3)  # counted when committed
    log = service.log.read_text()
    assert "Traceback" not in log
    assert log.count("waiting for it") == log.count("answers again") == 2
    assert len(log.splitlines()) < 150, "an outage must not flood the log"


def test_a_service_without_its_broker_still_ends_in_time(own_broker: Broker, unique: str, tmp_path: Path) -> None:
    environ = environment(own_broker.address, unique, tmp_path)
    answer(environ, "topics", "create")
    with running_service(environ, tmp_path / "service.log") as service:
        front = front_of(service)
        own_broker.kill()
        assert_says_lost(front)
        service.process.terminate()
        assert service.process.wait(10) == 0, service.last_lines()
