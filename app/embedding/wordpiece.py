"""BERT's tokeniser, lower-case: from a text to the ids of its words and of the pieces of words that are not whole.

Format: Devlin et al., BERT (2019), and the vocabulary of the model that the embedding is distilled from. Text that
spells a control token, such as `[SEP]`, stays text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from zlib import crc32

UNKNOWN = "[UNK]"
CONTINUES = "##"
LONGEST_WORD = 100
"""Characters of a word that may have pieces; a longer one is unknown as a whole."""

_KEPT_WORDS = 16_384
_ASCII_WORD = re.compile(r"[a-z0-9]+|[!-/:-@\[-`{-~]")
_ASCII_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_REMOVED = ("Cc", "Cf", "Co", "Cs", "Mn")
_IDEOGRAPHS = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)

Ids = tuple[int, ...]


class _Characters(dict[int, str]):
    """What becomes of a character, worked out when it is first seen: nothing, a space, a word of its own, itself."""

    def __missing__(self, code: int) -> str:
        found = self[code] = _written(chr(code))
        return found


_CHARACTERS = _Characters()


def words(text: str) -> Iterator[str]:
    """The words of a text in lower case and without accents, marks of punctuation and ideographs each by itself."""
    if text.isascii():
        cleaned = _ASCII_CONTROL.sub("", text).lower()
        return (match.group() for match in _ASCII_WORD.finditer(cleaned))
    return iter(unicodedata.normalize("NFD", text).translate(_CHARACTERS).split())


class WordPiece:
    """The ids of texts, by a vocabulary whose index is the id.

    A word that has no pieces gets an id behind the vocabulary's, one of `buckets` by its hash, so that it is at least
    the same word in two texts; without buckets it is `[UNK]`.
    """

    def __init__(self, vocabulary: Sequence[str], buckets: int = 0) -> None:
        self.vocabulary = tuple(vocabulary)
        self._ids = {token: number for number, token in enumerate(vocabulary)}
        self.unknown = self._ids[UNKNOWN]
        self._buckets = buckets
        self._pieces: Callable[[str], Ids] = lru_cache(_KEPT_WORDS)(self._split)
        self._whole = {token: number for token, number in self._ids.items() if not token.startswith(CONTINUES)}

    def encode(self, text: str) -> list[int]:
        """The ids of a text, none of them control tokens but `[UNK]`."""
        found: list[int] = []
        whole = self._whole.get
        for word in words(text):
            known = whole(word)
            if known is None:
                found += self._pieces(word)
            else:
                found.append(known)
        return found

    def decode(self, ids: Sequence[int]) -> str:
        """Words with spaces between them: what the tokeniser has removed does not come back."""
        written = (self.vocabulary[number] if number < len(self.vocabulary) else UNKNOWN for number in ids)
        return " ".join(written).replace(f" {CONTINUES}", "")

    def piece(self, number: int) -> str:
        """The text of one token."""
        return self.decode([number]).removeprefix(CONTINUES)

    def _split(self, word: str) -> Ids:
        """The longest piece that the word begins with, then the longest that continues it, and so on."""
        pieces: list[int] = []
        begin, prefix = 0, ""
        while begin < len(word) <= LONGEST_WORD:
            for end in range(len(word), begin, -1):
                piece = self._ids.get(prefix + word[begin:end])
                if piece is not None:
                    break
            else:
                return self._unknown(word)
            pieces.append(piece)
            begin, prefix = end, CONTINUES
        return tuple(pieces) if pieces else self._unknown(word)

    def _unknown(self, word: str) -> Ids:
        if not self._buckets:
            return (self.unknown,)
        return (len(self.vocabulary) + crc32(word.encode()) % self._buckets,)


def _written(character: str) -> str:
    """What stands for a character of decomposed text."""
    if character in "\t\n\r":
        return " "
    category = unicodedata.category(character)
    if category in _REMOVED or character == "\ufffd":
        return ""
    if character.isspace():
        return " "
    if _is_punctuation(character, category) or _is_ideograph(ord(character)):
        return f" {character} "
    return character.lower()


def _is_punctuation(character: str, category: str) -> bool:
    return category[0] == "P" or ("!" <= character <= "~" and not character.isalnum())


def _is_ideograph(code: int) -> bool:
    return any(first <= code <= last for first, last in _IDEOGRAPHS)
