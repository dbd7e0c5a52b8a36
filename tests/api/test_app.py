"""What holds for every address: problems, headers, OpenAPI, health, metrics, rules and lists."""

import asyncio
import logging
import threading
from dataclasses import replace
from datetime import date
from typing import Any

import polars as pl
import pytest
from httpx import ASGITransport, AsyncClient
from jsonschema import Draft202012Validator

from service.api.examples import RECORD, WARNING
from service.api.feed import Limits
from service.api.headers import HEADERS
from service.api.models import SubscriberRecord, SubscriberWarning
from service.core.rules import Rulebook
from service.ports import InForce, RefusedRulebook
from tests.api.conftest import Place, make_place
from tests.doubles.desk import InMemoryDesk, row
from tests.doubles.records import record


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/v1", 404),
        ("GET", "/page/..%2Fmodels.py", 404),
        ("GET", "/page/nothing.js", 404),
        ("DELETE", "/v1/warnings", 405),
        ("POST", "/v1/rules", 405),
        ("GET", "/v1/lists/nothing", 404),
        ("GET", "/v1/warnings?limit=many", 422),
    ],
)
async def test_every_error_is_a_problem_with_a_sentence(
    client: AsyncClient, method: str, path: str, status: int
) -> None:
    answer = await client.request(method, path)
    told = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, told["status"], told["type"]) == (status, status, "about:blank")
    assert told["detail"].endswith(".")
    assert told["title"]
    if status == 405:
        assert answer.headers["allow"]


async def test_a_fault_is_a_problem_and_its_words_stay_out_of_the_log(
    place: Place, client: AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    place.desk.records["secret-id"] = {"subscriber_id": "secret-id"}  # lacks every other key
    with caplog.at_level(logging.DEBUG):
        answer = await client.get("/v1/subscribers/secret-id")
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "secret-id" not in answer.text
    ours = [record for record in caplog.records if record.name.startswith("service")]
    assert [record.getMessage().split(" at ")[0] for record in ours] == ["request failed: KeyError"]
    assert not any("secret-id" in record.getMessage() or record.exc_info for record in ours)


@pytest.mark.parametrize("path", ["/", "/livez", "/v1/warnings", "/nothing", "/openapi.json", "/page/style.css"])
async def test_every_answer_is_guarded(client: AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS


async def test_the_page_loads_nothing_from_elsewhere(client: AsyncClient) -> None:
    page = (await client.get("/")).text
    assert "//" not in page.replace("<!doctype html>", "")
    for path in {part.split('"')[0] for part in page.split('="/page/')[1:]}:
        assert (await client.get(f"/page/{path}")).status_code == 200, path


async def test_openapi_names_every_key_and_shows_examples(client: AsyncClient) -> None:
    told = (await client.get("/openapi.json")).json()
    paths = set(told["paths"])
    assert {
        "/v1/subscribers/{subscriber_id}",
        "/v1/subscribers",
        "/v1/warnings",
        "/v1/warnings/stream",
        "/v1/warnings/{warning_id}/acknowledge",
        "/v1/warnings/{warning_id}/snooze",
        "/v1/warnings/{warning_id}/resolve",
        "/v1/mutes",
        "/v1/mutes/{mute_id}",
        "/v1/lists/{list_id}",
        "/v1/rules",
        "/v1/segments",
        "/livez",
        "/readyz",
        "/metrics",
    } == paths
    schemas = told["components"]["schemas"]
    assert set(schemas["SubscriberRecord"]["required"]) == set(schemas["SubscriberRecord"]["properties"])
    for name in ("SubscriberRecord", "SubscriberWarning", "Acknowledgement", "Snoozing", "Settlement", "Muting"):
        assert schemas[name]["example"], name
    assert "text/event-stream" in told["paths"]["/v1/warnings/stream"]["get"]["responses"]["200"]["content"]


def test_examples_are_what_their_models_allow() -> None:
    SubscriberRecord.model_validate(RECORD)
    SubscriberWarning.model_validate(WARNING)


async def test_answers_meet_their_published_schemas(place: Place, client: AsyncClient) -> None:
    place.desk.records["s-0001"] = record()
    place.desk.show(row(1))
    told = (await client.get("/openapi.json")).json()
    for path, name in [
        ("/v1/subscribers/s-0001", "SubscriberRecord"),
        ("/v1/warnings", "WarningList"),
        ("/v1/rules", "RuleList"),
        ("/v1/mutes", "MuteList"),
        ("/readyz", "Readiness"),
    ]:
        schema: dict[str, Any] = {"$ref": f"#/components/schemas/{name}", "components": told["components"]}
        Draft202012Validator(schema).validate((await client.get(path)).json())


async def test_rules_are_shown_as_written_with_their_open_warnings(place: Place, client: AsyncClient) -> None:
    place.desk.show(row(1))
    place.desk.show(row(2, severity="critical"))
    place.desk.show(row(3, rule="silence"))
    place.desk.show(row(4, state="resolved"))
    told = (await client.get("/v1/rules")).json()
    assert told["rulebook"] == "0123456789abcdef"
    rules = {rule["id"]: rule for rule in told["rules"]}
    assert rules["drop_voice"]["open"] == {"notice": 0, "warning": 1, "critical": 1}
    assert rules["silence"]["open"] == {"notice": 0, "warning": 1, "critical": 0}
    assert rules["drop_voice"]["expressions"]["when"] == "voice_30d_drop > 0.5"
    assert (rules["drop_voice"]["params"], rules["port_requested"]["kind"]) == ({"drop": 0.5}, "restricted")
    assert told["lists"] == [{"id": "never_bundled", "title": {"en": "Valuable, never bundled"}}]


async def test_rules_say_what_comes_next_and_what_cannot_be_used(place: Place, client: AsyncClient) -> None:
    told = (await client.get("/v1/rules")).json()
    assert (told["effective_on"], told["next"], told["refused"]) == (None, None, [])
    place.desk.judging = replace(
        place.desk.judging,
        effective_on=date(2025, 3, 1),
        following=("fedcba", date(2025, 4, 1)),
        refused=(RefusedRulebook("0bad", ("drops/a.yaml: unknown signal x",)),),
    )
    told = (await client.get("/v1/rules")).json()
    assert told["effective_on"] == "2025-03-01"
    assert told["next"] == {"hash": "fedcba", "effective_on": "2025-04-01"}
    assert told["refused"] == [{"hash": "0bad", "problems": ["drops/a.yaml: unknown signal x"]}]


async def test_warnings_are_shown_in_the_words_of_the_rulebook_that_is_in_force(
    place: Place, client: AsyncClient
) -> None:
    place.desk.show(row(1))
    before = (await client.get("/v1/warnings?rule=drop_voice")).json()["warnings"][0]
    rules = tuple(replace(rule, owner="others") for rule in place.desk.judging.rulebook.rules)
    place.desk.judging = InForce(replace(place.desk.judging.rulebook, rules=rules))
    after = (await client.get("/v1/warnings?rule=drop_voice")).json()["warnings"][0]
    assert before["owner"] != after["owner"] == "others"
    place.desk.rows, place.desk.judging = {}, InForce(Rulebook("none", ()))
    assert (await client.get("/v1/warnings?rule=drop_voice")).status_code == 422


async def test_a_list_names_its_subscribers(place: Place, client: AsyncClient) -> None:
    place.desk.rolls["never_bundled"] = pl.DataFrame({"subscriber_id": ["a", "b"], "monthly_value": [12_000, 11_000]})
    told = (await client.get("/v1/lists/never_bundled?limit=1")).json()
    assert told["subscribers"] == [{"subscriber_id": "a", "monthly_value": 12_000}]
    assert (told["title"], told["complete"]) == ({"en": "Valuable, never bundled"}, True)


async def test_readiness_gives_its_reason(place: Place, client: AsyncClient) -> None:
    assert (await client.get("/readyz")).json()["shards"] == {"0": "running", "1": "running"}
    place.desk.restoring = {1}
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["missing_partitions"]) == (503, [1])
    assert answer.json()["detail"] == "1 of 2 shards are being restored."
    place.desk.restoring, place.desk.broker = set(), False
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["detail"]) == (503, "The broker cannot be reached.")
    assert (await client.get("/livez")).status_code == 200, "to start it again would not help"


async def test_liveness_ends_with_progress(place: Place, client: AsyncClient) -> None:
    assert (await client.get("/livez")).json() == {"live": True}
    place.desk.live = False
    answer = await client.get("/livez")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")


async def test_lookups_that_wait_hold_no_question_about_health_up() -> None:
    desk = Stuck()
    place = make_place(Limits(), desk=desk)
    async with (
        AsyncClient(transport=ASGITransport(place.app), base_url="http://desk") as client,
        asyncio.TaskGroup() as waiting,
    ):
        desk.records["a"] = record("a")
        lookups = [waiting.create_task(client.get("/v1/subscribers/a")) for _ in range(60)]
        try:
            async with asyncio.timeout(10):
                answers = [await client.get(path) for path in ("/livez", "/readyz", "/metrics")]
        finally:
            desk.free.set()
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert {lookup.result().status_code for lookup in lookups} == {200}


class Stuck(InMemoryDesk):
    """Lookups wait until they are freed."""

    def __init__(self) -> None:
        super().__init__()
        self.stepping = set(range(self.partitions))
        self.free = threading.Event()

    def subscriber(self, subscriber_id: str, *, at_once: bool = False) -> dict[str, Any] | None:
        found = super().subscriber(subscriber_id, at_once=at_once)
        assert self.free.wait(30)
        return found


async def test_metrics_name_routes_and_never_paths(place: Place, client: AsyncClient) -> None:
    place.desk.records["secret-id"] = record("secret-id")
    await client.get("/v1/subscribers/secret-id")
    await client.get("/secret-id")
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    route = 'method="GET",route="/v1/subscribers/{subscriber_id}",status="200"'
    assert f"churn_http_requests_total{{{route}}} 1.0" in answer.text
    assert 'route="unmatched",status="404"' in answer.text
    assert "secret-id" not in answer.text
