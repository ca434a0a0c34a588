"""What a settings field says of itself: its variable, choices, bounds, default and secrecy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

KINDS = {int: "a whole number", float: "a number", bool: "1 or 0"}


def section_of(field: FieldInfo) -> type[BaseModel]:
    """The section that a field of the settings class holds."""
    assert isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    return field.annotation


def fields_by_variable(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    """Every variable below a settings class or section, with its field, in the order of declaration."""
    for field in model.model_fields.values():
        if field.validation_alias:
            yield str(field.validation_alias), field
        else:
            yield from fields_by_variable(section_of(field))


def is_secret(field: FieldInfo) -> bool:
    """Whether the field's values must never be shown."""
    return SecretStr.__name__ in str(field.annotation)


def allowed_in_words(field: FieldInfo) -> str:
    """What the field takes, to be read after "must be"."""
    if choices := _choices(field):
        return f"one of {', '.join(choices)}"
    kind, limits = KINDS.get(_kind(field), "text"), _range_in_words(field)
    return f"{kind}, {limits}" if limits else kind


def limits_in_words(field: FieldInfo) -> str:
    """The choices or the range as a sentence; empty where the description says it all."""
    words = allowed_in_words(field) if _choices(field) else _range_in_words(field)
    return f"{words[0].upper()}{words[1:]}." if words else ""


def unset_in_words(field: FieldInfo) -> str | None:
    """What happens without a value, for fields whose default is not a value of its own."""
    extra = field.json_schema_extra
    unset = extra.get("unset") if isinstance(extra, dict) else None
    return unset if isinstance(unset, str) else None


def as_variable(value: Any) -> str:
    """A value as it would be written in the environment."""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, Mapping):
        return ",".join(f"{key}={as_variable(item)}" for key, item in value.items())
    if isinstance(value, tuple):
        return ",".join(as_variable(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _kind(field: FieldInfo) -> Any:
    """The annotated type without `None`."""
    if get_origin(field.annotation) in (Union, UnionType):
        return next(kind for kind in get_args(field.annotation) if kind is not NoneType)
    return field.annotation


def _choices(field: FieldInfo) -> tuple[str, ...]:
    return get_args(_kind(field)) if get_origin(_kind(field)) is Literal else ()


def _range_in_words(field: FieldInfo) -> str:
    bounds = {name: getattr(rule, name) for rule in field.metadata for name in ("ge", "le") if hasattr(rule, name)}
    if "ge" in bounds and "le" in bounds:
        return f"from {as_variable(bounds['ge'])} to {as_variable(bounds['le'])}"
    return f"at least {as_variable(bounds['ge'])}" if "ge" in bounds else ""
