"""A Hugging Face tokeniser as the vocabulary of a model: text to token ids, ids to the bytes that they stand for."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from tokenizers import Tokenizer

from backends.base import ModelUnavailableError
from backends.vocabulary import BaseVocabulary

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SPACE = "▁"


class FolderVocabulary(BaseVocabulary):
    """The tokeniser that `transformers` made of a model's folder. The library behind it is thread-safe."""

    def __init__(self, tokenizer: Any, end_tokens: frozenset[int]) -> None:
        """`end_tokens` are those that the folder names besides the tokeniser's own.

        Raises:
            ModelUnavailableError: the tokeniser has no fast form, or one whose tokens are not bytes of the text.
        """
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise ModelUnavailableError("the model's tokeniser has no fast form (tokenizer.json)")
        definition = backend.to_str()
        self._parsing, self._plain = Tokenizer.from_str(definition), Tokenizer.from_str(definition)
        self._plain.encode_special_tokens = True
        for one in (self._parsing, self._plain):
            one.no_padding()
            one.no_truncation()
        self._added: dict[int, Any] = self._parsing.get_added_tokens_decoder()
        self._bos: int | None = tokenizer.bos_token_id
        self._eos: int | None = tokenizer.eos_token_id
        self._ends = end_tokens | ({self._eos} if self._eos is not None else set())
        self.size = max(self._parsing.get_vocab(with_added_tokens=True).values()) + 1
        self._spelling = _spelling(json.loads(definition))
        self._texts: dict[int, bytes] = {}
        around = self._parsing.encode("a", add_special_tokens=True).ids
        self.add_bos = self._bos is not None and around[:1] == [self._bos]
        self._closing = around[-1] if self.never_text(around[-1]) else None

    @property
    def bos(self) -> int | None:
        """Id of the beginning-of-sequence token, if the vocabulary has one."""
        return self._bos

    @property
    def eos(self) -> int | None:
        """Id of the end-of-sequence token, if the vocabulary has one."""
        return self._eos

    @property
    def closing(self) -> int | None:
        """Id of the token that the model wants after a whole text, if it wants one."""
        return self._closing

    @property
    def end_of_generation(self) -> frozenset[int]:
        """The tokeniser's EOS and what the folder's generation config names."""
        return self._ends

    @cached_property
    def control_tokens(self) -> Mapping[str, int]:
        """Text of every control and user-defined token, with its id."""
        return {token.content: id for id, token in self._added.items()}

    @cached_property
    def user_defined_tokens(self) -> Mapping[str, int]:
        """Added tokens that are not special: they are recognised in any text."""
        return {token.content: id for id, token in self._added.items() if not token.special}

    @cached_property
    def longest_token(self) -> int:
        """Length of the longest token's text in bytes."""
        return max(len(self.control_text(token)) for token in range(self.size))

    def encode(self, text: str, *, special: bool) -> list[int]:
        """Token ids of a text, no BOS or EOS added. With `special` off control strings in it stay text."""
        ids: list[int] = (self._parsing if special else self._plain).encode(text, add_special_tokens=False).ids
        return ids

    def piece(self, token: int) -> bytes:
        """The bytes that a token adds to the text; none for control tokens."""
        return b"" if self.never_text(token) else self.control_text(token)

    def control_text(self, token: int) -> bytes:
        """The bytes of a token with control tokens written out; none for an id that is not in use."""
        text = self._texts.get(token)
        if text is None:
            text = self._texts[token] = self._text(token)
        return text

    def never_text(self, token: int) -> bool:
        """Whether the token is special."""
        added = self._added.get(token)
        return added is not None and bool(added.special)

    def _text(self, token: int) -> bytes:
        if (added := self._added.get(token)) is not None:
            return str(added.content).encode()
        spelled = self._parsing.id_to_token(token)
        return b"" if spelled is None else self._spelling(spelled)


def _spelling(definition: dict[str, Any]) -> Any:
    """The function from a token as the vocabulary spells it to its bytes, by what turns tokens into text again."""
    kinds = set(_kinds(definition.get("decoder")))
    if "ByteLevel" in kinds:
        return _byte_level
    if kinds & {"Metaspace", "ByteFallback", "Replace"}:
        return _sentence_piece
    raise ModelUnavailableError(
        f"the model's tokeniser decodes by {', '.join(sorted(kinds)) or 'nothing'}; known are bytes and SentencePiece"
    )


def _kinds(decoder: Any) -> list[str]:
    if not isinstance(decoder, dict):
        return []
    return [str(decoder.get("type")), *(kind for part in decoder.get("decoders", ()) for kind in _kinds(part))]


def _byte_level(spelled: str) -> bytes:
    """GPT-2's way: every byte has a printable character of its own. Others stand for themselves."""
    return b"".join(bytes([_BYTE_OF[c]]) if c in _BYTE_OF else c.encode() for c in spelled)


def _sentence_piece(spelled: str) -> bytes:
    byte = _BYTE.fullmatch(spelled)
    return bytes.fromhex(byte[1]) if byte else spelled.replace(_SPACE, " ").encode()


def _byte_characters() -> dict[str, int]:
    """The characters of GPT-2's vocabulary by the byte each stands for: itself where it can be printed."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(hidden)}


_BYTE_OF = _byte_characters()
