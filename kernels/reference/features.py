"""Text to ids of hashed features, in Python: what `csrc/features.c` does, in the same order and on the same state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

LONGEST = 64
STATE_WORDS = LONGEST + 6
"""The state as uint32: the unfinished word and its length, hash of the word before and whether there is one, and an
unfinished character: its bits, the bytes to come, the least that so many may mean."""
LENGTH, PREVIOUS, HAS_PREVIOUS, PARTIAL, MISSING, LEAST = range(LONGEST, STATE_WORDS)

REPLACEMENT = 0xFFFD
WORD, PAIR = 1, 2
_MASK = 0xFFFFFFFF
_EMPTY_HASH = 2166136261

State = NDArray[np.uint32]
Feature = tuple[int, int]
"""A hash and a kind: `WORD`, `PAIR`, or the length of an n-gram."""

_SEPARATORS = (
    (0x80, 0xA9), (0xAB, 0xB4), (0xB6, 0xB9), (0xBB, 0xBF), (0xD7, 0xD7), (0xF7, 0xF7), (0x2000, 0x2BFF),
    (0x3000, 0x303F), (0xFE10, 0xFE6F), (0xFF00, 0xFF0F), (0xFF1A, 0xFF20), (0xFF3B, 0xFF40), (0xFF5B, 0xFF65),
    (REPLACEMENT, REPLACEMENT), (0x1F000, 0x1FAFF),
)  # fmt: skip
_ALONE = ((0x3040, 0x30FF), (0x3400, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))
_UPPER = ((0x41, 0x5A, 32), (0xC0, 0xDE, 32), (0x391, 0x3A9, 32), (0x410, 0x42F, 32), (0x400, 0x40F, 80))


def _within(c: int, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= c <= last for first, last in ranges)


def is_separator(c: int) -> bool:
    """Whether a character stands between words."""
    if c < 0x80:
        return not (chr(c).isalnum() or c == 0x5F)
    return _within(c, _SEPARATORS)


def folded(c: int) -> int:
    """Lower case, where it is a fixed distance away: ASCII, Latin-1, Latin Extended-A, Greek, Cyrillic."""
    for first, last, distance in _UPPER:
        if first <= c <= last:
            return c + distance
    if _within(c, ((0x100, 0x137), (0x14A, 0x177))):
        return c | 1
    return c + (c & 1) if _within(c, ((0x139, 0x148), (0x179, 0x17E))) else c


def fnv(values: Iterable[int]) -> int:
    """FNV-1a over whole numbers, in 32 bits."""
    found = _EMPTY_HASH
    for value in values:
        found = (found ^ value) * 16777619 & _MASK
    return found


def _id(feature: Feature, buckets: int) -> int:
    found, kind = feature
    found ^= kind * 0x9E3779B1 & _MASK
    found = (found ^ found >> 16) * 0x85EBCA6B & _MASK
    found = (found ^ found >> 13) * 0xC2B2AE35 & _MASK
    return (found ^ found >> 16) * buckets >> 32


def _ngrams(word: list[int]) -> Iterator[Feature]:
    padded = [ord("<"), *word, ord(">")]
    for begin in range(len(padded) - 2):
        for n in range(3, min(5, len(padded) - begin) + 1):
            yield fnv(padded[begin : begin + n]), n


def _end_word(state: State, ngrams: bool = True) -> Iterator[Feature]:
    word = state[: state[LENGTH]].tolist()
    if not word:
        return
    found = fnv(word)
    yield found, WORD
    if state[HAS_PREVIOUS]:
        yield fnv([int(state[PREVIOUS]), found]), PAIR
    if ngrams:
        yield from _ngrams(word)
    state[LENGTH], state[PREVIOUS], state[HAS_PREVIOUS] = 0, found, 1


def _take(state: State, c: int) -> Iterator[Feature]:
    if is_separator(c):
        yield from _end_word(state)
        return
    alone = _within(c, _ALONE)
    if alone:
        yield from _end_word(state)
    state[state[LENGTH]] = folded(c)
    state[LENGTH] += 1
    if alone or state[LENGTH] == LONGEST:
        yield from _end_word(state, ngrams=not alone)


def _characters(state: State, chunk: bytes) -> Iterator[int]:
    for byte in chunk:
        if state[MISSING]:
            if byte & 0xC0 == 0x80:
                state[PARTIAL] = int(state[PARTIAL]) << 6 | byte & 63
                state[MISSING] -= 1
                if not state[MISSING]:
                    yield _valid(int(state[PARTIAL]), int(state[LEAST]))
                continue
            state[MISSING] = 0
            yield REPLACEMENT
        for first, last, bits, missing, least in _BEGINNINGS:
            if first <= byte <= last:
                state[PARTIAL], state[MISSING], state[LEAST] = byte & bits, missing, least
                break
        else:
            yield byte if byte < 0x80 else REPLACEMENT


_BEGINNINGS = ((0xC2, 0xDF, 31, 1, 0x80), (0xE0, 0xEF, 15, 2, 0x800), (0xF0, 0xF4, 7, 3, 0x10000))


def _valid(c: int, least: int) -> int:
    return c if least <= c <= 0x10FFFF and not 0xD800 <= c <= 0xDFFF else REPLACEMENT


def text_features(state: State, chunk: bytes, last: bool, buckets: int) -> list[int]:
    """The ids of what ends in the chunk; with `last` the text ends, and the state is as new afterwards."""
    found = [_id(feature, buckets) for c in _characters(state, chunk) for feature in _take(state, c)]
    if last:
        if state[MISSING]:
            found += [_id(feature, buckets) for feature in _take(state, REPLACEMENT)]
        found += [_id(feature, buckets) for feature in _end_word(state)]
        state[:] = 0
    return found
