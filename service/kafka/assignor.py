"""Sharing partitions out among the group's members: all topics of a partition to one of them, and where it was."""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

_LOG = logging.getLogger(__name__)
_VERSION = 0


class Claim(NamedTuple):
    """What a member had, and since which round of sharing out; later rounds know better."""

    round: int
    partitions: frozenset[int]


class _Told(msgspec.Struct, array_like=True):
    """What a member tells: its claim, and the hash of the rulebook that it judges by."""

    round: int
    partitions: list[int]
    rulebook: str


class _Given(msgspec.Struct, array_like=True):
    """What the leader tells all: which round this was, and whose rulebooks there are."""

    round: int
    rulebooks: list[str]


NOTHING = Claim(0, frozenset())


def share_out(partitions: Iterable[int], claims: Mapping[str, Claim]) -> dict[str, list[int]]:
    """Partitions by member: as evenly as can be, and as few of them as can be elsewhere than they were."""
    free = set(partitions)
    held: dict[str, list[int]] = {}
    for member, claim in sorted(claims.items(), key=lambda one: (-one[1].round, one[0])):
        held[member] = sorted(claim.partitions & free)
        free -= claim.partitions
    least, over = divmod(len(free) + sum(map(len, held.values())), len(held))
    shares = {}
    for place, member in enumerate(sorted(held, key=lambda one: (-len(held[one]), one))):
        most = least + (place < over)
        shares[member] = held[member][:most]
        free |= set(held[member][most:])
    left = sorted(free, reverse=True)
    for place, share in enumerate(shares.values()):
        while len(share) < least + (place < over):
            share.append(left.pop())
    return {member: sorted(share) for member, share in shares.items()}


class ShardAssignor:
    """As aiokafka's assignors, but with a memory: make one for each consumer.

    A member tells what it had last; the leader shares out and tells everybody which round this was. Members that judge
    by different rulebooks say so in their logs.
    """

    name = "churn-shards"

    def __init__(self, rulebook: Callable[[], str] = str) -> None:
        self._rulebook = rulebook
        self._claim = NOTHING

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """What we tell the leader when we join."""
        told = _Told(self._claim.round, sorted(self._claim.partitions), self._rulebook())
        return ConsumerProtocolMemberMetadata(_VERSION, sorted(topics), msgspec.msgpack.encode(told))

    def assign(
        self,
        cluster: Any,  # noqa: ANN401 - aiokafka has no types
        members: Mapping[str, ConsumerProtocolMemberMetadata],
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """What each member gets, by the leader; all of them want the same topics."""
        told = {member: msgspec.msgpack.decode(one.user_data, type=_Told) for member, one in members.items()}
        claims = {member: Claim(one.round, frozenset(one.partitions)) for member, one in told.items()}
        topics = sorted({topic for metadata in members.values() for topic in metadata.subscription})
        known = {topic: cluster.partitions_for_topic(topic) or frozenset() for topic in topics}
        shares = share_out(frozenset().union(*known.values()), claims)
        given = _Given(1 + max(one.round for one in told.values()), sorted({one.rulebook for one in told.values()}))
        return {
            member: ConsumerProtocolMemberAssignment(_VERSION, _by_topic(share, known), msgspec.msgpack.encode(given))
            for member, share in shares.items()
        }

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """Remember what we got."""
        partitions = frozenset(tp.partition for tp in assignment.partitions())
        given = msgspec.msgpack.decode(assignment.user_data, type=_Given)
        self._claim = Claim(given.round, partitions)
        if len(given.rulebooks) > 1:
            _LOG.warning(
                "the group's members judge by different rulebooks (%s), this one by %s: what is warned of depends on "
                "who owns a shard; give all of them the same rules folder, or publish one (rules publish)",
                ", ".join(given.rulebooks),
                self._rulebook(),
            )


def _by_topic(share: Collection[int], known: Mapping[str, Collection[int]]) -> list[tuple[str, list[int]]]:
    return [(topic, [number for number in share if number in there]) for topic, there in known.items()]
