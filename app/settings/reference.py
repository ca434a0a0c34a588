"""The settings as documentation: `.env.example`, the README's table of variables, the list that `check` prints."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from pydantic.fields import FieldInfo

from app.settings import Settings
from app.settings.fields import as_variable, fields_by_variable, is_secret, limits_in_words, section_of, unset_in_words
from app.settings.reading import MASK, Variables

HEADER = """\
# Configuration of the Jarvis LLM Proxy: copy this file to `.env` and change what you need.
# Variables of the process environment win over this file; an empty value counts as unset.
# This file is written by `python -m app env-example`.
"""


def env_example() -> str:
    """The text of `.env.example`: every variable, commented out, with description, limits and default."""
    return "\n".join([HEADER, *_blocks()])


def markdown_table() -> str:
    """The README's table of variables."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in fields_by_variable(Settings):
        default = unset_in_words(field) or f"`{as_variable(field.default)}`"
        rows.append(f"| `{name}` | {default} | {_description(field)} |")
    return "\n".join(rows) + "\n"


def effective(settings: Settings, variables: Variables) -> Iterator[tuple[str, str, str]]:
    """Name, value (secrets masked) and origin of every variable, as the server uses them."""
    holders = [getattr(settings, name) for name, field in Settings.model_fields.items() if not field.validation_alias]
    for holder in (*holders, settings):
        for attribute, field in type(holder).model_fields.items():
            if field.validation_alias:
                name = str(field.validation_alias)
                yield name, _shown(field, getattr(holder, attribute)), variables.origins.get(name, "default")


def _shown(field: FieldInfo, value: Any) -> str:
    if value in (None, (), {}):
        return f"({unset_in_words(field)})"
    return MASK if is_secret(field) else as_variable(value)


def _blocks() -> Iterator[str]:
    for section in Settings.model_fields.values():
        if not section.validation_alias:
            yield f"\n# {str(section_of(section).__doc__).rstrip('.')} {'-' * 20}\n"
            yield from (_entry(name, field) for name, field in fields_by_variable(section_of(section)))
    yield f"\n# Files {'-' * 20}\n"
    own = (field for field in Settings.model_fields.values() if field.validation_alias)
    yield from (_entry(str(field.validation_alias), field) for field in own)


def _entry(name: str, field: FieldInfo) -> str:
    unset = unset_in_words(field)
    text = _description(field) + (f" Unset: {unset}." if unset else "")
    default = "" if unset else as_variable(field.default)
    return f"{textwrap.indent(textwrap.fill(text, 108), '# ')}\n# {name}={default}\n"


def _description(field: FieldInfo) -> str:
    return f"{field.description} {limits_in_words(field)}".strip()
