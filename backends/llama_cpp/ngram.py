"""Prompt lookup: guesses of the next tokens from what the text already said, free of any second model.

The idea is known as prompt lookup decoding: texts quote themselves, above all where a model edits or sums up what it
was given. A guess costs a row of the next batch, so it has to pay: its length follows the luck of those before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

_FIRST_LENGTH = 2
_RIGHT_GUESSES = 2  # in a row, made for nothing, before drafts are made again


class NgramDrafter:
    """Drafts from what the text already said: the continuation of the latest earlier occurrence of its last tokens."""

    def __init__(
        self,
        prompt: Sequence[int],
        *,
        longest_match: int = 4,
        shortest_match: int = 2,
        longest_draft: int = 16,
    ) -> None:
        """Index `prompt`; a draft needs an earlier occurrence of at least the last `shortest_match` tokens.

        Time and memory are linear in the text.

        Raises:
            ValueError: the lengths are not 1 <= `shortest_match` <= `longest_match` and 1 <= `longest_draft`.
        """
        if not (1 <= shortest_match <= longest_match and longest_draft >= 1):
            raise ValueError(f"no match of {shortest_match} to {longest_match} with drafts of {longest_draft} tokens")
        self.length = min(_FIRST_LENGTH, longest_draft)
        """Tokens that a draft may have now; 0 while guesses are only made to see whether they would be right."""
        self._longest_draft = longest_draft
        self._right = 0
        self._text: list[int] = []
        # Per length, where the text went on after an n-gram when it last did. What ends the text has not gone on yet:
        # it is only there if it has occurred before.
        self._after: dict[int, dict[tuple[int, ...], int]] = {
            length: {} for length in range(longest_match, shortest_match - 1, -1)
        }
        self._index(prompt)

    def extend(self, tokens: Sequence[int]) -> None:
        """Append tokens that are now certain."""
        if not (self.length or not tokens):
            self._right = self._right + 1 if self._continuation(1) == [tokens[0]] else 0
            if self._right == _RIGHT_GUESSES:
                self.length = min(_FIRST_LENGTH, self._longest_draft)
        self._index(tokens)

    def draft(self, most: int) -> list[int]:
        """The tokens that may come next: at most `most`, none if the text's end has not occurred before.

        A longer match is better than a shorter one, and among equals the later; a draft does not reach beyond the text.
        """
        return self._continuation(min(most, self.length))

    def observe(self, drafted: int, accepted: int) -> None:
        """Hear that of a draft of `drafted` tokens the first `accepted` were right, which sets the length of the next.

        Drafts that are all right double it; after one that is all wrong, none is made until guesses that nobody had to
        verify would have been right again.
        """
        if not drafted:
            return
        self._right = 0
        self.length = min(2 * self.length, self._longest_draft) if accepted == drafted else accepted

    def _continuation(self, most: int) -> list[int]:
        if most <= 0:
            return []
        for length, after in self._after.items():
            at = after.get(tuple(self._text[-length:]))
            if at is not None:
                return self._text[at : at + most]
        return []

    def _index(self, tokens: Sequence[int]) -> None:
        start = len(self._text)
        self._text.extend(tokens)
        for length, after in self._after.items():
            first = max(start, length)  # before this token stands the first n-gram that is new
            recent = self._text[first - length :]
            ngrams = zip(*(islice(recent, offset, None) for offset in range(length)), strict=False)
            after.update(zip(ngrams, range(first, len(self._text)), strict=False))
