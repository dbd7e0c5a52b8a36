"""Partitions are shared out evenly, and stay where they were as far as that goes."""

from hypothesis import given
from hypothesis import strategies as st

from service.kafka.assignor import NOTHING, Claim, ShardAssignor, share_out

MEMBERS = st.dictionaries(
    st.sampled_from("abcdefg"),
    st.builds(Claim, st.integers(0, 3), st.frozensets(st.integers(0, 12), max_size=9)),
    min_size=1,
)


@given(st.integers(0, 12), MEMBERS)
def test_every_partition_has_one_member_and_no_member_has_two_more_than_another(
    count: int, claims: dict[str, Claim]
) -> None:
    shares = share_out(range(count), claims)
    assert shares.keys() == claims.keys()
    assert sorted(one for share in shares.values() for one in share) == list(range(count))
    sizes = [len(share) for share in shares.values()]
    assert max(sizes) - min(sizes) <= 1


@given(st.integers(0, 12), MEMBERS)
def test_shared_out_again_nothing_moves(count: int, claims: dict[str, Claim]) -> None:
    shares = share_out(range(count), claims)
    again = {member: Claim(4, frozenset(share)) for member, share in shares.items()}
    assert share_out(range(count), again) == shares


def test_who_comes_takes_only_what_they_are_to_have_and_what_who_leaves_had_is_dealt() -> None:
    two = {"a": Claim(1, frozenset({0, 2, 4})), "b": Claim(1, frozenset({1, 3, 5}))}
    three = share_out(range(6), {**two, "c": NOTHING})
    assert (three["a"], three["b"], three["c"]) == ([0, 2], [1, 3], [4, 5])
    left = {"a": Claim(2, frozenset({0, 2})), "c": Claim(2, frozenset({4, 5}))}
    assert share_out(range(6), left) == {"a": [0, 1, 2], "c": [3, 4, 5]}


def test_who_slept_has_no_claim_against_who_has_been_given_it_since() -> None:
    claims = {"awake": Claim(7, frozenset({0, 1})), "asleep": Claim(6, frozenset({0, 1}))}
    assert share_out(range(2), claims) == {"awake": [0], "asleep": [1]}
    claims = {"a": Claim(6, frozenset({0, 1, 2})), "b": Claim(7, frozenset({0, 1}))}
    assert share_out(range(3), claims) == {"a": [2], "b": [0, 1]}


class Cluster:
    """Two topics of three partitions."""

    def partitions_for_topic(self, topic: str) -> set[int]:
        return {0, 1, 2} if topic in {"usage", "feedback"} else set()


def test_members_remember_what_they_got_from_whoever_leads() -> None:
    members = {name: ShardAssignor() for name in "abc"}
    given_: dict[str, set[int]] = {}
    for leader, present in (("a", "ab"), ("b", "abc"), ("c", "bc")):
        told = {name: members[name].metadata(["usage", "feedback"]) for name in present}
        kept = dict(given_)
        for name, assignment in members[leader].assign(Cluster(), told).items():
            members[name].on_assignment(assignment)
            got = {(tp.topic, tp.partition) for tp in assignment.partitions()}
            given_[name] = {partition for _, partition in got}
            assert got == {(topic, one) for topic in ("usage", "feedback") for one in given_[name]}
            assert not kept.get(name) or kept[name] & given_[name], "what a member had it keeps, as far as it may"
        assert set().union(*(given_[name] for name in present)) == {0, 1, 2}
