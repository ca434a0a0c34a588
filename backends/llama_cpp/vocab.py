"""A GGUF model's vocabulary: text to token ids and back."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import llama_cpp

from backends.vocabulary import BaseVocabulary

_LONGEST_RUN = 4096
# llama.cpp's pre-tokenisers are std::regex, which recurses once per character of a run and overflows the stack (after
# 26,000 characters on 8 MB). What a run is differs from model to model, and with the version of Unicode: letters with
# marks, anything but spaces, line ends with slashes. So a run here is text without ASCII spaces, or spaces and slashes,
# and other characters belong to both. Bites of bounded length keep the search linear on hostile text.
_BITES = re.compile(rf"[^\t-\r ]{{1,{_LONGEST_RUN}}}|[\t-\r /\x80-\U0010ffff]{{1,{_LONGEST_RUN}}}")
_MATCHED_AS_WHOLE = (
    llama_cpp.LLAMA_TOKEN_ATTR_CONTROL | llama_cpp.LLAMA_TOKEN_ATTR_USER_DEFINED | llama_cpp.LLAMA_TOKEN_ATTR_UNKNOWN
)
_NEVER_TEXT = (
    llama_cpp.LLAMA_TOKEN_ATTR_CONTROL | llama_cpp.LLAMA_TOKEN_ATTR_UNKNOWN | llama_cpp.LLAMA_TOKEN_ATTR_UNUSED
)


class Vocabulary(BaseVocabulary):
    """Tokenises for one loaded model. Thread-safe: llama.cpp's vocabulary is read-only after loading."""

    def __init__(self, model: Any) -> None:
        self._vocab = llama_cpp.llama_model_get_vocab(model)
        if not self._vocab:
            raise ValueError("the model has no vocabulary")
        self.size: int = llama_cpp.llama_vocab_n_tokens(self._vocab)
        self.add_bos: bool = llama_cpp.llama_vocab_get_add_bos(self._vocab)
        self.add_eos: bool = llama_cpp.llama_vocab_get_add_eos(self._vocab)
        kind = llama_cpp.llama_vocab_type(self._vocab)
        self._splits_by_regex = kind == llama_cpp.LLAMA_VOCAB_TYPE_BPE
        self.drops_spaces = self._is_wordpiece = kind == llama_cpp.LLAMA_VOCAB_TYPE_WPM
        self._pieces: dict[int, bytes] = {}
        self._control_pieces: dict[int, bytes] = {}

    @property
    def handle(self) -> Any:
        """The `llama_vocab *`."""
        return self._vocab

    @cached_property
    def bos(self) -> int | None:
        """Id of the beginning-of-sequence token, if the vocabulary has one."""
        return _none_if_negative(llama_cpp.llama_vocab_bos(self._vocab))

    @cached_property
    def eos(self) -> int | None:
        """Id of the end-of-sequence token, if the vocabulary has one."""
        return _none_if_negative(llama_cpp.llama_vocab_eos(self._vocab))

    @cached_property
    def end_of_generation(self) -> frozenset[int]:
        """Ids after which a model has nothing more to say (EOS, EOT and their kin)."""
        # Of all tokens: not every file marks its EOS as a control token, and texts of control tokens may repeat.
        return frozenset(i for i in range(self.size) if llama_cpp.llama_vocab_is_eog(self._vocab, i))

    @cached_property
    def control_tokens(self) -> Mapping[str, int]:
        """Text of every control and user-defined token, with its id."""
        return self._tokens_with(_MATCHED_AS_WHOLE)

    @cached_property
    def user_defined_tokens(self) -> Mapping[str, int]:
        """The tokens that llama.cpp recognises in text even when special tokens are off."""
        return self._tokens_with(llama_cpp.LLAMA_TOKEN_ATTR_USER_DEFINED)

    @cached_property
    def longest_token(self) -> int:
        """Length of the longest token's text in bytes: no prompt of n tokens is longer than n times this."""
        return max(len(llama_cpp.llama_vocab_get_text(self._vocab, i) or b"") for i in range(self.size))

    def encode(self, text: str, *, special: bool) -> list[int]:
        """Token ids of a text, no BOS or EOS added. With `special` off control strings in it stay text."""
        return [i for piece in self._safe_pieces(text) for i in self._encode(piece.encode(), special)]

    @cached_property
    def closing(self) -> int | None:
        """Id of the token that the model wants after a whole text: EOS, or `[SEP]` as BERT has it."""
        if self.add_eos:
            return self.eos
        # Other vocabularies may have a separator too; there llama.cpp adds it to pairs of texts only.
        adds_separator = self._is_wordpiece and llama_cpp.llama_vocab_get_add_sep(self._vocab)
        return _none_if_negative(llama_cpp.llama_vocab_sep(self._vocab)) if adds_separator else None

    def piece(self, token: int) -> bytes:
        """The bytes that a token adds to the text; none for control tokens."""
        piece = self._pieces.get(token)
        if piece is None:
            piece = self._pieces[token] = self._piece(token, special=False)
        return piece

    def control_text(self, token: int) -> bytes:
        """The bytes of a token with control tokens written out."""
        piece = self._control_pieces.get(token)
        if piece is None:
            piece = self._control_pieces[token] = self._piece(token, special=True)
        return piece

    def never_text(self, token: int) -> bool:
        """Whether the token stands for something else than its text; see `BaseVocabulary.never_text`."""
        return bool(llama_cpp.llama_vocab_get_attr(self._vocab, token) & _NEVER_TEXT)

    def _tokens_with(self, attributes: int) -> dict[str, int]:
        attr, text = llama_cpp.llama_vocab_get_attr, llama_cpp.llama_vocab_get_text
        found = (i for i in range(self.size) if attr(self._vocab, i) & attributes)
        return {(text(self._vocab, i) or b"").decode(errors="replace"): i for i in found}

    def _safe_pieces(self, text: str) -> list[str]:
        """The text cut inside runs that are long enough to crash a regex pre-tokeniser."""
        if len(text) < _LONGEST_RUN or not self._splits_by_regex:
            return [text]
        pieces, start = [], 0
        for bite in _BITES.finditer(text):
            if bite.end() - bite.start() == _LONGEST_RUN:
                pieces.append(text[start : bite.end()])
                start = bite.end()
        return [*pieces, text[start:]]

    def _encode(self, raw: bytes, special: bool) -> list[int]:
        room = len(raw) + 2
        while True:
            ids = (llama_cpp.llama_token * room)()
            n = llama_cpp.llama_tokenize(self._vocab, raw, len(raw), ids, room, False, special)
            if n >= 0:
                return list(ids[:n])
            room = -n

    def _piece(self, token: int, *, special: bool) -> bytes:
        room = 64
        while True:
            buffer = ctypes.create_string_buffer(room)
            n = llama_cpp.llama_token_to_piece(self._vocab, token, buffer, room, 0, special)
            if n >= 0:
                return buffer.raw[:n]
            room = -n


def _none_if_negative(token: int) -> int | None:
    return token if token >= 0 else None
