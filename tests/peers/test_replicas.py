"""Replicas that share the shards out among them: each answers for all, over HTTP, as if they were one."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import polars as pl
import pytest

from service.api.app import Options, build_app
from service.api.peers import PeerQuestions
from service.api.server import HttpServer
from service.clock import SystemClock
from service.metrics import Metrics
from service.peers import Directory, Peers, url_of
from service.ports import Message, NotReady, WarningQuery
from service.shard import Shard, Stage
from service.wire.topics import Topics
from service.worker import Worker
from service.worker.questions import PATH, ROLL, SUBSCRIBER, WARNINGS, Answer, Question
from service.worker.shelf import _fits
from tests.doubles.broker import MemoryIntake, MemorySender, until
from tests.doubles.clock import ManualClock
from tests.doubles.desk import InMemoryTail
from tests.doubles.stand import GROUP, PARTITIONS, TOPICS, Stand, home, month, neighbours, usage
from tests.worker.test_worker import all_committed, ready

# FastAPI silences it while it makes its models, which silences and restores for the threads of all servers at once.
pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.UnsupportedFieldAttributeWarning")
TOKEN = "what replicas know each other by"  # noqa: S105 - of these tests alone
CITY = [who for partition in range(PARTITIONS) for who in neighbours(partition, 6)]
FED = [
    *(usage(who, "subscriber.profile", 0.5, msisdn=f"+86{number}") for number, who in enumerate(CITY)),
    *month(CITY, days=8),
]


@dataclass
class Replica:
    worker: Worker
    server: HttpServer
    directory: Directory
    address: str

    async def asked(self, path: str, **given: Any) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.address) as client:
            return await client.get(path, **given)

    async def acknowledged(self, episode_id: str) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.address, timeout=60) as client:
            return await client.post(f"/v1/warnings/{episode_id}/acknowledge", json={"by": "m-07"})

    def knows(self, *others: "Replica") -> bool:
        """Where every shard runs that does not run here."""
        running = {partition: other.address for other in others for partition in other.worker.running()}
        return self.directory.owners == running and len({*running, *self.worker.running()}) == PARTITIONS


@asynccontextmanager
async def replica(stand: Stand, token: str = TOKEN) -> AsyncIterator[Replica]:
    sender = MemorySender(stand.broker)
    directory = Directory(stand.log, sender, TOPICS.directory)
    peers = Peers(lambda: directory.owners, token, 30.0, SystemClock())  # late are those that hang, not a slow machine
    intake = MemoryIntake(stand.broker, [TOPICS.usage, TOPICS.feedback], GROUP)
    worker = Worker(stand.world, stand.terms, intake, sender, peers)
    options = Options(peers=PeerQuestions(worker.shelf, token))
    server = HttpServer(build_app(worker.desk, InMemoryTail(PARTITIONS), Metrics("test", "log"), options))
    [(host, port)] = server.start("127.0.0.1", 0)
    tasks = [
        asyncio.create_task(worker.run()),
        asyncio.create_task(directory.run(url_of(host, port), worker.running)),
    ]
    try:
        yield Replica(worker, server, directory, url_of(host, port))
        await worker.stop(10)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(server.stop, 2)
        peers.close()


@asynccontextmanager
async def replicas(stand: Stand, count: int) -> AsyncIterator[list[Replica]]:
    """So many, that have taken all there is and know of each other."""
    async with AsyncExitStack() as stack:
        them = [await stack.enter_async_context(replica(stand)) for _ in range(count)]
        await until(lambda: all(ready(one.worker)() for one in them), 30)
        await until(all_committed(stand), 60)
        await until(lambda: all(one.knows(*(other for other in them if other is not one)) for one in them))
        yield them


def of_a_moment(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != "as_of"}


async def test_each_replica_gives_the_answers_that_one_alone_gives() -> None:
    stand = Stand()
    stand.feed(FED)
    async with replicas(stand, 1) as [alone]:
        records = {who: of_a_moment((await alone.asked(f"/v1/subscribers/{who}")).json()) for who in CITY}
        warnings = (await alone.asked("/v1/warnings", params={"limit": 500})).json()
        rules = (await alone.asked("/v1/rules")).json()
        segments = (await alone.asked("/v1/segments?codes=true")).json()
    assert len(warnings["warnings"]) > 5
    async with replicas(stand, 3) as them:
        assert all(one.worker.running() for one in them)
        for one in them:
            for number, who in enumerate(CITY):
                answer = await one.asked(f"/v1/subscribers/{who}")
                assert (answer.status_code, of_a_moment(answer.json())) == (200, records[who])
                assert answer.json()["as_of"]["partition"] == home(who)
                assert (await one.asked("/v1/subscribers", params={"msisdn": f"+86{number}"})).json() == answer.json()
            assert (await one.asked("/v1/subscribers/nobody")).status_code == 404
            told = (await one.asked("/v1/warnings", params={"limit": 500})).json()
            assert (told["warnings"], told["complete"]) == (warnings["warnings"], True)
            assert told["as_of"].keys() == {str(partition) for partition in range(PARTITIONS)}
            assert (await one.asked("/v1/rules")).json() == rules
            assert (await one.asked("/v1/segments?codes=true")).json() == segments
            for roll in rules["lists"]:
                assert (await one.asked(f"/v1/lists/{roll['id']}")).json()["complete"] is True


async def test_any_replica_takes_an_acknowledgement_and_tells_when_it_is_applied() -> None:
    stand = Stand()
    stand.feed(FED)
    async with replicas(stand, 2) as them:
        page = await asyncio.to_thread(them[0].worker.desk.warnings, WarningQuery(limit=50))
        for number, row in enumerate(page.warnings.head(6).to_dicts()):
            one, other = them[number % 2], them[1 - number % 2]
            said = await one.acknowledged(row["episode_id"])
            assert (said.status_code, said.json()["applied"]) == (200, True)
            seen = await asyncio.to_thread(other.worker.desk.warning, row["episode_id"])
            assert seen is not None
            assert (seen["state"], seen["acknowledged_by"]) == ("acknowledged", "m-07")


async def test_a_mute_reaches_every_shard_wherever_it_lives() -> None:
    stand = Stand()
    stand.feed(FED)
    until_day = "2013-07-30"
    said = {"matchers": {"rule": "silent"}, "until": until_day, "by": "m-07", "note": "a fault of the feed"}
    async with replicas(stand, 2) as [one, other], httpx.AsyncClient(base_url=one.address, timeout=60) as client:
        answer = await client.post("/v1/mutes", json=said)
        told = answer.json()
        assert (answer.status_code, told["applied"]) == (200, True)
        for replica_of_both in (one, other):
            listed = (await replica_of_both.asked("/v1/mutes")).json()
            assert [(mute["id"], mute["lacking_partitions"]) for mute in listed["mutes"]] == [(told["id"], [])]
            assert listed["complete"] is True
        assert (await client.delete(f"/v1/mutes/{told['id']}", params={"by": "m-08"})).status_code == 200
        assert (await other.asked("/v1/mutes")).json()["mutes"] == []
        theirs = set(other.worker.running())
        await asyncio.to_thread(other.server.stop, 2)
        answer = await client.post("/v1/mutes", json=said)
        assert (answer.status_code, answer.json()) == (202, {"id": told["id"], "applied": False})
        listed = (await one.asked("/v1/mutes")).json()
        assert (listed["complete"], set(listed["missing_partitions"])) == (False, theirs)
        assert [mute["id"] for mute in listed["mutes"]] == [told["id"]]


async def test_who_does_not_answer_is_said_and_a_shard_that_moves_is_found_again() -> None:
    stand = Stand()
    stand.feed(FED)
    async with replica(stand) as stays:
        async with replica(stand) as goes:
            await until(lambda: ready(stays.worker)() and ready(goes.worker)(), 30)
            await until(all_committed(stand), 60)
            await until(lambda: stays.knows(goes))
            theirs = set(goes.worker.running())
            who = next(one for one in CITY if home(one) in theirs)
            await asyncio.to_thread(goes.server.stop, 2)
            answer = await stays.asked(f"/v1/subscribers/{who}")
            assert (answer.status_code, answer.json()["missing_partitions"]) == (503, [home(who)])
            assert answer.headers["Retry-After"]
            told = (await stays.asked("/v1/warnings")).json()
            assert (told["complete"], set(told["missing_partitions"])) == (False, theirs)
            with pytest.raises(NotReady):
                await asyncio.to_thread(stays.worker.desk.holder, "+860")
        await until(lambda: len(stays.worker.running()) == PARTITIONS, 30)
        assert (await stays.asked(f"/v1/subscribers/{who}")).status_code == 200


async def test_an_owner_that_restores_is_an_honest_503() -> None:
    stand = Stand()
    stand.feed(FED)
    async with replicas(stand, 2) as [one, other]:
        who = next(who for who in CITY if home(who) in other.worker.running())
        for shard in other.worker._shards().values():
            shard.display.hide()
            shard.stage = Stage.RESTORING
        answer = await one.asked(f"/v1/subscribers/{who}")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")


async def test_only_replicas_may_ask_and_only_what_they_ask() -> None:
    stand = Stand()
    async with replicas(stand, 1) as [one], httpx.AsyncClient(base_url=one.address) as client:
        for headers in ({}, {"Authorization": "Bearer guessed"}, {"Authorization": f"bearer {TOKEN}"}):
            assert (await client.post(PATH, content=b"{}", headers=headers)).status_code == 401
        known = {"Authorization": f"Bearer {TOKEN}"}
        for nonsense in (b"", b"[]", b"{}", b'{"about":"all","partitions":[0],"told":{}}', b"\xff"):
            assert (await client.post(PATH, content=nonsense, headers=known)).status_code == 422
        assert PATH not in (await client.get("/openapi.json")).json()["paths"]


async def test_a_stranger_in_the_directory_and_another_secret_get_no_answers_used() -> None:
    stand = Stand()
    stand.feed(FED)
    async with replica(stand) as one, replica(stand, "another") as other:
        await until(lambda: ready(one.worker)() and ready(other.worker)(), 30)
        await until(all_committed(stand), 60)
        await until(lambda: one.knows(other))
        told = (await one.asked("/v1/warnings")).json()
        assert set(told["missing_partitions"]) == set(other.worker.running())


@contextmanager
def answering(answer: bytes | None) -> Iterator[str]:
    """A server that says one thing, or nothing until it is let go."""
    go = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            if answer is None:
                go.wait(30)
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield url_of(*server.server_address[:2])  # type: ignore[arg-type]  # an IPv4 address
        finally:
            go.set()
            server.shutdown()
            thread.join()


NONSENSE = (
    b"",
    b"{}",
    b"nonsense",
    b"[]",
    b"5",
    b'{"as_of":{"7":1},"value":null}\n',
    b'{"as_of":null,"value":1}',
    b'{"as_of":{"0":"x"},"value":1}',
    b'{"as_of":{"0":1},"value":1}\nx',
)


@pytest.mark.parametrize("answer", [None, *NONSENSE])
def test_what_is_no_answer_in_time_counts_as_none(answer: bytes | None) -> None:
    with answering(answer) as address:
        peers = Peers(lambda: {0: address, 1: "http://127.0.0.1:1", 2: "nowhere"}, TOKEN, 0.5, SystemClock())
        assert peers(Question(SUBSCRIBER, (0, 1, 2, 3), {"id": "a"})) == []
        peers.close()


def test_one_that_hangs_is_not_asked_again_at_once() -> None:
    clock = ManualClock()
    with answering(None) as address:
        peers = Peers(lambda: {0: address}, TOKEN, 0.2, clock)
        question = Question(SUBSCRIBER, (0,), {"id": "a"})
        assert peers(question) == []
        assert peers._silent_until_s == {address: 1.0}
        began_s = SystemClock().elapsed_s()
        assert [peers(question) for _ in range(50)] == [[]] * 50
        assert SystemClock().elapsed_s() - began_s < 5, "fifty that wait would take ten seconds"
        clock.advance(timedelta(seconds=2))
        assert peers(question) == []
        assert peers._silent_until_s == {address: 3.0}
        peers.close()


async def test_many_lists_at_once_starve_nobody() -> None:
    stand = Stand()
    stand.feed(FED)
    async with replicas(stand, 2) as them:
        asking = [one.asked("/v1/warnings", timeout=60) for one in them for _ in range(120)]
        assert all(said.json()["complete"] for said in await asyncio.gather(*asking))


async def test_acknowledgements_that_wait_hold_up_none_of_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    stand = Stand()
    stand.feed(FED)

    async def never(*_: Any) -> None:
        await asyncio.Event().wait()

    async with replicas(stand, 2) as them:
        page = await asyncio.to_thread(them[0].worker.desk.warnings, WarningQuery(limit=50))
        monkeypatch.setattr(Shard, "applied", never)
        asking = [one.acknowledged(row["episode_id"]) for row in page.warnings.head(15).to_dicts() for one in them]
        assert {said.status_code for said in await asyncio.gather(*asking)} == {202}


async def test_a_shard_that_ceases_to_run_while_it_is_asked_has_not_answered() -> None:
    stand = Stand()
    stand.feed(FED)
    async with replicas(stand, 1) as [one]:
        shards = one.worker._shards()
        with shards[0].display.stepping():
            asking = asyncio.create_task(asyncio.to_thread(one.worker.desk.holder, "+860"))
            await until(shards[0].display._line.locked)
            shards[2].display.hide()
        with pytest.raises(NotReady) as not_ready:
            await asking
        assert not_ready.value.partitions == (2,)
        with pytest.raises(ValueError, match="broken"), shards[1].display.stepping():
            raise ValueError("broken")
        assert shards[1].display.cursor is None


def test_answers_of_another_release_are_left_out() -> None:
    ours = Answer({0: 1}, frame=pl.DataFrame(schema={"a": pl.Int64}))
    for schema, fits in (({"a": pl.Int64}, True), ({"a": pl.String}, False), ({"b": pl.Int64}, False)):
        assert _fits(Answer({1: 1}, frame=pl.DataFrame(schema=schema)), ours, WARNINGS) is fits
    assert _fits(Answer({1: 1}, frame=pl.DataFrame(schema={"a": pl.String})), ours, ROLL)


async def test_the_directory_lives_with_what_it_cannot_read_and_with_a_cleaned_topic() -> None:
    stand = Stand()
    topic, sender = Topics().directory, MemorySender(stand.broker)
    directories = [Directory(stand.log, sender, topic) for _ in range(2)]
    running: list[set[int]] = [{0, 1}, {2}]
    stand.feed([entry(b"x", b"{}"), entry(b"3", None), entry(b"3", b'{"address":"http://me@else.where"}')])
    tasks = [
        asyncio.create_task(directory.run(f"http://r{number}", lambda number=number: running[number]))  # type: ignore[misc]  # the default is its number
        for number, directory in enumerate(directories)
    ]
    await until(lambda: directories[0].owners == {2: "http://r1"})
    await until(lambda: directories[1].owners == {0: "http://r0", 1: "http://r0"})
    stand.broker.truncate(topic, 0, 5)
    running[:] = [{0}, {1, 2}]
    await until(lambda: directories[0].owners == {1: "http://r1", 2: "http://r1"})
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def entry(key: bytes, value: bytes | None) -> Message:
    return Message(TOPICS.directory, 0, key, value)
