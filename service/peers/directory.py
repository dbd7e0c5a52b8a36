"""Who has which shard: each replica announces its own on a compacted topic, and follows what the others announce."""

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable, Collection, Mapping

import orjson

from service.ports import Log, Message, Record, Truncated
from service.worker import Sender

_LOG = logging.getLogger(__name__)
_LOOK_S = 0.25
_ADDRESS = re.compile(r"https?://[^/\s@?#]+")


class Directory:
    """Addresses by partition.

    A shard is announced when it runs, and again where another claims it while it still runs here: whoever was given it
    has the last word, for the other stops running it. An owner that is gone stays listed until the next one runs, and
    does not answer.
    """

    def __init__(self, log: Log, sender: Sender, topic: str) -> None:
        self._log = log
        self._sender = sender
        self._topic = topic
        self._address = ""
        self._owners: dict[int, str] = {}
        self._position = -1

    @property
    def owners(self) -> Mapping[int, str]:
        """The other replicas' addresses by the partition that they have; safe to ask from any thread."""
        return {partition: address for partition, address in list(self._owners.items()) if address != self._address}

    async def run(self, address: str, running: Callable[[], Collection[int]]) -> None:
        """Follow the others and announce what runs at our address, for ever."""
        self._address = address
        trouble: str | None = None
        while True:
            try:
                await self._follow()
                await self._announce(running())
                trouble = None
            except Exception as error:  # noqa: BLE001 - whatever it is, who has what must be told again and again
                if trouble != str(error):
                    trouble = str(error)
                    _LOG.warning("the directory of owners waits: %s", trouble)
            await asyncio.sleep(_LOOK_S)

    async def _follow(self) -> None:
        end = (await self._log.ends(self._topic, 0)).last_stable
        if end <= self._position:
            return
        try:
            async with contextlib.aclosing(self._log.read(self._topic, 0, self._position, end)) as reading:
                async for records in reading:
                    for record in records:
                        self._take(record)
        except Truncated:
            self._position = -1
            return
        self._position = end

    def _take(self, record: Record) -> None:
        try:
            partition, address = int(record.key or b""), orjson.loads(record.value or b"")["address"]
            is_one = _ADDRESS.fullmatch(address) is not None
        except (ValueError, KeyError, TypeError):
            is_one = False
        if is_one:
            self._owners[partition] = address
        else:
            _LOG.warning("%s-0@%d names no owner", self._topic, record.offset)

    async def _announce(self, running: Collection[int]) -> None:
        for partition in sorted(running):
            if self._owners.get(partition) != self._address:
                said = orjson.dumps({"address": self._address})
                await self._sender.send(Message(self._topic, 0, str(partition).encode(), said))
                self._owners[partition] = self._address
