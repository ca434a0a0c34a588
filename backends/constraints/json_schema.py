"""JSON schemas: bounded, and rewritten so that the compiler sees only keywords that it enforces.

What a schema may hold is a closed list. An annotation is left out, a keyword of the list is checked and kept, and any
other is refused by name: a constraint that is not enforced would be worse than none. Nothing here recurses along the
nesting of a request's schema.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import msgspec

from backends.constraints import keywords
from backends.constraints.disjoint import Comparison
from backends.constraints.endings import check_endings
from backends.constraints.limits import LIMITS
from backends.constraints.places import below, quoted, refusal
from backends.constraints.references import References
from backends.constraints.regexes import check_regex
from backends.constraints.values import check_text, check_value

Schema = dict[str, Any]

COMPILER_OPTIONS = {
    # Never a run of blanks without end, which weak models fall into: a space, or a line end with indentation.
    "whitespace_pattern": r"( |\n[ \t]{0,16})",
    # No \u escapes: they would give a property a second spelling, under which its schema does not hold.
    "json_allowed_escapes": 'nrbtf\\"',
}
"""How llguidance writes JSON."""

_SCHEMA = frozenset(("additionalProperties", "items"))
_LIST_OF_SCHEMAS = frozenset(("anyOf", "oneOf", "allOf", "prefixItems"))
_SCHEMAS_BY_NAME = frozenset(("properties", "patternProperties"))
_IDENTIFIERS = ("$id", "id")


def parse_json(text: str, place: str) -> Any:
    """A JSON text of bounded size and depth, as Python values.

    Raises:
        InvalidRequestError: it is too large or not JSON.
    """
    if len(text) > LIMITS.schema_bytes or len(text.encode(errors="replace")) > LIMITS.schema_bytes:
        raise refusal(place, f"is larger than the {LIMITS.schema_bytes} bytes that are allowed")
    try:
        return msgspec.json.decode(text)
    except RecursionError:
        raise refusal(place, f"is nested deeper than {LIMITS.schema_depth} levels") from None
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise refusal(place, f"is not JSON: {str(error)[:100]}") from None


def compiler_schema(text: str, place: str) -> str:
    """The schema of a JSON text as the compiler gets it, with nothing in it that is not enforced.

    Raises:
        InvalidRequestError: it is too large, asks for what cannot be enforced, or allows no value at all.
    """
    schema = normalise(parse_json(text, place), place)
    return msgspec.json.encode(schema | {"x-guidance": COMPILER_OPTIONS}).decode()


def normalise(schema: Any, place: str) -> Schema:
    """The schema without annotations and with its definitions gathered; errors as of `compiler_schema`."""
    if schema is True:
        return {}
    if schema is False:
        raise refusal(place, "is false, which no answer satisfies")
    if not isinstance(schema, dict):
        raise refusal(place, "must be a JSON schema: an object, or true")
    return _Rewriting(schema, place).run()


class _Task(NamedTuple):
    """A schema that is still to be read, and where its rewritten form belongs."""

    source: Any
    into: Any
    key: Any
    place: str
    depth: int


class _Rewriting:
    """Reads one schema with everything that it refers to. `todo` is what makes recursion unnecessary."""

    def __init__(self, root: Schema, place: str) -> None:
        self._place = place
        self._references = References(root, place)
        self._todo: list[_Task] = []
        self._either_or: list[tuple[Schema, str]] = []
        self._schemas = self._values = 0
        self._divisor = 1
        self._result: Schema = {}
        self._todo.append(_Task(root, self._result, "root", place, 0))

    def run(self) -> Schema:
        definitions: Schema = {}
        while self._todo:
            self._read(self._todo.pop())
            for name, target, place in self._references.take_new():
                self._todo.append(_Task(target, definitions, name, place, 0))
        comparison = Comparison(definitions)
        for schema, place in self._either_or:
            if not comparison.exclude_each_other(schema["oneOf"]):
                raise refusal(place, "has branches that may hold at once, which is not enforced; use 'anyOf'")
            _rename(schema, "oneOf", "anyOf")
        root: Schema = self._result["root"]
        check_endings(root, definitions, self._references.places)
        return root | {"$defs": definitions} if definitions else root

    def _read(self, task: _Task) -> None:
        self._schemas += 1
        if self._schemas > LIMITS.schemas:
            raise refusal(self._place, f"consists of more than {LIMITS.schemas} schemas")
        if task.depth > LIMITS.schema_depth:
            raise refusal(task.place, f"is nested deeper than {LIMITS.schema_depth} levels")
        if isinstance(task.source, bool):
            task.into[task.key] = task.source
            return
        if not isinstance(task.source, dict):
            raise refusal(task.place, "must be a schema: an object, true or false")
        schema: Schema = {}
        task.into[task.key] = schema
        for keyword, value in task.source.items():
            self._read_keyword(keyword, value, schema, task)
        _settle_property_counts(schema, task.source, task.place)
        if "oneOf" in schema:
            self._either_or.append((schema, below(task.place, "oneOf")))

    def _read_keyword(self, keyword: str, value: Any, schema: Schema, task: _Task) -> None:
        place = below(task.place, keyword)
        if keyword in keywords.SIMPLE:
            schema[keyword] = keywords.SIMPLE[keyword](value, place)
            if keyword == "multipleOf":
                self._count_divisor(schema[keyword], place)
        elif (modern := _modern(keyword, task.source)) in _SCHEMA:
            self._todo.append(_Task(value, schema, modern, place, task.depth + 1))
            schema[modern] = None  # holds the place: properties come in the order of the keywords
        elif modern in _LIST_OF_SCHEMAS:
            self._list_of_schemas(modern, value, schema, task, place)
        elif keyword in _SCHEMAS_BY_NAME:
            self._schemas_by_name(keyword, value, schema, task, place)
        elif keyword == "$ref":
            schema["$ref"] = self._references.resolve(value, place)
        elif keyword in ("const", "enum"):
            schema[keyword] = self._constants(keyword, value, place)
        elif not _says_nothing(keyword, value, task.place == self._place):
            raise refusal(task.place, f"has the keyword {quoted(keyword)}, which is not enforced; leave it out")

    def _list_of_schemas(self, keyword: str, value: Any, schema: Schema, task: _Task, place: str) -> None:
        if not isinstance(value, list) or not (value or keyword == "prefixItems"):
            raise refusal(place, "must be a list of schemas")
        schema[keyword] = members = [None] * len(value)
        self._todo += [
            _Task(item, members, index, below(place, index), task.depth + 1) for index, item in enumerate(value)
        ]

    def _schemas_by_name(self, keyword: str, value: Any, schema: Schema, task: _Task, place: str) -> None:
        most = LIMITS.properties if keyword == "properties" else LIMITS.pattern_properties
        if not isinstance(value, dict):
            raise refusal(place, "must be an object of schemas")
        if len(value) > most:
            raise refusal(place, f"has {len(value)} members; at most {most} are allowed")
        check = check_text if keyword == "properties" else check_regex
        for name in value:
            check(name, below(place, name))
        schema[keyword] = members = dict.fromkeys(value)
        self._todo += [_Task(item, members, name, below(place, name), task.depth + 1) for name, item in value.items()]

    def _constants(self, keyword: str, value: Any, place: str) -> Any:
        if keyword == "enum" and not (isinstance(value, list) and value):
            raise refusal(place, "must be a list of values")
        if keyword == "enum" and sum(isinstance(item, list | dict) for item in value) > LIMITS.nested_values:
            raise refusal(place, f"has more than {LIMITS.nested_values} arrays and objects")
        self._values += check_value(value, place)
        if self._values > LIMITS.values:
            raise refusal(place, f"brings the constants of the schema to more than {LIMITS.values} values")
        return value

    def _count_divisor(self, number: float, place: str) -> None:
        # Two of them may have to hold at once, and their automaton has as many states as their common multiple.
        self._divisor = math.lcm(self._divisor, keywords.digits_of(number))
        if self._divisor > LIMITS.divisor:
            raise refusal(place, f"brings the common multiple of all 'multipleOf' above {LIMITS.divisor}")


def _modern(keyword: str, source: Schema) -> str:
    """The name, since 2020, of what `items` and `additionalItems` meant together."""
    if not isinstance(source.get("items"), list) or "prefixItems" in source:
        return keyword
    return {"items": "prefixItems", "additionalItems": "items"}.get(keyword, keyword)


def _says_nothing(keyword: str, value: Any, is_root: bool) -> bool:
    if keyword in keywords.ANNOTATIONS or keyword.startswith("x-"):
        return True
    if keyword in _IDENTIFIERS:  # below the root it would change what references mean
        return is_root and isinstance(value, str)
    return keyword in ("uniqueItems", "nullable") and value is False


def _settle_property_counts(schema: Schema, source: Schema, place: str) -> None:
    """Leave bounds out that hold anyway, and refuse those that would not be enforced.

    Names that a schema does not list can come twice, and then count once; so at most one of them can be asked for.
    """
    least, most = schema.get("minProperties", 0), schema.get("maxProperties")
    required = len(schema.get("required", ()))
    named = len({*schema.get("properties", ()), *schema.get("required", ())})
    closed = source.get("additionalProperties") is False and "patternProperties" not in schema
    if least <= required:
        schema.pop("minProperties", None)
    if most is not None and closed and most >= named:
        schema.pop("maxProperties")
    if "minProperties" not in schema and "maxProperties" not in schema:
        return
    if least > required + 1:
        raise refusal(below(place, "minProperties"), "asks for several properties that are not required by name")
    one_of_them = closed and most in (None, required + 1) and named - required <= LIMITS.either_or_properties
    if named > required and not one_of_them:
        raise refusal(
            place,
            "bounds the number of properties; that is enforced where all named ones are required, or where one of at"
            f" most {LIMITS.either_or_properties} can come and 'additionalProperties' is false",
        )


def _rename(schema: Schema, old: str, new: str) -> None:
    members = [(new if keyword == old else keyword, value) for keyword, value in schema.items()]
    schema.clear()
    schema.update(members)
