"""How a rewritten schema hangs together: how deep a compiler goes into it, and whether its values come to an end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

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
    ending: set[str] = set()
    waiting = _inside_out(root, definitions, places)
    while waiting:
        still = []
        for reference in waiting:
            if _ends(definition_of(reference, definitions), ending):
                ending.add(reference)
            else:
                still.append(reference)
        if len(still) == len(waiting):
            raise refusal(places[still[0].rpartition("/")[2]], "allows no value that comes to an end")
        waiting = still


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


def _ends(schema: Any, ending: set[str]) -> bool:
    """Whether a value of the schema can be finite, if values of the references in `ending` can."""
    if isinstance(schema, bool):
        return schema
    if "$ref" in schema and schema["$ref"] not in ending:
        return False
    if not all(_ends(member, ending) for member in schema.get("allOf", ())):
        return False
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema and not any(_ends(member, ending) for member in schema[keyword]):
            return False
    return "const" in schema or "enum" in schema or _some_type_ends(schema, ending)


def _some_type_ends(schema: Schema, ending: set[str]) -> bool:
    types = schema.get("type", "null")
    types = {types} if isinstance(types, str) else set(types)
    if types & _SCALARS:
        return True
    return ("object" in types and _object_ends(schema, ending)) or ("array" in types and _array_ends(schema, ending))


def _object_ends(schema: Schema, ending: set[str]) -> bool:
    properties, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    if "patternProperties" in schema:
        others = True  # some pattern may allow the name
    return all(_ends(properties.get(name, others), ending) for name in schema.get("required", ()))


def _array_ends(schema: Schema, ending: set[str]) -> bool:
    least, first = schema.get("minItems", 0), schema.get("prefixItems", [])
    if least > len(first) and not _ends(schema.get("items", True), ending):
        return False
    return all(_ends(item, ending) for item in first[:least])
