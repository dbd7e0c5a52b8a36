"""What every test may ask for: a real Kafka, names of its own, tools of the machine, the real usage data."""

import os
import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from deploy.broker import Broker, running_broker

_MISSING = "missing: "

# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("shared", deadline=None)
hypothesis.settings.load_profile("shared")


@pytest.fixture(scope="session")
def kafka_bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap servers of the one real broker of this test process: shared, so make names of your own (`unique`)."""
    given = os.environ.get("CHURN_TEST_BOOTSTRAP_SERVERS")
    if given:
        yield given
        return
    with running_broker(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker.address


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker that the test may freeze, kill and start again; 4 s, so only for faults."""
    with running_broker(tmp_path / "kafka") as broker:
        yield broker


@pytest.fixture
def unique() -> str:
    """A prefix for topics, groups and transactional ids that no other test has."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def require_tool() -> Callable[[str, str], str]:
    """`require_tool(name, debian_package)`: path of a program; without it the test is skipped, listed, or fails."""

    def require(name: str, debian_package: str) -> str:
        found = shutil.which(name)
        if found is None:
            lacking(f"{name}: apt-get install {debian_package}")
        assert found is not None
        return found

    return require


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real usage files, named by CHURN_TEST_DATA."""
    named = os.environ.get("CHURN_TEST_DATA")
    if not named:
        lacking("real usage data: set CHURN_TEST_DATA to its folder")
    folder = Path(named or "")
    if not folder.is_dir():
        lacking(f"real usage data: CHURN_TEST_DATA names {folder}, which is no folder")
    return folder


def lacking(what: str) -> None:
    """End the running test: a failure where all is required, else a skip that the summary lists by name."""
    if os.environ.get("CHURN_TEST_REQUIRE_ALL") == "1":
        pytest.fail(f"missing, and CHURN_TEST_REQUIRE_ALL is set: {what}", pytrace=False)
    pytest.skip(f"{_MISSING}{what}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List what was missing and how many tests that left out, so that nothing is skipped in silence."""
    skipped = [report.longrepr[2] for report in terminalreporter.getreports("skipped")]
    missing = Counter(reason.partition(_MISSING)[2] for reason in skipped if _MISSING in reason)
    if not missing:
        return
    terminalreporter.section("not checked, for want of")
    for what, count in sorted(missing.items()):
        terminalreporter.write_line(f"{what} ({count} {'test' if count == 1 else 'tests'})")
