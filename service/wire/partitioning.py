"""Which partition a producer chooses for a key: as Java's clients do (murmur2) or librdkafka's (crc32)."""

import zlib
from collections.abc import Sequence
from typing import Literal

import numpy as np

Partitioner = Literal["murmur2", "crc32", "any"]

_SEED = np.uint32(0x9747B28C)
_MIX = np.uint32(0x5BD1E995)
_POSITIVE = np.uint32(0x7FFFFFFF)
_ALL = 2**32 - 1


def partition_of(key: bytes, partitions: int, partitioner: Partitioner) -> int | None:
    """The partition of one key; None where the partitioner is `any`, which does not say."""
    if partitioner == "any":
        return None
    hashed = zlib.crc32(key) if partitioner == "crc32" else _murmur2_of(key) & int(_POSITIVE)
    return hashed % partitions


def partitions_of(keys: Sequence[bytes], partitions: int, partitioner: Partitioner) -> np.ndarray:
    """The partitions (int64) that `murmur2` or `crc32` chooses for keys."""
    if partitioner == "crc32":
        hashes = np.fromiter(map(zlib.crc32, keys), np.uint32, len(keys))
    else:
        hashes = murmur2(keys) & _POSITIVE
    return hashes.astype(np.int64) % partitions


def murmur2(keys: Sequence[bytes]) -> np.ndarray:
    """Kafka's murmur2 of keys (uint32), all keys of one length at a time."""
    lengths = np.fromiter(map(len, keys), np.int64, len(keys))
    hashes = np.empty(len(keys), np.uint32)
    for length in np.unique(lengths).tolist():
        chosen = np.flatnonzero(lengths == length)
        alike = keys if chosen.size == len(keys) else [keys[at] for at in chosen.tolist()]
        hashes[chosen] = _murmur2(b"".join(alike), chosen.size, length)
    return hashes


def _murmur2_of(key: bytes) -> int:
    """The same of a single key, for which columns would take twenty times as long."""
    hashed, mix, whole = int(_SEED) ^ len(key), int(_MIX), len(key) - len(key) % 4
    for at in range(0, whole, 4):
        word = int.from_bytes(key[at : at + 4], "little") * mix & _ALL
        word ^= word >> 24
        hashed = hashed * mix & _ALL ^ word * mix & _ALL
    if whole < len(key):
        hashed = (hashed ^ int.from_bytes(key[whole:], "little")) * mix & _ALL
    hashed ^= hashed >> 13
    hashed = hashed * mix & _ALL
    return hashed ^ hashed >> 15


def _murmur2(joined: bytes, count: int, length: int) -> np.ndarray:
    octets = np.frombuffer(joined, np.uint8).reshape(count, length)
    hashes = np.full(count, _SEED ^ np.uint32(length), np.uint32)
    whole = length - length % 4
    words = np.ascontiguousarray(octets[:, :whole]).view("<u4")
    for at in range(whole // 4):
        word = words[:, at] * _MIX
        word ^= word >> np.uint32(24)
        hashes = (hashes * _MIX) ^ (word * _MIX)
    if whole < length:
        for at in range(whole, length):
            hashes ^= octets[:, at].astype(np.uint32) << np.uint32(8 * (at - whole))
        hashes *= _MIX
    hashes ^= hashes >> np.uint32(13)
    hashes *= _MIX
    return hashes ^ (hashes >> np.uint32(15))
