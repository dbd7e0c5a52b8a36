"""What was said beside what should have been: every message by its name, content and place."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import msgspec

from service.wire.records import Headers

_NAMES = (
    ("ce_id",),
    ("churn.late.topic", "churn.late.partition", "churn.late.offset"),
    ("__connect.errors.topic", "__connect.errors.partition", "__connect.errors.offset"),
)


class Content(Protocol):
    """A record or a message. What bears the time of its writing, the record's timestamp, is not among it."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Headers: ...


class Said(NamedTuple):
    """A message: where, under which name, about whom, and a digest of all that it says."""

    topic: str
    partition: int
    name: str
    key: bytes | None
    digest: int


@dataclass(frozen=True, slots=True)
class Difference:
    """How many messages are missing, came again, were not called for, say something else, or changed their order."""

    missing: int
    duplicates: int
    unexpected: int
    changed: int
    reordered: int  # keys of a partition whose messages are all there, in another order
    examples: Sequence[str] = ()

    @property
    def is_any(self) -> bool:
        """Whether anything differs."""
        return any((self.missing, self.duplicates, self.unexpected, self.changed, self.reordered))


def said(content: Content) -> Said:
    """A message as it is compared."""
    headers = dict(content.headers)
    name = next((names for names in _NAMES if names[0] in headers), None)
    told = "/".join(headers[one].decode() for one in name) if name else _slice_of_day(content)
    digest = hash((content.key, content.value, tuple(sorted(content.headers))))
    return Said(content.topic, content.partition, told, content.key, digest)


def _slice_of_day(content: Content) -> str:
    """A closed day has a record for each of its slices."""
    return f"{(content.key or b'').decode()}/{msgspec.json.decode(content.value or b'')['slices_done']}"


def compare(expected: Iterable[Said], found: Iterable[Said]) -> Difference:
    """What differs, by names first: a message that says something else under its name is neither missing nor new."""
    expected, found = list(expected), list(found)
    wanted, got = (Counter(one[:3] for one in these) for these in (expected, found))
    missing, more = wanted - got, got - wanted
    unexpected = {name: count for name, count in more.items() if name not in wanted}
    again = {name: count for name, count in more.items() if name in wanted}
    contents: dict[tuple[str, int, str], set[int]] = defaultdict(set)
    for one in expected:
        contents[one[:3]].add(one.digest)
    changed = {one[:3] for one in found if one[:3] in contents and one.digest not in contents[one[:3]]}
    reordered = set[tuple[str, int, bytes | None]]()
    if not (missing or more):
        before, after = _orders(expected), _orders(found)
        reordered = {at for at, names in before.items() if after.get(at) != names}
    kinds = (("missing", missing), ("again", again), ("unexpected", unexpected), ("changed", changed))
    examples = [f"{kind}: {name}" for kind, names in kinds for name in list(names)[:3]]
    examples += [f"reordered: {at}" for at in list(reordered)[:3]]
    counts = (sum(missing.values()), sum(again.values()), sum(unexpected.values()), len(changed), len(reordered))
    return Difference(*counts, examples)


def _orders(many: Iterable[Said]) -> dict[tuple[str, int, bytes | None], list[str]]:
    """Names in their order, of each key in a partition."""
    orders: dict[tuple[str, int, bytes | None], list[str]] = defaultdict(list)
    for one in many:
        orders[one.topic, one.partition, one.key].append(one.name)
    return orders
