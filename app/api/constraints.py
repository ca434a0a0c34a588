"""What an answer must be: the fields of several dialects, translated into the engine's one constraint.

Only their shape is looked at here. Whether a schema or a grammar can be enforced is found out by the engine's worker,
where it does not hold up other requests.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from app.api.body import shortened
from app.api.wire import Anything, Constraints, ResponseFormat, StructuredOutputs
from backends.base import InvalidRequestError
from backends.types import Constraint

_GBNF_RULE = re.compile(r"^[ \t]*[A-Za-z0-9_-]+[ \t]*::=", re.MULTILINE)
_FORMATS = ("text", "json_object", "json_schema")


def translate_constraint(body: Constraints) -> Constraint | None:
    """The constraint that a request asks for.

    Raises:
        InvalidRequestError: several of them, or one that lacks what it consists of.
    """
    given = list(_given(body))
    if len(given) > 1:
        first, second = given[0].param, given[1].param
        raise InvalidRequestError(f"'{first}' and '{second}' exclude each other; give one of them", param=second)
    return given[0] if given else None


def _given(body: Constraints) -> Iterator[Constraint]:
    if body.response_format is not None:
        yield from _response_format(body.response_format)
    if body.structured_outputs is not None:
        yield from _structured_outputs(body.structured_outputs)
    yield from _schema(body.guided_json, "guided_json")
    yield from _regex(body.guided_regex, "guided_regex")
    yield from _choice(body.guided_choice, "guided_choice")
    yield from _grammar(body.guided_grammar, "guided_grammar")
    yield from _grammar(body.grammar or None, "grammar")  # llama-server's clients send an empty one for none
    yield from _schema(body.json_schema, "json_schema")


def _response_format(wanted: ResponseFormat) -> Iterator[Constraint]:
    place = "response_format"
    if wanted.type not in _FORMATS:
        raise InvalidRequestError(
            f"'{place}.type' must be one of {', '.join(_FORMATS)}, not '{shortened(wanted.type)}'",
            param=f"{place}.type",
        )
    schema = list(_schema(wanted.schema, f"{place}.schema"))
    if schema and wanted.type != "json_object":
        raise InvalidRequestError(f"'{place}.schema' belongs to the type json_object", param=f"{place}.schema")
    if wanted.json_schema is not None and wanted.type != "json_schema":
        raise InvalidRequestError(
            f"'{place}.json_schema' belongs to the type json_schema", param=f"{place}.json_schema"
        )
    if wanted.type == "json_object":
        yield schema[0] if schema else Constraint("json_object", param=place)
    elif wanted.type == "json_schema":
        place = f"{place}.json_schema.schema"
        inner = list(_schema(wanted.json_schema.schema, place)) if wanted.json_schema else []
        if not inner:
            raise InvalidRequestError(f"'{place}' is missing", param=place)
        yield inner[0]


def _structured_outputs(wanted: StructuredOutputs) -> Iterator[Constraint]:
    place = "structured_outputs"
    given = [
        *_schema(wanted.json, f"{place}.json"),
        *_regex(wanted.regex, f"{place}.regex"),
        *_choice(wanted.choice, f"{place}.choice"),
        *_grammar(wanted.grammar, f"{place}.grammar"),
    ]
    if wanted.json_object:
        given.append(Constraint("json_object", param=f"{place}.json_object"))
    if not given and wanted.json_object is None:
        fields = ", ".join(wanted.__struct_fields__)
        raise InvalidRequestError(f"'{place}' must have one of {fields}", param=place)
    yield from given


def _schema(value: Anything, place: str) -> Iterator[Constraint]:
    """A schema as JSON, or as a text that holds the JSON."""
    if isinstance(value, msgspec.UnsetType) or (raw := bytes(value)) == b"null":
        return
    try:
        text = msgspec.json.decode(raw, type=str) if raw.startswith(b'"') else raw.decode()
    except (UnicodeDecodeError, msgspec.DecodeError):
        raise InvalidRequestError(f"'{place}' is not JSON in UTF-8", param=place) from None
    yield Constraint("json_schema", text, place)


def _regex(value: str | None, place: str) -> Iterator[Constraint]:
    if value is not None:
        yield Constraint("regex", value, place)


def _choice(value: list[str] | None, place: str) -> Iterator[Constraint]:
    if value is not None:
        yield Constraint("choice", msgspec.json.encode(value).decode(), place)


def _grammar(value: str | None, place: str) -> Iterator[Constraint]:
    """A grammar in llama.cpp's notation, which defines rules by `::=`, or in Lark's."""
    if value is not None:
        yield Constraint("gbnf" if _GBNF_RULE.search(value) else "lark", value, place)
