"""What can be known to be wrong before anything is loaded: the files that the settings name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from app.settings import Settings

GGUF_MAGIC = b"GGUF"


def problems(settings: Settings) -> list[str]:
    """One line per file that is missing or is not what it should be; empty if all is well."""
    return list(_problems(settings))


def _problems(settings: Settings) -> Iterator[str]:
    model = settings.model
    if model.engine == "llama_cpp" and (fault := file_fault(Path(model.name), magic=GGUF_MAGIC)):
        yield f"JARVIS_MODEL_NAME='{model.name}' {fault}"
    if model.chat_format_file and (fault := file_fault(Path(model.chat_format_file))):
        yield f"JARVIS_CHAT_FORMAT_FILE='{model.chat_format_file}' {fault}"


def file_fault(path: Path, *, magic: bytes = b"") -> str | None:
    """What is wrong with a file that should be readable and start with `magic`; `None` if nothing is."""
    if not path.exists():
        return "does not exist"
    if not path.is_file():
        return "is not a file"
    if not os.access(path, os.R_OK):
        return "cannot be read by this user"
    with path.open("rb") as file:
        if file.read(len(magic)) != magic:
            return f"is not a {magic.decode()} file"
    return None
