"""Tables of segments: counts and shares over all shards, and which of them are missing."""

from typing import Any

import polars as pl
from httpx import AsyncClient
from jsonschema import Draft202012Validator

from service.core.crosstabs import CELLS
from tests.api.conftest import Place


def cells(*lines: tuple[str, str, int, int]) -> pl.DataFrame:
    return pl.DataFrame(list(lines), schema=CELLS, orient="row")


HERE = cells(("segments", "", 1, 6), ("market", "campus", 1, 6), ("codes", "304204", 42, 1), ("segments", "", 0, 5))
THERE = cells(("segments", "", 42, 4), ("market", "campus", 42, 1), ("market", "", 42, 3), ("bundles", "any", 42, 1))


async def test_tables_are_of_all_shards(place: Place, client: AsyncClient) -> None:
    place.desk.cells = {0: HERE, 1: THERE}
    told = (await client.get("/v1/segments")).json()
    assert (told["subscribers"], told["not_eligible"], told["against"], told["codes"]) == (15, 5, "own", None)
    assert told["segments"]["42"] == {"name": "warned in voice", "subscribers": 4, "share_pct": 40.0}
    campus, unknown = told["dimensions"]["market"]
    assert (campus["label"], campus["code"], unknown["label"]) == ("campus", 601, None)
    assert campus["segments"]["42"] == {"subscribers": 1, "of_segment_pct": 25.0, "of_tier_pct": 14.2857}
    assert campus["segments"]["total"] == {"subscribers": 7, "of_segment_pct": 70.0, "of_tier_pct": 100.0}
    assert told["bundles"]["any"]["42"]["of_segment_pct"] == 25.0
    assert (told["complete"], told["missing_partitions"]) == (True, [])
    assert (told["as_of"], told["closed_days"]) == ({"0": 1000, "1": 1001}, {"0": "2025-03-31", "1": "2025-03-31"})


async def test_codes_are_counted_where_asked_for(place: Place, client: AsyncClient) -> None:
    place.desk.cells = {0: HERE}
    assert (await client.get("/v1/segments?codes=true")).json()["codes"] == {"304204": 1}


async def test_what_a_missing_shard_would_count_is_said_to_be_missing(place: Place, client: AsyncClient) -> None:
    place.desk.cells = {0: HERE, 1: THERE}
    place.desk.restoring = {1}
    told = (await client.get("/v1/segments")).json()
    assert (told["complete"], told["missing_partitions"], told["as_of"]) == (False, [1], {"0": 1000})
    assert (told["subscribers"], told["segments"]["42"]["subscribers"]) == (11, 0)


async def test_an_answer_meets_its_published_schema(place: Place, client: AsyncClient) -> None:
    place.desk.cells = {0: HERE, 1: THERE}
    told = (await client.get("/openapi.json")).json()
    schema: dict[str, Any] = {"$ref": "#/components/schemas/SegmentTables", "components": told["components"]}
    for path in ("/v1/segments", "/v1/segments?codes=true"):
        Draft202012Validator(schema).validate((await client.get(path)).json())
