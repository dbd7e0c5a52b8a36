"""One subscriber's life through Kafka and HTTP: every feed is in the record, and what is wrong is put aside."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest

from service.core.calendar import month_text
from service.core.events import FIELDS
from service.wire.feedback import feed_closed
from tests.core.test_record import TOLD, nulls
from tests.e2e.asking import Front, front_of
from tests.e2e.running import answer, committed, completed, environment, running_service
from tests.e2e.sending import Sent, send
from tests.wire.examples import home_of

WHO = "a/b ?%2F日本"
MSISDN = "+8613800000001"
HOME = home_of(WHO.encode())
FIRST = datetime(2013, 1, 1, 9, tzinfo=UTC)  # a hundred and twenty days before the feeds speak
SPOKEN = datetime(2013, 5, 1, 12, tzinfo=UTC)
CLOSED_WITHIN_S = 120.0
YEARS = 13  # that the core's own test of its record lies later; the shipped calendar knows both
LAST = date(2013, 5, 13)


@dataclass
class Town:
    """A running service, and a way to tell it events of the one who lives there."""

    front: Front
    bootstrap: str
    prefix: str
    told: int = 0
    seen: set[str] = field(default_factory=set)

    def tell(self, *values: dict[str, Any]) -> None:
        self.send("usage.events", *(Sent(HOME, WHO.encode(), orjson.dumps(value)) for value in values))
        self.told += len(values)
        self.seen |= {value["type"] for value in values}

    def send(self, topic: str, *records: Sent) -> None:
        completed(send(self.bootstrap, f"{self.prefix}.{topic}", records))

    def close(self, day: date) -> None:
        """End the feed, and wait until the day is closed."""
        closing = feed_closed(day, self.told, "", HOME)
        self.send("churn.feedback", Sent(HOME, None, closing.value))
        self.front.until(lambda: self.record()["as_of"]["closed_day"] == day.isoformat(), CLOSED_WITHIN_S)

    def contact(self, warning_id: str) -> None:
        """Report a call about a warning, and wait until the record tells it."""
        report = {"id": "contact", "type": "contact.reported", "subscriber_id": WHO, "warning_id": warning_id}
        report |= {"channel": "call", "outcome": "reached", "occurred_at": f"{LAST}T12:00:00Z"}
        self.send("churn.feedback", Sent(HOME, WHO.encode(), orjson.dumps(report)))
        self.front.until(lambda: "reached" in [said["outcome"] for said in self.record()["contacts"] or ()])

    def record(self) -> dict[str, Any]:
        said = self.front.ask(f"/v1/subscribers/{quote(WHO, safe='')}")
        return dict(said.json()) if said.status_code == 200 else {"as_of": {"closed_day": None, "cursor": None}}

    def found(self, topic: str) -> list[Any]:
        return completed(committed(self.bootstrap, [f"{self.prefix}.{topic}"]))[f"{self.prefix}.{topic}"]


def event(name: str, kind: str, at: datetime, /, **fields: Any) -> dict[str, Any]:
    return {"id": name, "type": kind, "subscriber_id": WHO, "occurred_at": at.isoformat(), **fields}


def habits() -> Iterator[dict[str, Any]]:
    """What the subscriber does every day, to the end."""
    for number in range((LAST - FIRST.date()).days):
        at = FIRST + timedelta(days=number)
        yield event(f"v{number}", "usage.voice", at, seconds=600)
        yield event(f"i{number}", "usage.voice", at, seconds=300, direction="in")
        yield event(f"s{number}", "usage.sms", at, count=2)
        yield event(f"d{number}", "usage.data", at, bytes=50_000_000)
        yield event(f"c{number}", "charge", at, amount_minor=300, kind="usage")
        if number % 10 == 0:
            yield event(f"r{number}", "recharge", at, amount_minor=3_000)


def feeds() -> Iterator[dict[str, Any]]:
    """Every type of event once; the port lies back so far that offers are allowed again."""
    for number, (day, kind, fields) in enumerate(TOLD):
        at = SPOKEN + timedelta(days=day - (40 if kind.startswith("np.") else 0))
        yield event(f"feed-{number}", kind, at, **{name: _plain(name, value) for name, value in fields.items()})


def _plain(name: str, value: Any) -> Any:
    if name == "bill_month":
        return month_text(value - 12 * YEARS)
    if name == "msisdn":
        return MSISDN
    return value.replace(year=value.year - YEARS).isoformat() if isinstance(value, date) else value


@pytest.fixture(scope="module")
def town(kafka_bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("town")
    name = f"live-{folder.name}-{folder.parent.name}"
    environ = environment(kafka_bootstrap, name, folder)
    answer(environ, "topics", "create")
    with running_service(environ, folder / "service.log") as service:
        found = Town(front_of(service), kafka_bootstrap, name)
        found.tell(*sorted([*habits(), *feeds()], key=lambda told: told["occurred_at"]))
        found.close(LAST)
        found.contact(found.record()["warnings"]["open"][0]["id"])
        yield found
    assert_names_nobody(folder / "service.log")


def assert_names_nobody(log: Path) -> None:
    """The id was asked for in paths and queries, and was in what went wrong."""
    said = log.read_text(encoding="utf-8")
    for form in (WHO, quote(WHO, safe=""), quote(WHO), "日本", "13800000001"):
        assert form not in said


def test_an_open_warning_is_taken_over_and_the_world_is_told(town: Town) -> None:
    warning = town.record()["warnings"]["open"][0]
    town.front.until(lambda: town.front.ask("/v1/warnings").json()["complete"])
    said = town.front.ask(f"/v1/warnings/{quote(warning['id'], safe='')}/acknowledge", "POST", json={"by": "Wang"})
    assert (said.status_code, said.json()) == (
        200,
        {"id": warning["id"], "applied": True, "state": "acknowledged", "acknowledged_by": "Wang"},
    )
    taken = next(one for one in town.record()["warnings"]["open"] if one["id"] == warning["id"])
    assert (taken["state"], taken["acknowledged_by"]) == ("acknowledged", "Wang")
    told = [record for record in town.found("churn.warnings") if record.key == WHO.encode()]
    ids = [dict(record.headers)["ce_id"].decode() for record in told]
    assert ids.count(f"{warning['id']}.raised") == 1
    assert sum(one.startswith(f"{warning['id']}.acknowledged.") for one in ids) == 1
    assert dict(told[-1].headers)["ce_type"] == b"churn.warning.acknowledged"
    assert len(ids) == len(set(ids))


def test_nothing_is_null_when_every_feed_has_spoken(town: Town) -> None:
    assert town.seen == set(FIELDS)
    record = town.record()
    assert record["subscriber_id"] == WHO
    assert [path for path in nulls(record) if not path.startswith((".warnings", ".withheld", ".mutes"))] == []
    assert record["warnings"]["open"]
    assert record["warnings"]["past"]
    assert len(record["daily"]) == 90


def test_the_record_is_found_by_id_in_path_and_query_and_by_phone_number(town: Town) -> None:
    record = town.record()
    for query in ({"id": WHO}, {"msisdn": MSISDN}):
        assert town.front.ask("/v1/subscribers", params=query).json() == record
    assert town.front.ask(f"/v1/subscribers?msisdn={MSISDN}").json() == record, "a plus sign that nobody encoded"
    assert town.front.ask("/v1/subscribers/nobody").status_code == 404


def test_a_late_record_corrects_closed_days_and_one_much_too_late_does_not(town: Town) -> None:
    before, at = town.record(), SPOKEN.replace(day=LAST.day - 3)
    town.tell(event("late", "usage.data", at, bytes=1_234_567), event("lost", "usage.data", FIRST, bytes=7))
    town.front.until(lambda: town.record()["as_of"]["cursor"] == town.told)
    after = town.record()
    for days in ("7", "14", "30", "60", "90"):
        corrected = after["windows"]["data"][days]["sum"] - before["windows"]["data"][days]["sum"]
        assert corrected == 1_234_567, days
    assert after["windows"]["data"]["1"] == before["windows"]["data"]["1"]
    changed = [(old, new) for old, new in zip(before["daily"], after["daily"], strict=True) if old != new]
    assert [(new["date"], new["data_bytes"] - old["data_bytes"]) for old, new in changed] == [
        (at.date().isoformat(), 1_234_567)
    ]
    (late,) = town.found("usage.late")
    assert orjson.loads(late.value)["id"] == "lost"
    assert dict(late.headers)["churn.late.reason"]


def test_what_is_not_where_or_whose_it_says_goes_to_the_dead_letters(town: Town) -> None:
    key, value = WHO.encode(), orjson.dumps(event("stray", "usage.data", SPOKEN, bytes=1))
    wrong = [Sent((HOME + 1) % 4, key, value), Sent(HOME, None, value), Sent(HOME, b"somebody", value)]
    town.send("usage.events", *wrong)
    town.front.until(lambda: town.front.total("churn_records_rejected_total") == len(wrong))
    letters = town.found("usage.dead-letters")
    assert {
        (one.partition, one.key, one.value, dict(one.headers)["__connect.errors.exception.class.name"])
        for one in letters
    } == {
        (record.partition, record.key, record.value, fault)
        for record, fault in zip(wrong, (b"WrongPartition", b"MissingKey", b"KeyMismatch"), strict=True)
    }
    assert len(letters) == len(wrong)
