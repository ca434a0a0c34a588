"""From flat variables to nested sections: reads the environment, finds every problem at once, keeps the origins.

The process environment wins over the `.env` file; an empty value counts as unset. `.env` is parsed, never executed.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from app.settings.fields import allowed_in_words, fields_by_variable, section_of

PREFIX = "JARVIS_"
PROCESS = "environment"
RULE = "Value error, "
"""What pydantic writes before the message of a rule of ours."""
MASK = "********"
SECRET_NAME = re.compile(r"API_?KEY|ACCESS_KEY|TOKEN$|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)


class SettingsError(Exception):
    """The configuration cannot be used; `problems` has one line for each thing that must change."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n  ".join(["The configuration cannot be used:", *problems]))


@dataclass(frozen=True)
class Variables:
    """The variables that are set, and where each was set: `PROCESS`, or the name of the file."""

    values: Mapping[str, str]
    origins: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, environ: Mapping[str, str] | None = None, env_file: str | None = ".env") -> Variables:
        """`environ` (default: this process's) over `env_file` (`None`, or a missing file: no file)."""
        from_file = file_variables(env_file) if env_file else {}
        from_process = os.environ if environ is None else environ
        values: dict[str, str] = {}
        origins: dict[str, str] = {}
        for origin, source in ((str(env_file), from_file), (PROCESS, from_process)):
            given = {name: value for name, value in source.items() if value and value.strip()}
            values |= given
            origins |= dict.fromkeys(given, origin)
        return cls(values, origins)

    def from_file(self) -> dict[str, str]:
        """The variables that the file set and the process did not."""
        return {name: value for name, value in self.values.items() if self.origins[name] != PROCESS}

    def shown(self, name: str) -> str:
        """`NAME='value' (origin)`, with secrets masked and long values cut."""
        value = MASK if is_secret_name(name) else f"'{self.values[name][:200]}'"
        return f"{name}={value} ({self.origins[name]})"


def file_variables(path: str) -> dict[str, str | None]:
    """The variables of a `.env` file; none if it does not exist.

    Raises:
        SettingsError: it cannot be read, or has lines that set nothing and are no comment. python-dotenv would skip
            them, and whoever forgot a quote would get the default in silence.
    """
    try:
        text = Path(path).read_text("utf-8-sig")
    except (FileNotFoundError, IsADirectoryError):
        return {}
    except OSError as error:
        raise SettingsError([f"{path} cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise SettingsError([f"{path} is not UTF-8 text"]) from None
    wrong = [binding.original.line for binding in parse_stream(StringIO(text)) if binding.error]
    if wrong:
        raise SettingsError([f"{path}, line {line}: this is not NAME=value; is a quote missing?" for line in wrong])
    return dotenv_values(stream=StringIO(text), interpolate=False)


def is_secret_name(name: str) -> bool:
    """Whether a variable's value must not be shown, nor reach a process that does not need it."""
    return SECRET_NAME.search(name) is not None


class FlatVariables(PydanticBaseSettingsSource):
    """The source that gives each section of a settings class the values of its variables."""

    def __init__(self, settings_cls: type[BaseSettings], variables: Variables) -> None:
        super().__init__(settings_cls)
        self.values = variables.values

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """A field's value (for a section, a dict by variable name; `None` if unset), its key, and whether it nests."""
        if field.validation_alias:
            variable = str(field.validation_alias)
            return self.values.get(variable), variable, False
        names = [name for name, _ in fields_by_variable(section_of(field)) if name in self.values]
        return {name: self.values[name] for name in names}, field_name, True

    def __call__(self) -> dict[str, Any]:
        """All values, nested, without the fields that nothing sets."""
        found = (self.get_field_value(field, name) for name, field in self.settings_cls.model_fields.items())
        return {key: value for value, key, _ in found if value is not None}


def unknown_names(settings_cls: type[BaseSettings], variables: Variables) -> list[str]:
    """One line for each `JARVIS_*` variable that no field reads, with the nearest name that is read."""
    known = [name for name, _ in fields_by_variable(settings_cls)]
    strangers = sorted(name for name in variables.values if name.startswith(PREFIX) and name not in known)
    return [f"{variables.shown(name)} is not a variable of this server; {_hint(name, known)}" for name in strangers]


def bad_values(settings_cls: type[BaseSettings], variables: Variables, error: ValidationError) -> list[str]:
    """One line for each field that refused its value, and for each rule between fields that is broken."""
    fields = dict(fields_by_variable(settings_cls))
    refused = (details for details in error.errors() if details["type"] != "default_factory_not_called")
    return [_bad_value(fields, variables, details) for details in refused]


def _hint(name: str, known: list[str]) -> str:
    by_tail = {variable.removeprefix(PREFIX): variable for variable in known}
    near = difflib.get_close_matches(name.removeprefix(PREFIX), by_tail, n=1)
    return f"did you mean {by_tail[near[0]]}?" if near else "`./run.sh check` lists those that exist"


def _bad_value(fields: Mapping[str, FieldInfo], variables: Variables, details: ErrorDetails) -> str:
    name = next((str(part) for part in details["loc"] if part in fields), None)
    if name is None:  # a rule between fields, whose message names them
        return details["msg"].removeprefix(RULE)
    if details["type"] == "value_error":  # a rule of ours, whose message says what is wrong
        return f"{variables.shown(name)}: {details['msg'].removeprefix(RULE)}"
    return f"{variables.shown(name)} must be {allowed_in_words(fields[name])}"
