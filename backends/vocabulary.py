"""What every engine's vocabulary can do, however its tokeniser is driven: whole prompts, pieces, and the way back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property

from backends.base import ContextLengthError, InvalidRequestError
from backends.types import TokenPiece


class BaseVocabulary(ABC):
    """Tokenises for one loaded model; thread-safe. Fulfils `backends.chat_formats.Tokenizer`."""

    size: int
    add_bos: bool
    drops_spaces = False
    """Whether runs of spaces in a text leave no tokens, as with WordPiece."""

    @property
    @abstractmethod
    def bos(self) -> int | None:
        """Id of the beginning-of-sequence token, if the vocabulary has one."""

    @property
    @abstractmethod
    def eos(self) -> int | None:
        """Id of the end-of-sequence token, if the vocabulary has one."""

    @property
    @abstractmethod
    def closing(self) -> int | None:
        """Id of the token that the model wants after a whole text, if it wants one."""

    @property
    @abstractmethod
    def end_of_generation(self) -> frozenset[int]:
        """Ids after which a model has nothing more to say (EOS, EOT and their kin)."""

    @property
    @abstractmethod
    def control_tokens(self) -> Mapping[str, int]:
        """Text of every control and user-defined token, with its id."""

    @property
    @abstractmethod
    def user_defined_tokens(self) -> Mapping[str, int]:
        """The tokens that are recognised in text even when special tokens are off."""

    @property
    @abstractmethod
    def longest_token(self) -> int:
        """Length of the longest token's text in bytes: no prompt of n tokens is longer than n times this."""

    @abstractmethod
    def encode(self, text: str, *, special: bool) -> list[int]:
        """Token ids of a text, no BOS or EOS added. With `special` off control strings in it stay text."""

    @abstractmethod
    def piece(self, token: int) -> bytes:
        """The bytes that a token adds to the text; none for control tokens."""

    @abstractmethod
    def control_text(self, token: int) -> bytes:
        """The bytes of a token with control tokens written out."""

    @abstractmethod
    def never_text(self, token: int) -> bool:
        """Whether the token stands for something else than its text: a control token, an unknown or unused one."""

    def encode_prompt(self, text: str, *, special: bool) -> list[int]:
        """Ids of a whole prompt with the tokens that the model wants around it: BOS and EOS, `[CLS]` and `[SEP]`."""
        ids = self.encode(text, special=special)
        if self.add_bos and self.bos is not None and ids[:1] != [self.bos]:
            ids.insert(0, self.bos)
        if self.closing is not None:
            ids.append(self.closing)
        return ids

    def token_pieces(self, text: str, *, add_special: bool = False) -> list[TokenPiece]:
        """The tokens of a text with what they stand for; control strings in it stay text."""
        ids = self.encode_prompt(text, special=False) if add_special else self.encode(text, special=False)
        return [TokenPiece(token, self.control_text(token)) for token in ids]

    def check_length(self, text: str, limit: int, *, param: str) -> None:
        """Refuse a text of `param` that is longer than `limit` of the longest tokens, before native code sees it."""
        if len(text) <= limit:
            return
        counted = " ".join(text.split()) if self.drops_spaces else text
        if len(counted.encode()) > limit * self.longest_token:
            raise ContextLengthError(
                f"the prompt has {len(text)} characters, more than the {limit} tokens of the context window can hold",
                param=param,
            )

    def decode(self, tokens: Sequence[int], *, special: bool = False) -> bytes:
        """The bytes of a whole sequence, without the space that some vocabularies put before a text.

        The engines' own functions are not used: for some vocabularies they also drop the spaces before punctuation.
        """
        for token in tokens:
            if not 0 <= token < self.size:
                raise InvalidRequestError(
                    f"{token} is not a token id of this model (0 to {self.size - 1})", param="tokens"
                )
        text = self.control_text if special else self.piece
        pieces = [text(token) for token in tokens]
        if pieces and self._adds_space:
            pieces[0] = pieces[0].removeprefix(b" ")
        return b"".join(pieces)

    @cached_property
    def _adds_space(self) -> bool:
        return any(self.piece(token).startswith(b" ") for token in self.encode("a", special=False)[:1])
