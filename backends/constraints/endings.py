"""How a rewritten schema hangs together: how deep a compiler goes into it, and whether its values come to an end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from backends.constraints.closure import Closure
from backends.constraints.limits import LIMITS
from backends.constraints.places import refusal
from backends.constraints.references import definition_of

Schema = dict[str, Any]

_SCALARS = frozenset(("null", "boolean", "integer", "number", "string"))


def check_endings(root: Schema, definitions: Schema, places: Mapping[str, str]) -> None:
    """Refuse a schema that is too deep, or that refers to itself in such a way that no value of it ends.

    Raises:
        InvalidRequestError: naming the definition at fault, by its place in `places`.
    """
    order = _inside_out(root, definitions, places)
    sayings = _Sayings(order)
    for reference in order:
        sayings.add(reference, definition_of(reference, definitions))
    endless = sayings.endless()
    if endless:
        raise refusal(places[endless.rpartition("/")[2]], "allows no value that comes to an end")


def _inside_out(root: Schema, definitions: Schema, places: Mapping[str, str]) -> list[str]:
    """The references of a schema, those first that others lead to, in the order in which a compiler finishes them.

    A compiler recurses into the target of a reference when it meets it for the first time, so that definitions that
    refer to one another are as deep as one schema that nests them all.
    """
    order: list[str] = []
    seen: set[str] = set()
    path: list[tuple[str, Iterator[Any]]] = [("", _inner(root))]
    while path:
        reference, inner = path[-1]
        found = next(inner, None)
        if found is None:
            path.pop()
            order += [reference] if reference else []
        elif isinstance(found, str):
            if found not in seen:
                seen.add(found)
                path.append((found, _inner(definition_of(found, definitions))))
        else:
            path.append(("", _inner(found)))
        if len(path) > LIMITS.schema_descent:
            place = next(iter(places.values()), "")
            raise refusal(place, f"leads through more than {LIMITS.schema_descent} schemas within schemas")
    return order


def _inner(schema: Any) -> Iterator[Any]:
    """What stands directly in a schema: references as texts, schemas as they are."""
    if not isinstance(schema, dict):
        return
    if "$ref" in schema:
        yield schema["$ref"]
    for keyword in ("properties", "patternProperties"):
        yield from schema.get(keyword, {}).values()
    for keyword in ("prefixItems", "anyOf", "oneOf", "allOf"):
        yield from schema.get(keyword, ())
    for keyword in ("items", "additionalProperties"):
        if keyword in schema:
            yield schema[keyword]


class _Sayings:
    """When values of schemas can be finite: each schema is a statement that others give the grounds of."""

    def __init__(self, references: Sequence[str]) -> None:
        self._closure = Closure()
        self._references = {reference: self._closure.statement(needs=1) for reference in references}

    def add(self, reference: str, schema: Any) -> None:
        """Say what a reference stands for."""
        self._closure.ground(self._schema(schema), self._references[reference])

    def endless(self) -> str:
        """The first reference of which no value ends, or nothing. Comes last."""
        self._closure.close()
        unproven = (name for name, number in self._references.items() if not self._closure.holds(number))
        return next(unproven, "")

    def _all(self, grounds: Sequence[int]) -> int:
        return self._said(grounds, needs=len(grounds))

    def _any(self, grounds: Sequence[int]) -> int:
        return self._said(grounds, needs=1)

    def _said(self, grounds: Sequence[int], needs: int) -> int:
        number = self._closure.statement(needs)
        for ground in grounds:
            self._closure.ground(ground, number)
        return number

    def _schema(self, schema: Any) -> int:
        if isinstance(schema, bool):
            return self._all(()) if schema else self._any(())
        grounds = [self._schema(member) for member in schema.get("allOf", ())]
        if "$ref" in schema:
            grounds.append(self._references[schema["$ref"]])
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                grounds.append(self._any([self._schema(member) for member in schema[keyword]]))
        if "const" not in schema and "enum" not in schema:
            grounds += self._types(schema)
        return self._all(grounds)

    def _types(self, schema: Schema) -> list[int]:
        """What has to hold so that values of some type end; nothing where scalars are allowed."""
        types = schema.get("type", "null")
        types = {types} if isinstance(types, str) else set(types)
        if types & _SCALARS:
            return []
        ways = [self._object(schema)] if "object" in types else []
        return [self._any(ways + ([self._array(schema)] if "array" in types else []))]

    def _object(self, schema: Schema) -> int:
        properties = schema.get("properties", {})
        # Where there are patterns, some pattern may allow the name.
        others = self._schema(True if "patternProperties" in schema else schema.get("additionalProperties", True))
        required = schema.get("required", ())
        return self._all([self._schema(properties[name]) if name in properties else others for name in required])

    def _array(self, schema: Schema) -> int:
        least, first = schema.get("minItems", 0), schema.get("prefixItems", [])
        grounds = [self._schema(item) for item in first[:least]]
        if least > len(first):
            grounds.append(self._schema(schema.get("items", True)))
        return self._all(grounds)
