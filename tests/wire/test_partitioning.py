"""Partitions are those that other clients choose."""

import zlib

from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from service.wire.partitioning import murmur2, partition_of, partitions_of

# As Kafka's own tests state them, signed.
KNOWN = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


def test_murmur2_is_kafkas() -> None:
    hashes = murmur2(list(KNOWN)).tolist()
    assert hashes == [value % 2**32 for value in KNOWN.values()]


@given(st.lists(st.binary(max_size=40), max_size=20), st.integers(1, 64))
def test_partitions_are_those_of_another_client(keys: list[bytes], partitions: int) -> None:
    everywhere = list(range(partitions))
    others = [DefaultPartitioner()(key, everywhere, everywhere) for key in keys]
    assert partitions_of(keys, partitions, "murmur2").tolist() == others


@given(st.lists(st.binary(max_size=40), max_size=20), st.integers(1, 64))
def test_crc32_is_the_checksum_modulo_the_count(keys: list[bytes], partitions: int) -> None:
    assert partitions_of(keys, partitions, "crc32").tolist() == [zlib.crc32(key) % partitions for key in keys]


def test_only_a_known_partitioner_names_a_partition() -> None:
    assert partition_of(b"foobar", 1000, "murmur2") == (-790332482 % 2**31) % 1000
    assert partition_of(b"foobar", 1000, "crc32") == zlib.crc32(b"foobar") % 1000
    assert partition_of(b"foobar", 1000, "any") is None
