"""Whether the branches of a `oneOf` exclude each other, so that it means the same as `anyOf`, which is enforced."""

from __future__ import annotations

from itertools import combinations
from typing import Any, NamedTuple

from backends.constraints.references import definition_of

Schema = dict[str, Any]

_LONGEST_CHAIN = 16
_MOST_COMPARISONS = 100_000
_OBJECT = frozenset(("object",))
_TYPE_NAMES = {str: "string", bool: "boolean", int: "number", float: "number", list: "array", dict: "object"}


class _Facts(NamedTuple):
    """What is certain about the values of a schema; `None` where nothing is."""

    schema: Schema
    types: frozenset[str] | None
    constants: frozenset[Any] | None


class Comparison:
    """Compares the branches of one schema's `oneOf`s, up to a bounded effort for all of them."""

    def __init__(self, definitions: Schema) -> None:
        self._definitions = definitions
        self._left = _MOST_COMPARISONS
        self._known: dict[int, _Facts] = {}

    def exclude_each_other(self, branches: list[Any]) -> bool:
        """Whether no value belongs to two of the branches; false also where that is not easily seen."""
        facts = [self._facts(branch) for branch in branches]
        return all(
            self._left > 0 and (self._differ(one, other) or self._differ_in_a_property(one, other))
            for one, other in combinations(facts, 2)
        )

    def _facts(self, schema: Any) -> _Facts:
        for _ in range(_LONGEST_CHAIN):
            if isinstance(schema, dict) and "$ref" in schema:
                schema = definition_of(schema["$ref"], self._definitions)
        if (known := self._known.get(id(schema))) is None:
            known = self._known[id(schema)] = _facts(schema)
        return known

    def _differ(self, one: _Facts, other: _Facts) -> bool:
        self._left -= 1
        if frozenset() in (one.types, other.types):
            return True
        if one.types is not None and other.types is not None and one.types.isdisjoint(other.types):
            return True
        if one.constants is None or other.constants is None:
            return False
        return one.constants.isdisjoint(other.constants)

    def _differ_in_a_property(self, one: _Facts, other: _Facts) -> bool:
        """A property that one of two objects requires is in every object that belongs to both."""
        if one.types is None or other.types is None or one.types & other.types != _OBJECT:
            return False
        for name in dict.fromkeys((*one.schema.get("required", ()), *other.schema.get("required", ()))):
            if self._left <= 0:
                return False
            if self._differ(self._facts(_property(one.schema, name)), self._facts(_property(other.schema, name))):
                return True
        return False


def _facts(schema: Any) -> _Facts:
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


def _property(schema: Schema, name: str) -> Any:
    if name in schema.get("properties", {}):
        return schema["properties"][name]
    return True if "patternProperties" in schema else schema.get("additionalProperties", True)
