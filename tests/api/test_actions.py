"""Putting a warning off and saying how it ended: applied, written, or refused with the reason."""

from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient

from service.core.calendar import to_day
from service.core.turn import Mute
from service.ports import Acknowledge, Resolve, Snooze
from tests.api.conftest import Place
from tests.doubles.desk import FIRST_DAY, row

LATER = FIRST_DAY + timedelta(days=5)
SNOOZE = {"by": "m-07", "until": LATER.isoformat(), "note": "abroad"}
RESOLVE = {"by": "m-07", "outcome": "retained"}
ACTS = [("snooze", SNOOZE), ("resolve", RESOLVE)]
UNTOUCHED = {"acknowledged_by": None, "snoozed_until": None, "outcome": None}


async def test_a_warning_is_put_off(place: Place, client: AsyncClient) -> None:
    place.desk.show(row(1))
    told = {"id": "e0001", "applied": True, "state": "snoozed", **UNTOUCHED, "snoozed_until": "2025-04-05"}
    for _ in range(2):  # to say it twice writes it once
        answer = await client.post("/v1/warnings/e0001/snooze", json=SNOOZE)
        assert (answer.status_code, answer.json()) == (200, told)
    assert place.desk.written == [("e0001", Snooze("m-07", LATER, "abroad"))]
    [listed] = (await client.get("/v1/warnings?state=snoozed")).json()["warnings"]
    assert listed["snoozed_until"] == "2025-04-05"
    later = SNOOZE | {"until": "2025-04-09"}
    assert (await client.post("/v1/warnings/e0001/snooze", json=later)).json()["snoozed_until"] == "2025-04-09"


async def test_what_is_put_off_can_be_taken_over(place: Place, client: AsyncClient) -> None:
    place.desk.show(row(1, state="snoozed", snoozed_until=LATER))
    answer = await client.post("/v1/warnings/e0001/acknowledge", json={"by": "m-08"})
    assert (answer.status_code, answer.json()["state"]) == (200, "acknowledged")


async def test_who_takes_a_recovering_one_over_has_it_and_it_goes_on_recovering(
    place: Place, client: AsyncClient
) -> None:
    place.desk.show(row(1, state="recovering", recovering_on=FIRST_DAY))
    answer = await client.post("/v1/warnings/e0001/acknowledge", json={"by": "m-08"})
    assert (answer.json()["state"], answer.json()["acknowledged_by"]) == ("recovering", "m-08")
    assert (await client.post("/v1/warnings/e0001/acknowledge", json={"by": "m-09"})).status_code == 409


async def test_a_warning_is_settled(place: Place, client: AsyncClient) -> None:
    place.desk.show(row(1, state="acknowledged", acknowledged_by="m-08"))
    told = {"id": "e0001", "applied": True, "state": "resolved", **UNTOUCHED}
    for _ in range(2):
        answer = await client.post("/v1/warnings/e0001/resolve", json=RESOLVE)
        assert (answer.status_code, answer.json()) == (200, told | {"acknowledged_by": "m-08", "outcome": "retained"})
    assert place.desk.written == [("e0001", Resolve("m-07", "retained"))]
    answer = await client.post("/v1/warnings/e0001/resolve", json=RESOLVE | {"outcome": "false_positive"})
    assert (answer.status_code, answer.json()["detail"]) == (409, "The warning is resolved already (retained).")


@pytest.mark.parametrize(("act", "said"), ACTS)
async def test_what_ended_meanwhile_is_a_conflict(
    place: Place, client: AsyncClient, act: str, said: dict[str, Any]
) -> None:
    place.desk.show(row(1))
    place.desk.rival = Resolve("m-08", "false_positive")
    answer = await client.post(f"/v1/warnings/e0001/{act}", json=said)
    assert (answer.status_code, answer.json()["detail"]) == (409, "The warning is resolved already (false positive).")
    place.desk.show(row(2, state="resolved", outcome="recovered"))
    answer = await client.post(f"/v1/warnings/e0002/{act}", json=said)
    assert (answer.status_code, answer.json()["detail"]) == (409, "The warning is resolved already (recovered).")
    assert len(place.desk.written) == 1


async def test_what_recovers_cannot_be_put_off(place: Place, client: AsyncClient) -> None:
    place.desk.show(row(1, state="recovering"))
    answer = await client.post("/v1/warnings/e0001/snooze", json=SNOOZE)
    assert (answer.status_code, place.desk.written) == (409, [])
    assert "recovering" in answer.json()["detail"]


@pytest.mark.parametrize(("act", "said"), ACTS)
async def test_a_shard_that_lags_is_not_waited_for(
    place: Place, client: AsyncClient, act: str, said: dict[str, Any]
) -> None:
    place.desk.show(row(1))
    place.desk.lagging = {0, 1}
    answer = await client.post(f"/v1/warnings/e0001/{act}", json=said)
    assert (answer.status_code, answer.json()["applied"], answer.json()["state"]) == (202, False, "raised")


@pytest.mark.parametrize(("act", "said"), ACTS)
async def test_what_is_not_known_or_not_there_is_said(
    place: Place, client: AsyncClient, act: str, said: dict[str, Any]
) -> None:
    assert (await client.post(f"/v1/warnings/nothing/{act}", json=said)).status_code == 404
    place.desk.show(row(1))
    place.desk.is_silent = True
    answer = await client.post(f"/v1/warnings/e0001/{act}", json=said)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    place.desk.broker = False
    answer = await client.post(f"/v1/warnings/e0001/{act}", json=said)
    assert "nothing was written" in answer.json()["detail"]
    place.desk.restoring = {0, 1}
    assert (await client.post(f"/v1/warnings/e0001/{act}", json=said)).status_code == 503


@pytest.mark.parametrize(
    ("act", "said", "named"),
    [
        ("snooze", {"by": "m-07"}, "until"),
        ("snooze", SNOOZE | {"until": "tomorrow"}, "until"),
        ("snooze", SNOOZE | {"until": "2025-03-31"}, "until: must be after 2025-03-31, the last closed day"),
        ("snooze", SNOOZE | {"untill": "2025-04-05"}, "untill is unknown; did you mean until?"),
        ("resolve", RESOLVE | {"outcome": "churned"}, "outcome"),
        ("resolve", RESOLVE | {"by": " "}, "by"),
    ],
)
async def test_what_cannot_be_meant_is_refused(
    place: Place, client: AsyncClient, act: str, said: dict[str, Any], named: str
) -> None:
    place.desk.show(row(1))
    answer = await client.post(f"/v1/warnings/e0001/{act}", json=said)
    assert answer.status_code == 422
    assert named in answer.json()["detail"]
    assert place.desk.written == []


@pytest.mark.parametrize(
    ("suppressed_by", "why"),
    [
        ("experimental", "Its rule is on trial: judged and counted, never published."),
        ("standing", "It was so before its rule began to judge; somebody may release it."),
        ("rule:drop_voice", "The subscriber has an open warning of rule drop_voice."),
        ("holiday:Spring Festival", "The calendar mutes its rule: Spring Festival."),
        ("mute:m1", "m-07 has muted it until 2025-04-05: {0} a fault"),
        ("mute:gone", "It is muted (mute gone)."),
        ("breaker", "That day would have published too much; somebody may release it."),
        ("cap", "Its rule has published as many as it may on one day."),
        ("other:{1}", "{1}"),
    ],
)
async def test_what_withholds_a_warning_is_said_in_words(
    place: Place, client: AsyncClient, suppressed_by: str, why: str
) -> None:
    place.desk.muted[0] = {"m1": Mute("m1", {"rule": "silence"}, 0, to_day(LATER), "m-07", "{0} a fault")}
    place.desk.show(row(1, suppressed_by=suppressed_by, acknowledged_by=None))
    assert (await client.get("/v1/warnings")).json()["warnings"] == []
    [told] = (await client.get("/v1/warnings?suppressed=true")).json()["warnings"]
    assert (told["suppressed_by"], told["suppressed_why"]["en"]) == (suppressed_by, why)
    assert told["suppressed_why"]["zh"]
    assert await client.post("/v1/warnings/e0001/acknowledge", json={"by": "m-07"})
    assert place.desk.written == [("e0001", Acknowledge("m-07"))]
