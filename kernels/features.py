"""Text to ids of hashed features, while it arrives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernels.arguments import Ids, address, count
from kernels.levels import functions
from kernels.reference import features as reference
from kernels.reference.ascii_features import ascii_features, takes

MOST_BUCKETS = 2**31
_IDS_PER_BYTE = 3  # a word of n letters has 3 n - 1 features
_IDS_OF_STATE = 3 * reference.LONGEST + 8


class TextState:
    """What of a text is not decided yet: an unfinished character and word, and the word before. One per text.

    Features are hashed to ids below `buckets`, which is at most 2 ** 31.
    """

    __slots__ = ("buckets", "words")

    def __init__(self, buckets: int = 2**18) -> None:
        if count("buckets", buckets) > MOST_BUCKETS:
            raise ValueError(f"buckets must be at most {MOST_BUCKETS}, not {buckets}")
        self.buckets = buckets
        self.words: NDArray[np.uint32] = np.zeros(reference.STATE_WORDS, np.uint32)

    @property
    def boundary(self) -> int:
        """All that matters of the state right after a space: the hash of the word before, and 2 ** 32 if there is one.

        Setting it makes the state such a one.
        """
        return int(self.words[reference.PREVIOUS]) | int(self.words[reference.HAS_PREVIOUS] != 0) << 32

    @boundary.setter
    def boundary(self, value: int) -> None:
        self.words[:] = 0
        self.words[reference.PREVIOUS] = value & 0xFFFFFFFF
        self.words[reference.HAS_PREVIOUS] = value >> 32

    def copy(self) -> TextState:
        """A state that goes on from here on its own."""
        other = TextState(self.buckets)
        other.words[:] = self.words
        return other


def text_features(chunk: bytes, state: TextState, last: bool = False) -> Ids:
    """The ids (int64) of the features that end in `chunk`, the next piece of a UTF-8 text.

    Features are words, pairs of neighbouring words, and the 3- to 5-grams of characters of each word between `<` and
    `>`, hashed with their kind; upper case counts as lower. Kana and Han characters are words of their own, without
    n-grams.
    However a text is cut, even inside a character, the ids are the same in the same order: a word counts once it has
    ended, which `last` says of the text's final one. Bytes that are not UTF-8 end a word; words longer than 64
    characters count as several. After `last` the state is ready for another text. The result may be empty.
    """
    if not isinstance(chunk, bytes):
        raise ValueError(f"chunk must be bytes, not {type(chunk).__name__}")
    if not isinstance(state, TextState):
        raise ValueError(f"state must be a TextState, not {type(state).__name__}")
    native = functions()
    if native is None:
        return _in_numpy(state, chunk, last)
    found, ids = np.empty(1, np.int64), np.empty(_IDS_PER_BYTE * len(chunk) + _IDS_OF_STATE, np.int64)
    to = (address(ids), address(found))
    native["text_features"](address(state.words), chunk, len(chunk), bool(last), state.buckets, *to)
    return ids[: found[0]].copy()


def _in_numpy(state: TextState, chunk: bytes, last: bool) -> Ids:
    if takes(state.words, chunk) and (found := ascii_features(state.words, chunk, last, state.buckets)) is not None:
        return found
    return np.array(reference.text_features(state.words, chunk, last, state.buckets), np.int64)
