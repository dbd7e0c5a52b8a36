"""A 64-bit hash of strings that is the same on every machine and in every release, computed over whole columns."""

import numpy as np
import polars as pl

_MULTIPLY = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_WORD = 8
_ALL = 2**64 - 1


def hash64(values: pl.Series) -> np.ndarray:
    """Hashes (uint64) of a String column without nulls.

    The library's own hash may change between its releases; this one lies in snapshots and decides slices. Strings
    are read as little-endian 64-bit words, each folded in by the finaliser of splitmix64; their length is folded in
    too, so that a trailing NUL makes a difference.
    """
    if values.is_empty():
        return np.empty(0, np.uint64)
    lengths = values.str.len_bytes().to_numpy().astype(np.uint64)
    words = max(1, -(-int(lengths.max()) // _WORD))
    text = pl.col(values.name).str.pad_end(words * _WORD, "\0").cast(pl.Binary).bin.slice(0, words * _WORD)
    whole = pl.Array(pl.UInt64, words)
    read = values.to_frame().select_seq(text.bin.reinterpret(dtype=whole, endianness="little")).to_series().to_numpy()
    hashes = _scramble(lengths * _MULTIPLY)
    for word in range(words):
        folded = _scramble((hashes ^ read[:, word]) * _MULTIPLY)
        # A word past a string's own end must not change its hash, however long its neighbours are.
        hashes = np.where(lengths > word * _WORD, folded, hashes)
    return hashes


def hash64_of(text: str) -> int:
    """The hash of one string, as `hash64` gives it for a column, without the cost of columns."""
    data = text.encode()
    hashed = _scramble_one(len(data) * int(_MULTIPLY))
    for at in range(0, len(data), _WORD):
        word = int.from_bytes(data[at : at + _WORD], "little")
        hashed = _scramble_one((hashed ^ word) * int(_MULTIPLY))
    return hashed


def _scramble_one(value: int) -> int:
    value &= _ALL
    value = ((value ^ (value >> 30)) * int(_MIX_1)) & _ALL
    value = ((value ^ (value >> 27)) * int(_MIX_2)) & _ALL
    return value ^ (value >> 31)


def _scramble(values: np.ndarray) -> np.ndarray:
    values = (values ^ (values >> np.uint64(30))) * _MIX_1
    values = (values ^ (values >> np.uint64(27))) * _MIX_2
    scrambled: np.ndarray = values ^ (values >> np.uint64(31))
    return scrambled
