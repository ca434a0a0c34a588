"""Chat formats that a user writes down in a TOML file."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec

from backends.base import ModelUnavailableError
from backends.chat_formats.turns import TurnLayout


def load_layout(path: str | Path) -> TurnLayout:
    """The layout in a file (docs/chat-formats.md describes it).

    Raises:
        ModelUnavailableError: the file cannot be read, or does not describe a format; the message says where.
    """
    try:
        layout = msgspec.convert(tomllib.loads(Path(path).read_text(encoding="utf-8")), TurnLayout)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ModelUnavailableError(f"chat format file {str(path)!r}: {error}") from error
    if "user" not in layout.turns:
        raise ModelUnavailableError(f"chat format file {str(path)!r}: there is no [turns.user]")
    return layout
