"""Whether the branches of a `oneOf` exclude each other, so that it means the same as `anyOf`, which is enforced."""

from __future__ import annotations

from itertools import combinations
from typing import Any, NamedTuple

from backends.constraints.references import definition_of

Schema = dict[str, Any]

_MOST_BRANCHES = 64
_LONGEST_CHAIN = 16
_DEEPEST_PROPERTY = 3
_OBJECT = frozenset(("object",))
_TYPE_NAMES = {str: "string", bool: "boolean", int: "number", float: "number", list: "array", dict: "object"}


class _Facts(NamedTuple):
    """What is certain about the values of a schema; `None` where nothing is."""

    schema: Schema
    types: frozenset[str] | None
    constants: frozenset[Any] | None


def exclude_each_other(branches: list[Any], definitions: Schema) -> bool:
    """Whether no value belongs to two of the branches; false also where that is not easily seen."""
    if len(branches) > _MOST_BRANCHES:
        return False
    facts = [_facts(branch, definitions) for branch in branches]
    return all(_exclude(one, other, definitions, _DEEPEST_PROPERTY) for one, other in combinations(facts, 2))


def _facts(schema: Any, definitions: Schema) -> _Facts:
    for _ in range(_LONGEST_CHAIN):
        if isinstance(schema, dict) and "$ref" in schema:
            schema = definition_of(schema["$ref"], definitions)
    if not isinstance(schema, dict):
        return _Facts({}, None if schema else frozenset(), None)
    values = [schema["const"]] if "const" in schema else schema.get("enum", [])
    types = schema.get("type")
    if types is not None:
        names = [types] if isinstance(types, str) else types
        known = frozenset("number" if name == "integer" else name for name in names)
    else:
        known = frozenset(_TYPE_NAMES.get(type(value), "null") for value in values)
    comparable = values and not any(isinstance(value, list | dict) for value in values)
    return _Facts(schema, known or None, frozenset(values) if comparable else None)


def _exclude(one: _Facts, other: _Facts, definitions: Schema, depth: int) -> bool:
    if not (one.types is None or other.types is None) and not one.types & other.types:
        return True
    if frozenset() in (one.types, other.types):
        return True
    if not (one.constants is None or other.constants is None) and not one.constants & other.constants:
        return True
    if one.types is None or other.types is None or one.types & other.types != _OBJECT or not depth:
        return False
    # A property that one of them requires is in every object that belongs to both.
    required = {*one.schema.get("required", ()), *other.schema.get("required", ())}
    return any(
        _exclude(
            _facts(_property(one.schema, name), definitions),
            _facts(_property(other.schema, name), definitions),
            definitions,
            depth - 1,
        )
        for name in required
    )


def _property(schema: Schema, name: str) -> Any:
    if name in schema.get("properties", {}):
        return schema["properties"][name]
    return True if "patternProperties" in schema else schema.get("additionalProperties", True)
