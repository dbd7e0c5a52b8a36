"""A client of the live stream that remembers what it was told; every wait has a deadline."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

DEADLINE_S = 10


@dataclass(frozen=True)
class Told:
    event: str
    id: str | None
    data: dict[str, Any] | None

    @property
    def short(self) -> str:
        """Event and warning, as `raised e0001`."""
        return f"{self.event} {self.data['id']}" if self.data and "id" in self.data else self.event


class Client:
    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()
        self.last_id: str | None = None

    async def next(self) -> Told:
        """The next event; a comment and a bare id are none."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                fields = await self._block()
                self.last_id = fields.get("id", self.last_id)
                if "data" in fields:
                    return Told(fields.get("event", "message"), fields.get("id"), json.loads(fields["data"]))

    async def take(self, count: int) -> list[str]:
        return [(await self.next()).short for _ in range(count)]

    async def until_end(self) -> list[str]:
        """All that is told until the server ends the stream."""
        told = []
        async with asyncio.timeout(DEADLINE_S):
            try:
                while True:
                    told.append((await self.next()).short)
            except StopAsyncIteration:
                return told

    async def _block(self) -> dict[str, str]:
        fields: dict[str, str] = {}
        while line := await anext(self._lines):
            name, _, value = line.partition(": ")
            if name:
                fields[name] = value
        return fields


@asynccontextmanager
async def listening(address: str, query: str = "", last_id: str | None = None) -> AsyncIterator[Client]:
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    async with (
        httpx.AsyncClient(base_url=address, timeout=DEADLINE_S) as http,
        http.stream("GET", f"/v1/warnings/stream{query}", headers=headers) as response,
    ):
        if response.status_code != 200:
            await response.aread()
        yield Client(response)


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait for a condition, with a deadline."""
    async with asyncio.timeout(DEADLINE_S):
        while not holds():  # noqa: ASYNC110 - what holds may be another thread's doing
            await asyncio.sleep(0.01)
