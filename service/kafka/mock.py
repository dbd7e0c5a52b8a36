"""The demo's broker inside our own process: librdkafka's mock cluster. Refuses to stand in for a real one.

It spoils the checksums of transactions' batches, shows aborted records to read_committed readers, fences nobody,
knows groups of one member only, forgets offsets that were committed in a transaction, and drops what is older than
about 100,000 records a partition. Nothing is ever proved on it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

PARTITIONS = 4  # of every topic; topics appear on first use


class MockMissingError(Exception):
    """The library that holds the mock cluster is not installed; the sentence says what to install."""


@contextmanager
def mock_cluster() -> Iterator[str]:
    """Run a mock cluster of one broker; yields its bootstrap address. Raises: MockMissingError."""
    try:
        from confluent_kafka import Producer  # noqa: PLC0415 - an extra: only who runs the demo needs it
    except ImportError as error:
        raise MockMissingError(
            "the embedded broker needs confluent-kafka: pip install 'churn-warning[demo]', or run deploy/demo"
        ) from error
    # The cluster lives as long as the client that asked for it; its own bootstrap servers are a formality.
    owner = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock:1", "log_level": 0})
    brokers = owner.list_topics(timeout=10).brokers.values()
    yield ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
    owner.flush(1)
