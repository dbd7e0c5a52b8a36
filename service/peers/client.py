"""Asking other replicas over HTTP: each for its own partitions, side by side, until a deadline."""

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait

import httpx
from msgspec import MsgspecError
from polars.exceptions import PolarsError

from service.clock import Clock
from service.worker.questions import PATH, Answer, Question, read_answer, write_question

_LOG = logging.getLogger(__name__)
_AT_ONCE = 64  # questions that are out
_IDLE_S = 2.0  # after which a connection is closed: sooner than the other side would
_SILENT_S = 1.0  # for which one that did not answer in time is not asked


class Peers:
    """Implements worker.questions.Elsewhere.

    Args:
        owners: addresses by the partition that they have.
        token: what replicas know each other by.
        within_s: when an answer is due, beyond what the question itself may wait.
    """

    def __init__(self, owners: Callable[[], Mapping[int, str]], token: str, within_s: float, clock: Clock) -> None:
        self._owners = owners
        self._clock = clock
        self._silent_until_s: dict[str, float] = {}  # by address: one that hangs holds nobody else up
        self._within_s = within_s
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="peers")
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=_AT_ONCE, keepalive_expiry=_IDLE_S)
        headers = {"Authorization": f"Bearer {token}"}
        self._client = httpx.Client(headers=headers, limits=limits, trust_env=False)

    def __call__(self, question: Question) -> list[Answer]:
        """What the owners of the partitions say; who is not there in time is left out."""
        owners = self._owners()
        asked: dict[str, list[int]] = defaultdict(list)
        now_s = self._clock.elapsed_s()
        for partition in question.partitions:
            if partition in owners and now_s >= self._silent_until_s.get(owners[partition], now_s):
                asked[owners[partition]].append(partition)
        within_s = self._within_s + float(question.told.get("wait_s", 0.0))
        asking = {
            self._pool.submit(
                self._ask, address, Question(question.about, tuple(partitions), question.told), within_s
            ): address
            for address, partitions in asked.items()
        }
        done, late = wait(asking, within_s)
        for one in late:
            one.cancel()
            self._silent_until_s[asking[one]] = self._clock.elapsed_s() + _SILENT_S
            _LOG.warning("%s does not answer in time", asking[one])
        return [answer for one in done if (answer := one.result()) is not None]

    def close(self) -> None:
        """Let go of all connections."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def _ask(self, address: str, question: Question, within_s: float) -> Answer | None:
        try:
            got = self._client.post(f"{address}{PATH}", content=write_question(question), timeout=2 * within_s)
            got.raise_for_status()
            answer = read_answer(got.content)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, MsgspecError, PolarsError) as error:
            # One that was killed is still listed until its shards run elsewhere.
            _LOG.info("%s does not answer for partitions %s: %s", address, question.partitions, error)
            return None
        return answer if answer.as_of.keys() <= set(question.partitions) else None
