"""Mutes: set in every shard, listed with who lacks them, ended; what they match is checked."""

from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient

from tests.api.conftest import Place
from tests.doubles.desk import FIRST_DAY

LATER = (FIRST_DAY + timedelta(days=5)).isoformat()
MATCHERS = {"rule": "silence", "market": "campus"}
MUTE: dict[str, Any] = {"matchers": MATCHERS, "until": LATER, "by": "m-07", "note": "moved"}


async def test_a_mute_is_set_listed_and_ended(client: AsyncClient) -> None:
    answer = await client.post("/v1/mutes", json=MUTE)
    told = answer.json()
    assert (answer.status_code, told["applied"]) == (200, True)
    listed = (await client.get("/v1/mutes")).json()
    since = (FIRST_DAY + timedelta(days=1)).isoformat()
    assert listed == {
        "mutes": [{"id": told["id"], **MUTE, "since": since, "lacking_partitions": []}],
        "complete": True,
        "missing_partitions": [],
    }
    answer = await client.delete(f"/v1/mutes/{told['id']}?by=m-08")
    assert (answer.status_code, answer.json()) == (200, told)
    assert (await client.get("/v1/mutes")).json()["mutes"] == []
    assert (await client.delete(f"/v1/mutes/{told['id']}?by=m-08")).status_code == 404


async def test_the_same_again_is_the_same_and_anything_else_another(client: AsyncClient) -> None:
    changed = ({"until": "2025-04-09"}, {"by": "m-08"}, {"note": "other"}, {"matchers": {"rule": "silence"}})
    turned = {"matchers": dict(reversed(MATCHERS.items()))}
    ids = [(await client.post("/v1/mutes", json=MUTE | one)).json()["id"] for one in ({}, turned, *changed)]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 5
    assert len((await client.get("/v1/mutes")).json()["mutes"]) == 5


async def test_shards_that_lag_and_shards_that_are_away_are_said(place: Place, client: AsyncClient) -> None:
    place.desk.lagging = {1}
    answer = await client.post("/v1/mutes", json=MUTE)
    assert (answer.status_code, answer.json()["applied"]) == (202, False)
    [mute] = (await client.get("/v1/mutes")).json()["mutes"]
    assert mute["lacking_partitions"] == [1]
    place.desk.restoring = {0}
    listed = (await client.get("/v1/mutes")).json()
    assert listed == {"mutes": [], "complete": False, "missing_partitions": [0]}
    answer = await client.delete(f"/v1/mutes/{mute['id']}?by=m-07")
    assert (answer.status_code, answer.json()["missing_partitions"]) == (503, [0]), "it may be there"
    place.desk.restoring = set()
    assert (await client.delete(f"/v1/mutes/{mute['id']}?by=m-07")).status_code == 202


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"matchers": {"rule": "silense"}}, "rule: no rule has this name; did you mean silence?"),
        ({"matchers": {"marke": "campus"}}, "matchers: marke is unknown; did you mean market?"),
        ({"matchers": {"severity": "urgent"}}, "matchers.severity"),
        ({"matchers": {"market": ""}}, "matchers.market"),
        ({"matchers": {}}, "name at least one of subscriber_id, rule, kind, severity, market, area, manager"),
        ({"matchers": []}, "matchers"),
        ({"until": "2025-03-31"}, "until: must be after 2025-03-31, the last closed day"),
        ({"note": " "}, "note"),
        ({"by": ""}, "by"),
        ({"unti": LATER}, "unti is unknown; did you mean until?"),
    ],
)
async def test_what_cannot_be_meant_is_refused(
    place: Place, client: AsyncClient, said: dict[str, Any], named: str
) -> None:
    answer = await client.post("/v1/mutes", json=MUTE | said)
    assert answer.status_code == 422
    assert named in answer.json()["detail"]
    assert place.desk.muted == {}
    assert (await client.delete("/v1/mutes/x")).status_code == 422


async def test_without_a_broker_that_is_said(place: Place, client: AsyncClient) -> None:
    place.desk.is_silent = True
    answer = await client.post("/v1/mutes", json=MUTE)
    assert "whether it was written is not known" in answer.json()["detail"]
    place.desk.broker = False
    answer = await client.post("/v1/mutes", json=MUTE)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert "nothing was written" in answer.json()["detail"]
