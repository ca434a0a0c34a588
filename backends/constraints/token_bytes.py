"""A vocabulary as the constraint compiler needs it: the bytes of every token, and the tokens of forced text.

Tokens that mean more to the model than their text are marked, so that no text of a grammar ever matches them.
"""

from __future__ import annotations

from functools import cached_property

from backends.vocabulary import BaseVocabulary

_MARK = b"\xff"
"""Begins the bytes of a special token; no UTF-8 text contains it."""
_BRACKETS = ((b"<", b">"), (b"[", b"]"))
_LOOK_AHEAD = 512
"""Characters of forced text that are tokenised. Only the first token is used, and long texts would take their time."""
_ENOUGH_TOKENS = 16
_SENTINELS = ("\x01", "\x02", "\x03", "\x04", "\x05", "\x06", "\x07")


class TokenBytes:
    """What `llguidance.TokenizerWrapper` takes; `tokens` has an entry for every id of the vocabulary."""

    def __init__(self, vocab: BaseVocabulary) -> None:
        self._vocab = vocab
        self.eos_token_id = min(vocab.end_of_generation, default=None)
        self.bos_token_id = vocab.bos
        self.special_token_ids: tuple[int, ...] = ()
        self._user_defined = frozenset(vocab.user_defined_tokens.values())
        self.tokens = [self._bytes(token) for token in range(vocab.size)]

    def __call__(self, text: str | bytes) -> list[int]:
        """The tokens that the model's own tokeniser makes of a text; of a long one at least its beginning."""
        if isinstance(text, bytes):
            text = text.decode()
        beginning = text[:_LOOK_AHEAD]
        ids = self._encode(beginning)
        return ids if len(beginning) == len(text) or len(ids) >= _ENOUGH_TOKENS else self._encode(text)

    def _bytes(self, token: int) -> bytes:
        text = self._vocab.piece(token)
        if text and not self._is_special(token, text):
            return text
        name = self._vocab.control_text(token)
        return _MARK + name if name else b""

    def _is_special(self, token: int, text: bytes) -> bool:
        if self._vocab.never_text(token) or token in self._vocab.end_of_generation:
            return True
        if token not in self._user_defined:
            return False
        return any(len(text) > 1 and text.startswith(left) and text.endswith(right) for left, right in _BRACKETS)

    def _encode(self, text: str) -> list[int]:
        sentinel, skipped = self._sentinel
        ids = self._vocab.encode(sentinel + text, special=False)[skipped:]
        raw = text.encode()
        # A tokeniser that changes texts would force a token that the grammar then refuses.
        return ids if self._joined(ids) == raw else self._longest_matches(raw)

    @cached_property
    def _sentinel(self) -> tuple[str, int]:
        """What keeps the tokeniser from putting a space before a text, and the number of its tokens."""
        if self._joined(self._vocab.encode("a", special=False)) == b"a":
            return "", 0
        for sentinel in _SENTINELS:
            alone = self._vocab.encode(sentinel, special=False)
            followed = self._vocab.encode(sentinel + "a", special=False)
            if followed[: len(alone)] == alone and self._joined(followed[len(alone) :]) == b"a":
                return sentinel, len(alone)
        return "", 0

    def _longest_matches(self, raw: bytes) -> list[int]:
        ids, at = [], 0
        while at < len(raw):
            ends = range(min(len(raw), at + self._longest), at, -1)
            found = next((self._by_bytes[raw[at:end]] for end in ends if raw[at:end] in self._by_bytes), None)
            if found is None:
                break  # no token spells this byte: whatever is forced here cannot come
            ids.append(found)
            at += len(self.tokens[found])
        return ids

    @cached_property
    def _by_bytes(self) -> dict[bytes, int]:
        return {text: token for token, text in enumerate(self.tokens) if text and not text.startswith(_MARK)}

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self._by_bytes), default=0)

    def _joined(self, ids: list[int]) -> bytes:
        return b"".join(self.tokens[token] for token in ids)
