"""What stands in for a chat format where a model has none: plain completions still work."""

from __future__ import annotations

from collections.abc import Sequence

from backends.base import UnsupportedError
from backends.chat_formats.base import Segment
from backends.chat_formats.builtin import FORMAT_NAMES
from backends.types import Message, TemplateOptions, Tool


class NoChatFormat:
    """Refuses every conversation and says what would help."""

    name = "none"
    stop: tuple[str, ...] = ()

    async def render(
        self,
        messages: Sequence[Message],  # noqa: ARG002
        options: TemplateOptions,  # noqa: ARG002
        tools: Sequence[Tool] = (),  # noqa: ARG002
    ) -> list[Segment]:
        raise UnsupportedError(
            f"this model brings no chat template; set JARVIS_CHAT_FORMAT to one of {', '.join(FORMAT_NAMES)}",
            param="messages",
        )

    async def close(self) -> None:
        """Nothing is held."""
