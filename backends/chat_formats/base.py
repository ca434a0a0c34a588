"""What a chat format and a vocabulary have to offer so that a conversation can become token ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from backends.types import Message, TemplateOptions, Tool


class Segment(NamedTuple):
    """A piece of a prompt. Control strings become control tokens in scaffold, and stay text in content."""

    text: str
    scaffold: bool


class Tokenizer(Protocol):
    """The part of a model's vocabulary that prompts need."""

    add_bos: bool

    @property
    def bos(self) -> int | None:
        """Id of the beginning-of-sequence token, if there is one."""
        ...

    @property
    def eos(self) -> int | None:
        """Id of the end-of-sequence token, if there is one."""
        ...

    @property
    def control_tokens(self) -> Mapping[str, int]:
        """Text and id of every token that is matched as a whole: control tokens and user-defined ones."""
        ...

    @property
    def user_defined_tokens(self) -> Mapping[str, int]:
        """Those of `control_tokens` that are matched in text even when special tokens are off."""
        ...

    def encode(self, text: str, *, special: bool) -> list[int]:
        """Token ids, no BOS or EOS added. With `special` off control tokens are not parsed; user-defined ones are."""
        ...


class ChatFormat(Protocol):
    """A way to write a conversation as a prompt."""

    @property
    def name(self) -> str:
        """What logs and `ModelInfo` call this format."""
        ...

    @property
    def stop(self) -> tuple[str, ...]:
        """Texts that end an answer, for models whose vocabulary does not mark them as end of generation."""
        ...

    async def render(
        self, messages: Sequence[Message], options: TemplateOptions, tools: Sequence[Tool] = ()
    ) -> list[Segment]:
        """The prompt, split into what the format wrote and what the client wrote.

        Raises:
            InvalidRequestError: the format cannot express this conversation; `param` names what is in the way.
        """
        ...

    async def close(self) -> None:
        """Release what the format holds; harmless when called twice."""
        ...
