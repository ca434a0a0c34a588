"""Text to ids of hashed features for pieces that are ASCII, a piece at a time: what most text is, in NumPy.

The same ids in the same order as `features.text_features`, which remains for all else and says what they are.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from kernels.reference.features import (
    HAS_PREVIOUS,
    LENGTH,
    LONGEST,
    MISSING,
    PAIR,
    PREVIOUS,
    WORD,
    State,
    fnv,
    is_separator,
)

Ids = NDArray[np.int64]
_Hashes = NDArray[np.uint32]

_IN_WORD = np.array([not is_separator(c) for c in range(128)])
_PRIME, _EMPTY = np.uint32(16777619), np.uint32(fnv([]))
_KIND = 0x9E3779B1
_NOTHING = np.zeros(0, np.int64)


def takes(state: State, chunk: bytes) -> bool:
    """Whether `ascii_features` can do it: everything is ASCII, also the unfinished word."""
    return chunk.isascii() and not state[MISSING] and bool((state[: state[LENGTH]] < 0x80).all())


def ascii_features(state: State, chunk: bytes, last: bool, buckets: int) -> Ids | None:
    """The ids of what ends in the chunk, as the module says; `None`, and nothing changed, if a word is too long."""
    data = bytes(state[: state[LENGTH]].tolist()) + chunk.lower()
    letters = np.frombuffer(data, np.uint8)
    bounded = np.zeros(len(data) + 2, np.int8)
    bounded[1:-1] = _IN_WORD[letters]
    edges = np.flatnonzero(bounded[1:] != bounded[:-1])
    begins, ends = edges[::2], edges[1::2]
    if len(begins) and int((ends - begins).max()) >= LONGEST:
        return None
    rest = b""
    if not last and len(ends) and ends[-1] == len(data):
        rest, begins, ends = data[begins[-1] :], begins[:-1], ends[:-1]
    hashes = np.array([_word(data[i:j]) for i, j in zip(begins.tolist(), ends.tolist(), strict=True)], np.uint32)
    found = _features(letters, begins, ends, _paired(state, hashes), buckets) if len(hashes) else _NOTHING
    state[: len(rest)], state[LENGTH] = list(rest), len(rest)
    if len(hashes):
        state[PREVIOUS], state[HAS_PREVIOUS] = hashes[-1], 1
    if last:
        state[:] = 0
    return found


@lru_cache(2**14)
def _word(word: bytes) -> int:
    return fnv(word)


def _paired(state: State, hashes: _Hashes) -> tuple[_Hashes, _Hashes]:
    """The words' hashes, and those of the pairs that end with all words, or with all but the first of a text."""
    before = np.concatenate([state[PREVIOUS : PREVIOUS + 1], hashes[:-1]]) if state[HAS_PREVIOUS] else hashes[:-1]
    return hashes, ((_EMPTY ^ before) * _PRIME ^ hashes[len(hashes) - len(before) :]) * _PRIME


def _features(letters: NDArray[np.uint8], begins: Ids, ends: Ids, hashes: tuple[_Hashes, _Hashes], buckets: int) -> Ids:
    """Ids in the order of the reference: per word itself, its pair, then n-grams by beginning and length."""
    words, pairs = hashes
    single = len(words) - len(pairs)  # 1 where the first word has none before it
    lengths = ends - begins
    sizes = np.maximum(3 * lengths - 3, 1) + 2
    sizes[:single] -= 1
    places = np.cumsum(sizes) - sizes
    values, kinds = np.empty(int(sizes.sum()), np.uint32), np.empty(int(sizes.sum()), np.uint32)
    values[places], kinds[places] = words, WORD
    values[places[single:] + 1], kinds[places[single:] + 1] = pairs, PAIR
    places += 2
    places[:single] -= 1
    padded = lengths + 2
    stops = np.cumsum(padded)
    starts = stops - padded
    here = np.arange(int(stops[-1]))
    characters = letters[np.minimum(here + np.repeat(begins - starts - 1, padded), len(letters) - 1)].astype(np.uint32)
    characters[starts], characters[stops - 1] = ord("<"), ord(">")
    left = np.repeat(stops, padded) - here
    place = np.repeat(places - 3 * starts, padded) + 3 * here - ((left == 3) & (np.repeat(lengths, padded) > 1))
    rolling = np.full(len(here), _EMPTY)
    for n in range(1, 6):
        rolling = (rolling[: len(here) - n + 1] ^ characters[n - 1 :]) * _PRIME
        if n >= 3:
            whole = np.flatnonzero(left[: len(rolling)] >= n)
            to = place[whole] + n - 3
            values[to], kinds[to] = rolling[whole], n
    return _ids(values, kinds, buckets)


def _ids(found: _Hashes, kinds: _Hashes, buckets: int) -> Ids:
    found = np.bitwise_xor(found, kinds * np.uint32(_KIND))
    found = np.bitwise_xor(found, found >> np.uint32(16)) * np.uint32(0x85EBCA6B)
    found = np.bitwise_xor(found, found >> np.uint32(13)) * np.uint32(0xC2B2AE35)
    mixed = np.bitwise_xor(found, found >> np.uint32(16)).astype(np.uint64)
    return np.asarray(mixed * np.uint64(buckets) >> np.uint64(32), np.int64)
