"""The real files, through a real broker and the service, give to the last warning what plain polars makes of them."""

import asyncio
import json
import tempfile
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from service.wire.partitioning import partitions_of
from tests.e2e.running import PARTITIONS, answer, committed, defaults, environment, running_service, wait_for_day
from tests.oracle.backtest import groups, score
from tests.oracle.episodes import Warned, warnings_of
from tests.oracle.rules import SILENT_RULES
from tests.oracle.usage import Told, labels, postpaid_daily, prepaid_monthly
from tests.oracle.windows import sums_as_of

FILES = {"prepaid_monthly": "prepaid_monthly_dev.parquet", "postpaid_daily": "postpaid_daily.parquet"}
AS_OF = date(2013, 8, 31)
CHANNELS, SEVERITIES = ("call", "sms", "manager"), ("notice", "warning", "critical")
OUT = ("churn.warnings", "outbound.call", "outbound.sms", "outbound.manager", "usage.late", "usage.dead-letters")

Case = tuple[str, str, str]  # subscriber, rule, day raised


@dataclass(frozen=True)
class Replayed:
    """One file's way through the service, and what the second computation makes of it."""

    mapping: str
    told: Told
    expected: list[Warned]
    topics: dict[str, list[dict[str, Any]]]

    def raised(self) -> dict[Case, dict[str, Any]]:
        """Warnings as they were published; each was once."""
        told = [w for w in self.topics["churn.warnings"] if w["transition"] == "raised"]
        found = {case_of(w): w for w in told}
        assert len(found) == len(told)
        return found

    def published(self) -> dict[Case, Warned]:
        """Those that the second computation publishes."""
        return {case(w): w for w in self.expected if w.published_on is not None}


def read(mapping: str, file: Path) -> Told:
    return prepaid_monthly(file) if mapping == "prepaid_monthly" else postpaid_daily(file)


def shards_of(told: Told) -> dict[str, int]:
    """The partition on which each subscriber is compared with others."""
    people = told.people["subscriber"].to_list()
    partitions = partitions_of([who.encode() for who in people], PARTITIONS, "murmur2")
    return dict(zip(people, partitions.tolist(), strict=True))


def case_of(warning: Mapping[str, Any]) -> Case:
    return warning["subscriber_id"], warning["rule"], warning["raised_on"]


def case(warned: Warned) -> Case:
    return warned.subscriber, warned.rule, warned.raised_on.isoformat()


def assert_same(found: Mapping[Any, object], expected: Mapping[Any, object]) -> None:
    """Equal, or a few of each kind of difference."""
    missing = sorted(expected.keys() - found.keys())
    added = sorted(found.keys() - expected.keys())
    differing = [
        (key, found[key], expected[key])
        for key in sorted(found.keys() & expected.keys())
        if found[key] != expected[key]
    ]
    told = (
        f"{len(missing)} missing {missing[:5]}, {len(added)} added {added[:5]}, "
        f"{len(differing)} differing (found, expected) {differing[:5]}"
    )
    assert [*missing, *added, *differing] == [], told


def rounded(scored: Mapping[str, float | None]) -> dict[str, float | None]:
    """The last digits of a quotient depend on the order of division."""
    return {name: None if value is None else round(value, 12) for name, value in scored.items()}


@pytest.fixture(scope="module", params=FILES)
def replayed(request: pytest.FixtureRequest, kafka_bootstrap: str, real_data: Path) -> Replayed:
    mapping: str = request.param
    file = real_data / FILES[mapping]
    told = read(mapping, file)
    name = f"replay-{uuid.uuid4().hex[:12]}"
    with tempfile.TemporaryDirectory() as folder:
        # The monthly file is thin at the ends of months, where nobody is active on the days after the last one known.
        environ = {**environment(kafka_bootstrap, name, Path(folder)), "CHURN_RULES__FEED_GATE": "false"}
        log = Path(folder) / "service.log"
        answer(environ, "topics", "create")
        with running_service(environ, log) as service:
            answer(environ, "replay", str(file), "--mapping", mapping)
            with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
                runner.run(wait_for_day(service, kafka_bootstrap, f"{name}.churn.decisions", told.last))
                records = runner.run(committed(kafka_bootstrap, [f"{name}.{topic}" for topic in OUT]))
    found = {topic: [json.loads(record.value) for record in records[f"{name}.{topic}"]] for topic in OUT}
    return Replayed(mapping, told, warnings_of(told, shards_of(told)), found)


def test_every_record_of_the_file_counted(replayed: Replayed) -> None:
    assert replayed.topics["usage.late"] == []
    assert replayed.topics["usage.dead-letters"] == []


def test_every_warning_published_is_the_expected_one(replayed: Replayed) -> None:
    fields = ("severity", "numbers", "money_at_risk_minor", "act_by")
    found = {key: tuple(w[field] for field in fields) for key, w in replayed.raised().items()}
    expected = {
        key: (said.severity, said.numbers, said.money_at_risk_minor, said.act_by.isoformat())
        for key, said in ((key, w.published) for key, w in replayed.published().items())
    }
    assert len(expected) > 400
    assert any(w.published_on is None for w in replayed.expected)
    assert_same(found, expected)


def test_every_warning_is_resolved_when_expected_and_no_other(replayed: Replayed) -> None:
    told = [w for w in replayed.topics["churn.warnings"] if w["transition"] == "resolved"]
    found = {(*case_of(w), w["resolved_on"]): w["outcome"] for w in told}
    assert len(found) == len(told)
    expected = {
        (*key, on.isoformat()): outcome
        for key, w in replayed.published().items()
        for on, outcome in w.ends
        if w.published_on is not None and on > w.published_on
    }
    assert len(expected) > 200
    assert_same(found, expected)


def test_calls_are_ordered_once_in_two_weeks_of_whom_is_urgent_and_consents(replayed: Replayed) -> None:
    found = {key: w["orders"] for key, w in replayed.raised().items()}
    expected = {key: w.published.call for key, w in replayed.published().items()}
    assert_same(found, {key: {} if call is None else {"call": call} for key, call in expected.items()})
    says = {None, "ordered", "contacted"} if replayed.told.consents else {None, "no_consent"}
    assert set(expected.values()) == says
    ordered = Counter(case_of(order) for order in replayed.topics["outbound.call"])
    assert ordered == Counter({case(w): len(w.calls) for w in replayed.expected if w.calls})
    assert replayed.topics["outbound.sms"] == replayed.topics["outbound.manager"] == []


def test_each_rule_shipped_has_fired_or_is_listed_with_the_reason_why_it_cannot(replayed: Replayed) -> None:
    shipped = answer(defaults(), "rules", "check")["rules"]
    silent = SILENT_RULES[replayed.mapping]
    fired = {rule for _, rule, _ in replayed.raised()}
    assert fired | silent.keys() == set(shipped)
    assert not fired & silent.keys()


def test_a_backtest_scores_the_warnings_open_on_the_day(real_data: Path) -> None:
    file = real_data / FILES["prepaid_monthly"]
    arguments = ("--mapping", "prepaid_monthly", "--labels", "churn_sept", "--as-of", AS_OF.isoformat())
    found = answer(defaults(), "rules", "backtest", str(file), *arguments)
    left = labels(file, "churn_sept")
    shipped = answer(defaults(), "rules", "check")["rules"]
    open_then = groups(warnings_of(prepaid_monthly(file)), AS_OF)
    names = {"any", *shipped, *(f"outbound.{channel}" for channel in CHANNELS), *SEVERITIES}
    assert found.keys() == names | {"order", "still_active"}
    assert names > open_then.keys()
    for name in names:
        expected = rounded(asdict(score(open_then.get(name, set()), left)))
        assert rounded({figure: found[name][figure] for figure in expected}) == expected, name


@pytest.mark.parametrize(
    ("mapping", "ago_days"), [("prepaid_monthly", 0), ("prepaid_monthly", 40), ("postpaid_daily", 17)]
)
def test_windows_are_those_of_a_plain_group_by(real_data: Path, tmp_path: Path, mapping: str, ago_days: int) -> None:
    file, out = real_data / FILES[mapping], tmp_path / "windows.parquet"
    told = read(mapping, file)
    day = told.last - timedelta(days=ago_days)
    answer(defaults(), "windows", str(file), "--mapping", mapping, "--as-of", day.isoformat(), "--out", str(out))
    expected = sums_as_of(told, day)
    found = pl.read_parquet(out).rename({"subscriber_id": "subscriber"})
    assert found.select(expected.columns).sort("subscriber").equals(expected)
