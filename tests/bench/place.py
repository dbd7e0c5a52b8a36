"""Where a bench runs: the broker that is given, or one of its own, and settings that no other run shares."""

import contextlib
import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from deploy.broker import running_broker

ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def own_folder() -> Iterator[Path]:
    """A folder that ends with the block."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        yield Path(folder)


@contextlib.contextmanager
def broker_in(folder: Path) -> Iterator[str]:
    """Addresses of the broker that CHURN_TEST_BOOTSTRAP_SERVERS names, or of one that runs as long as the block."""
    if given := os.environ.get("CHURN_TEST_BOOTSTRAP_SERVERS"):
        yield given
    else:
        with running_broker(folder / "kafka") as broker:
            yield broker.address


def environment(address: str, partitions: int, folder: Path) -> dict[str, str]:
    """What is not named here is the default."""
    name = f"bench{uuid.uuid4().hex[:12]}"
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith("CHURN_")},
        "CHURN_KAFKA__BOOTSTRAP_SERVERS": address,
        "CHURN_KAFKA__GROUP_ID": name,
        "CHURN_TOPICS__PREFIX": f"{name}.",
        "CHURN_TOPICS__PARTITIONS": str(partitions),
        "CHURN_TIME__CLOCK": "log",
        "CHURN_SNAPSHOTS__FOLDER": str(folder / "snapshots"),
        "CHURN_RULES__FOLDER": str(ROOT / "rules"),
        "CHURN_HTTP__PORT": "0",
    }
