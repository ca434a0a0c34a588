"""Conversations to prompts: the formats that ship, a user's own, and the model's own Jinja template."""

from __future__ import annotations

from pathlib import Path

from backends.base import ModelUnavailableError
from backends.chat_formats.absent import NoChatFormat
from backends.chat_formats.base import ChatFormat, Segment, Tokenizer
from backends.chat_formats.builtin import CUSTOM, FORMAT_NAMES, LAYOUTS, canonical_name
from backends.chat_formats.custom import load_layout
from backends.chat_formats.encoding import PromptEncoder, encode_segments, token_text
from backends.chat_formats.template import TemplateFormat
from backends.chat_formats.turns import TurnFormat

__all__ = [
    "FORMAT_NAMES",
    "ChatFormat",
    "PromptEncoder",
    "Segment",
    "Tokenizer",
    "canonical_name",
    "choose_format",
    "encode_segments",
]


async def choose_format(
    name: str | None, tokenizer: Tokenizer, *, file: str | Path | None = None, template: str | None = None
) -> ChatFormat:
    """The format for a model, ready to render; close it when the model goes.

    `name` is what the user asked for, an alias or one of `FORMAT_NAMES`; `file` holds the layout that `custom` means.
    Without both the model's own `template` is used, and without that the format refuses every conversation.

    Raises:
        ModelUnavailableError: unknown name, bad file, or a template that does not compile.
    """
    if name is None and file is None:
        return await TemplateFormat.open(template, tokenizer) if template else NoChatFormat()
    try:
        known = CUSTOM if name is None else canonical_name(name)
    except ValueError as error:
        raise ModelUnavailableError(str(error)) from error
    if known != CUSTOM:
        return TurnFormat(LAYOUTS[known], token_text(tokenizer, tokenizer.bos))
    if file is None:
        raise ModelUnavailableError("the chat format 'custom' needs a file that describes it")
    return TurnFormat(load_layout(file), token_text(tokenizer, tokenizer.bos))
