"""From text, while it arrives, to rows of the collapsed table: hashed words and n-grams, punctuation, scripts.

Hashed features are those of `kernels.text_features`. It passes over punctuation, so pairs of neighbouring character
classes stand for that: letters, digits, line ends and each punctuation mark that says something about the kind of text.
A third group counts the leading bytes of characters beyond ASCII, each of which belongs to a few scripts. All three are
sums over the text, so they are the same however it is cut.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernels import TextState, text_features

Ids = NDArray[np.int64]

BUCKETS = 2**18
"""Rows for hashed features."""
_SPACE, _LETTER, _DIGIT, _LINE = range(4)
_MARKS = '"#$%&()*+-/:;<=>@[\\]^_`{|}~'
CLASSES = 4 + len(_MARKS)
"""Character classes. Full stops, commas, question and exclamation marks and apostrophes count as spaces: whether a
sentence ends with one says nothing about its topic."""
PAIRS = CLASSES**2
_FIRST_LEAD = 0xC2
LEADS = 0xF5 - _FIRST_LEAD
ROWS = BUCKETS + PAIRS + LEADS
"""Rows of the table."""


def _classes() -> NDArray[np.int64]:
    found = np.full(256, _SPACE, np.int64)
    found[[*range(0x41, 0x5B), *range(0x61, 0x7B), *range(0x80, 0x100)]] = _LETTER
    found[0x30:0x3A] = _DIGIT
    found[0x0A] = _LINE
    for number, mark in enumerate(_MARKS):
        found[ord(mark)] = 4 + number
    return found


_CLASS = _classes()
_SILENT = {first * CLASSES + second for first in (_SPACE, _LETTER) for second in (_SPACE, _LETTER)}
_PAIR_ROWS = np.array([-1 if pair in _SILENT else BUCKETS + pair for pair in range(PAIRS)], np.int64)
"""By pair: its row, or -1 where letters and spaces follow each other, which all text is made of."""
_BEGINS = np.array(
    [
        second >= 4 or (second in (_LETTER, _DIGIT) and first not in (_LETTER, _DIGIT))
        for first in range(CLASSES)
        for second in range(CLASSES)
    ]
)
"""By pair: whether its second character begins a token, which is a run of letters and digits, or a mark."""
_FIRST_OF_THREE = 0xE3


class FeatureState(TextState):
    """What the features to come depend on: the unfinished word and the class of the last character. One per text."""

    __slots__ = ("last_class", "tokens")

    def __init__(self) -> None:
        super().__init__(BUCKETS)
        self.last_class = _SPACE
        self.tokens = 0
        """Tokens that have begun: runs of letters and digits, marks, and once more each Han or kana character."""

    def copy(self) -> FeatureState:
        """A state that goes on from here on its own."""
        other = FeatureState()
        other.words, other.last_class, other.tokens = self.words.copy(), self.last_class, self.tokens
        return other

    def go_on(self, boundary: int, tokens: int) -> None:
        """Become the state after a space, with what `boundary` was there and so many tokens."""
        self.boundary = boundary
        self.last_class, self.tokens = _SPACE, tokens

    def take(self, chunk: bytes, last: bool = False) -> Ids:
        """Rows of the features that end in `chunk`, the next piece of a UTF-8 text; `last` ends the text."""
        hashed = text_features(chunk, self, last)
        if not chunk and not last:
            return hashed
        values = np.frombuffer(chunk + b" " if last else chunk, np.uint8)
        classes = _CLASS[values]
        pairs = classes.copy()
        pairs[0] += self.last_class * CLASSES
        pairs[1:] += classes[:-1] * CLASSES
        rows = _PAIR_ROWS[pairs]
        self.last_class = _SPACE if last else int(classes[-1])
        self.tokens += int(np.count_nonzero(_BEGINS[pairs]))
        found = [hashed, rows[rows >= 0]]
        if not chunk.isascii():
            leads = values[values >= _FIRST_LEAD].astype(np.int64)
            self.tokens += int(np.count_nonzero(leads >= _FIRST_OF_THREE))
            found.append(leads[leads < _FIRST_LEAD + LEADS] + (BUCKETS + PAIRS - _FIRST_LEAD))
        return np.concatenate(found)


def encode(text: str) -> bytes:
    """UTF-8; lone surrogates, which it has no place for, become bytes that end a word."""
    return text.encode("utf-8", "surrogatepass")


def rows_of(text: str) -> Ids:
    """The rows of a whole text."""
    return FeatureState().take(encode(text), last=True)
