"""Lookups: ids of any shape, phone numbers, and a record with exactly the keys of the contract."""

from urllib.parse import quote

import pytest
from httpx import AsyncClient

from service.api.models import SubscriberRecord
from tests.api.conftest import Place
from tests.doubles.records import record

HOSTILE = [
    "plain",
    "a/b/c",
    "/leading",
    "trailing/",
    "//",
    "..",
    "../../etc/passwd",
    "a%2Fb",
    "100%",
    "with space",
    "plus+sign",
    "?query=1&x#fragment",
    "Ünïcode-订户-🙂",
    "line\nbreak",
    "line\n",
    "\t\x00\x7f",
    "<script>alert(1)</script>",
    "' OR 1=1 --",
    "acknowledge",
    "x" * 2000,
]


@pytest.mark.parametrize("subscriber_id", HOSTILE, ids=lambda said: ascii(said)[:24])
async def test_any_id_is_found_by_path(place: Place, client: AsyncClient, subscriber_id: str) -> None:
    place.desk.records[subscriber_id] = record(subscriber_id)
    # Clients fold dot segments of a path, escaped or not: such an id travels in a query.
    folded = any(part in {".", ".."} for part in subscriber_id.split("/"))
    by_path = f"/v1/subscribers/{quote(subscriber_id, safe='')}"
    answers = [await client.get("/v1/subscribers", params={"id": subscriber_id})]
    answers += [] if folded else [await client.get(by_path)]
    for answer in answers:
        assert answer.status_code == 200
        assert answer.json()["subscriber_id"] == subscriber_id


async def test_the_record_has_exactly_the_keys_of_the_contract_and_none_is_null(
    place: Place, client: AsyncClient
) -> None:
    place.desk.records["s-0001"] = record()
    told = (await client.get("/v1/subscribers/s-0001")).json()
    keys = {field.alias or name for name, field in SubscriberRecord.model_fields.items()}
    assert set(told) == keys
    assert [name for name, value in told.items() if value is None] == []
    assert told["as_of"]["watermark"] == "2025-03-31T16:00:00Z"
    assert told["holidays"] == [{"name": "Spring Festival", "from": "2025-01-28", "to": "2025-02-04"}]
    assert told["warnings"]["open"][0]["orders"][1] == {"channel": "sms", "ordered": False, "withheld": "no_consent"}
    assert len(told["daily"]) == 90


async def test_what_is_unfed_is_null(place: Place, client: AsyncClient) -> None:
    unfed = dict.fromkeys(["msisdn", "status", "plan", "bills", "segment", "device", "group", "windows"])
    place.desk.records["s-2"] = record("s-2", **unfed)
    told = (await client.get("/v1/subscribers/s-2")).json()
    assert {name: told[name] for name in unfed} == unfed


async def test_a_phone_number_leads_to_its_holder(place: Place, client: AsyncClient) -> None:
    place.desk.records["s-0001"] = record()
    for query in ("msisdn=%2B8613800000001", "msisdn=+8613800000001"):
        answer = await client.get(f"/v1/subscribers?{query}")
        assert answer.json()["subscriber_id"] == "s-0001", query
    nobody = await client.get("/v1/subscribers?msisdn=404")
    assert nobody.status_code == 404
    assert "404" not in nobody.json()["detail"], "a phone number is not repeated"


@pytest.mark.parametrize("query", ["", "?msisdn=1&id=2"])
async def test_a_lookup_names_one_thing(client: AsyncClient, query: str) -> None:
    answer = await client.get(f"/v1/subscribers{query}")
    assert answer.status_code == 422
    assert answer.json()["detail"] == "Give exactly one of msisdn and id."


async def test_an_unknown_subscriber_is_not_found(client: AsyncClient) -> None:
    answer = await client.get("/v1/subscribers/nobody")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


async def test_a_restoring_shard_says_when_to_ask_again(place: Place, client: AsyncClient) -> None:
    place.desk.restoring = {0, 1}
    answer = await client.get("/v1/subscribers/s-0001")
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert answer.json()["missing_partitions"] == [place.desk.partition("s-0001")]
