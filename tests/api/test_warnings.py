"""The list of warnings: filters, pages, what is missing; and taking one over."""

from datetime import timedelta

import pytest
from httpx import AsyncClient

from service.ports import Acknowledge
from tests.api.conftest import Place
from tests.doubles.desk import FIRST_DAY, row

ACKNOWLEDGED = {"id": "e0001", "applied": True, "state": "acknowledged", "acknowledged_by": "m-07"}


async def test_a_warning_says_all_that_acting_on_it_needs(place: Place, client: AsyncClient) -> None:
    place.desk.show(row(1))
    [told] = (await client.get("/v1/warnings")).json()["warnings"]
    assert told == {
        "id": "e0001",
        "subscriber_id": "s-0001",
        "rule": "drop_voice",
        "rule_version": 3,
        "kind": "risk",
        "severity": "warning",
        "state": "raised",
        "outcome": None,
        "suppressed_by": None,
        "suppressed_why": {},
        "raised_on": "2025-03-31",
        "raised_at": "2025-03-31T16:01:00Z",
        "changed_at": "2025-03-31T16:01:00Z",
        "recovering_on": None,
        "snoozed_until": None,
        "resolved_on": None,
        "act_by": "2025-04-03",
        "measure": "voice",
        "window_days": 30,
        "numbers": {"voice_30d": 41, "voice_30d_baseline": 180.5, "voice_30d_drop": 0.773},
        "money_at_risk_minor": 118_800,
        "consent": {"call": True, "sms": False, "manager": None},
        "orders": [
            {"channel": "call", "ordered": True, "withheld": None},
            {"channel": "sms", "ordered": False, "withheld": "no_consent"},
        ],
        "why": {"en": "Calls fell by 77 % against the two months before.", "zh": "通话比前两个月下降 77%。"},
        "avoid": {"en": "Do not mention other networks.", "zh": "不要提及其他运营商。"},
        "offer": {"campaign": "3-1-0-3", "name": {"en": "Gift of minutes", "zh": "赠送分钟"}},
        "owner": "retention",
        "runbook": "Call and ask what changed.",
        "market": "campus",
        "area": "north",
        "manager": "m-07",
        "acknowledged_by": None,
        "acknowledged_at": None,
    }


async def test_a_warning_of_a_rule_that_is_gone_keeps_its_own_words(place: Place, client: AsyncClient) -> None:
    place.desk.show(row(1, rule="retired"))
    [told] = (await client.get("/v1/warnings")).json()["warnings"]
    assert told["why"]["en"].startswith("Calls fell")
    assert (told["offer"], told["owner"], told["avoid"]) == (None, None, {})


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["e0006", "e0004", "e0003", "e0002", "e0001"]),
        ("rule=silence", ["e0002"]),
        ("severity=critical", ["e0003"]),
        ("market=campus", ["e0003", "e0002", "e0001"]),
        ("area=south", ["e0004"]),
        ("manager=m-9%2F%25", ["e0004"]),
        ("state=resolved", ["e0005"]),
        ("state=snoozed", ["e0006"]),
        ("state=recovering", []),
        ("suppressed=true", ["e0007"]),
        ("suppressed=true&rule=silence", []),
        ("suppressed=true&state=resolved", []),
        ("since=2025-03-31T16:03:00Z", ["e0006", "e0004", "e0003"]),
        ("since=2025-04-01T00:03:00%2B08:00", ["e0006", "e0004", "e0003"]),
        ("since=0001-01-01T00:00:00Z&rule=drop_voice&market=campus", ["e0003", "e0001"]),
    ],
)
async def test_filters_narrow(place: Place, client: AsyncClient, query: str, found: list[str]) -> None:
    place.desk.show(row(1))
    place.desk.show(row(2, rule="silence"))
    place.desk.show(row(3, severity="critical"))
    place.desk.show(row(4, market="migrant", area="south", manager="m-9/%"))
    place.desk.show(row(5, state="resolved", outcome="recovered"))
    place.desk.show(row(6, state="snoozed", market="rural", snoozed_until=FIRST_DAY))
    place.desk.show(row(7, suppressed_by="cap"))
    answer = await client.get(f"/v1/warnings?{query}")
    assert [warning["id"] for warning in answer.json()["warnings"]] == found


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("severity=urgent", "severity"),
        ("since=2025-03-31", "since"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("state=pending", "state"),
        ("suppressed=perhaps", "suppressed"),
    ],
)
async def test_a_slip_in_a_filter_is_said_and_not_repeated(client: AsyncClient, query: str, named: str) -> None:
    answer = await client.get(f"/v1/warnings?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert f": {named}: " in answer.json()["detail"]
    assert query.split("=")[1] not in answer.json()["detail"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("rul=silence", "query: rul is unknown; did you mean rule?"),
        ("colour=red", "query: colour is unknown; known are rule, severity, market, area, manager, since"),
        ("rule=drop_voce", "rule: no rule has this name; did you mean drop_voice?"),
        ("rule=x", "rule: no rule has this name; /v1/rules lists them"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/warnings", "/v1/warnings/stream"])
async def test_a_name_that_is_not_known_is_answered_with_the_nearest(
    client: AsyncClient, path: str, query: str, said: str
) -> None:
    answer = await client.get(f"{path}?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert said in answer.json()["detail"]


async def test_what_a_former_rule_raised_can_be_asked_for(place: Place, client: AsyncClient) -> None:
    place.desk.show(row(1, rule="former"))
    page = (await client.get("/v1/warnings?rule=former&limit=1")).json()
    last = await client.get(f"/v1/warnings?rule=former&limit=1&cursor={page['next']}")
    assert (last.status_code, last.json()["warnings"]) == (200, [])
    answer = await client.get("/v1/warnings?rule=former")
    assert [warning["id"] for warning in answer.json()["warnings"]] == ["e0001"]


async def test_pages_hold_every_warning_once_whatever_is_raised_meanwhile(place: Place, client: AsyncClient) -> None:
    for number in range(7):
        place.desk.show(row(number))
    place.desk.show(row(3, episode_id="e0003b"))  # of the same instant
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        answer = (await client.get("/v1/warnings", params={"limit": 3} | ({"cursor": cursor} if cursor else {}))).json()
        seen += [warning["id"] for warning in answer["warnings"]]
        cursor = answer["next"]
        place.desk.show(row(100 + len(seen)))
    assert seen == ["e0006", "e0005", "e0004", "e0003b", "e0003", "e0002", "e0001", "e0000"]


@pytest.mark.parametrize("cursor", ["x", "é", "AAAA", "W10", "WzEsMl0", "bnVsbA", "[]", "a" * 5000])
async def test_a_foreign_cursor_is_refused(client: AsyncClient, cursor: str) -> None:
    answer = await client.get("/v1/warnings", params={"cursor": cursor})
    assert answer.status_code == 400
    assert "cursor" in answer.json()["detail"]


async def test_a_list_says_what_it_misses(place: Place, client: AsyncClient) -> None:
    for number in range(4):
        place.desk.show(row(number))
    place.desk.restoring = {1}
    answer = (await client.get("/v1/warnings")).json()
    assert (answer["complete"], answer["missing_partitions"], answer["as_of"]) == (False, [1], {"0": 1000})
    place.desk.restoring = set()
    answer = (await client.get("/v1/warnings")).json()
    assert (answer["complete"], len(answer["warnings"]), answer["as_of"]) == (True, 4, {"0": 1000, "1": 1001})


async def test_an_acknowledgement_is_applied(place: Place, client: AsyncClient) -> None:
    place.desk.show(row(1))
    answer = await client.post("/v1/warnings/e0001/acknowledge", json={"by": "m-07", "note": "calling"})
    assert (answer.status_code, answer.json()) == (200, ACKNOWLEDGED)
    [told] = (await client.get("/v1/warnings?state=acknowledged")).json()["warnings"]
    assert told["acknowledged_by"] == "m-07"
    assert told["acknowledged_at"] is not None


async def test_saying_it_twice_is_written_once(place: Place, client: AsyncClient) -> None:
    place.desk.show(row(1))
    for _ in range(2):
        assert (await client.post("/v1/warnings/e0001/acknowledge", json={"by": "m-07"})).status_code == 200
    assert place.desk.written == [("e0001", Acknowledge("m-07"))]


async def test_what_somebody_else_holds_is_a_conflict_that_names_them(place: Place, client: AsyncClient) -> None:
    place.desk.show(row(1))
    await client.post("/v1/warnings/e0001/acknowledge", json={"by": "m-07"})
    answer = await client.post("/v1/warnings/e0001/acknowledge", json={"by": "m-08"})
    assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json")
    assert answer.json()["acknowledged_by"] == "m-07"
    assert answer.json()["detail"] == "m-07 has taken the warning over already."
    assert place.desk.written == [("e0001", Acknowledge("m-07"))]


async def test_of_two_at_once_the_first_holds_it(place: Place, client: AsyncClient) -> None:
    place.desk.show(row(1))
    place.desk.rival = Acknowledge("m-08")
    answer = await client.post("/v1/warnings/e0001/acknowledge", json={"by": "m-07"})
    assert (answer.status_code, answer.json()["acknowledged_by"]) == (409, "m-08")


async def test_a_broker_that_goes_silent_is_not_waited_for(place: Place, client: AsyncClient) -> None:
    place.desk.show(row(1))
    place.desk.is_silent = True
    answer = await client.post("/v1/warnings/e0001/acknowledge", json={"by": "m-07"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert "whether it was written is not known" in answer.json()["detail"]


async def test_a_shard_that_lags_is_not_waited_for(place: Place, client: AsyncClient) -> None:
    place.desk.show(row(1))
    place.desk.lagging = {0, 1}
    answer = await client.post("/v1/warnings/e0001/acknowledge", json={"by": "m-07"})
    assert (answer.status_code, answer.json()) == (
        202,
        ACKNOWLEDGED | {"applied": False, "state": "raised", "acknowledged_by": None},
    )


@pytest.mark.parametrize("warning_id", ["nothing", "a%2Fb", "%F0%9F%99%82", "..%2F.."])
async def test_an_unknown_warning_cannot_be_taken_over(client: AsyncClient, warning_id: str) -> None:
    answer = await client.post(f"/v1/warnings/{warning_id}/acknowledge", json={"by": "m-07"})
    assert answer.status_code == 404
    assert answer.json()["detail"] == "No warning has this id."


async def test_a_resolved_warning_cannot_be_taken_over(place: Place, client: AsyncClient) -> None:
    place.desk.show(row(1))
    place.desk.resolve("e0001")
    answer = await client.post("/v1/warnings/e0001/acknowledge", json={"by": "m-07"})
    assert answer.status_code == 409
    assert place.desk.written == []


@pytest.mark.parametrize("said", [{}, {"by": ""}, {"by": "  "}, {"by": "x", "extra": 1}, {"by": "x" * 201}, []])
async def test_an_acknowledgement_names_somebody(place: Place, client: AsyncClient, said: object) -> None:
    place.desk.show(row(1))
    answer = await client.post("/v1/warnings/e0001/acknowledge", json=said)
    assert answer.status_code == 422
    assert place.desk.written == []


async def test_a_form_of_another_site_cannot_acknowledge(place: Place, client: AsyncClient) -> None:
    place.desk.show(row(1))
    headers = {"content-type": "text/plain"}
    answer = await client.post("/v1/warnings/e0001/acknowledge", content=b'{"by":"x"}', headers=headers)
    assert answer.status_code == 422
    assert place.desk.written == []


async def test_an_acknowledgement_waits_for_a_restoring_shard_to_be_back(place: Place, client: AsyncClient) -> None:
    place.desk.show(row(1))
    place.desk.restoring = {0, 1}
    answer = await client.post("/v1/warnings/e0001/acknowledge", json={"by": "m-07"})
    assert answer.status_code == 503
    assert "retry-after" in answer.headers


async def test_a_resolved_warning_tells_how_it_ended(place: Place, client: AsyncClient) -> None:
    place.desk.show(row(1))
    place.desk.resolve("e0001")
    [told] = (await client.get("/v1/warnings?state=resolved")).json()["warnings"]
    ended = row(1)["raised_on"] + timedelta(days=1)
    assert (told["outcome"], told["resolved_on"]) == ("recovered", ended.isoformat())


async def test_without_a_broker_nothing_is_written_and_that_is_said(place: Place, client: AsyncClient) -> None:
    place.desk.show(row(1))
    place.desk.broker = False
    answer = await client.post("/v1/warnings/e0001/acknowledge", json={"by": "m-07"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert "nothing was written" in answer.json()["detail"]
