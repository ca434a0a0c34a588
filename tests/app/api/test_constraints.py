"""What an answer must be: four dialects, one constraint."""

from __future__ import annotations

import json
from typing import Any

import pytest

from backends.types import Constraint
from tests.app.api.test_parameters import refused, sent
from tests.app.serving import engine, serving

SCHEMA = {"type": "object", "properties": {"z": {"type": "string"}, "a": {"type": "null"}}}
TEXT = json.dumps(SCHEMA)
GBNF = 'root ::= "yes" | "no"'
LARK = 'start: "yes" | "::="'


async def asked(fields: dict[str, Any]) -> Constraint | None:
    """The constraint that reaches the engine; JSON in it is written as `json.dumps` does."""
    found = (await sent(fields)).constraint
    if found is not None and found.kind in ("json_schema", "choice"):
        return Constraint(found.kind, json.dumps(json.loads(found.value)), found.param)
    return found


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"response_format": {"type": "json_object"}}, Constraint("json_object", "", "response_format")),
        (
            {"response_format": {"type": "json_object", "schema": SCHEMA}},
            Constraint("json_schema", TEXT, "response_format.schema"),
        ),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "schema": SCHEMA, "strict": True},
                }
            },
            Constraint("json_schema", TEXT, "response_format.json_schema.schema"),
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA, "description": "d"}}},
            Constraint("json_schema", TEXT, "response_format.json_schema.schema"),
        ),
        ({"guided_json": SCHEMA}, Constraint("json_schema", TEXT, "guided_json")),
        ({"guided_json": TEXT}, Constraint("json_schema", TEXT, "guided_json")),
        ({"guided_regex": "[a-z]+"}, Constraint("regex", "[a-z]+", "guided_regex")),
        ({"guided_choice": ["yes", "é"]}, Constraint("choice", '["yes", "\\u00e9"]', "guided_choice")),
        ({"guided_grammar": GBNF}, Constraint("gbnf", GBNF, "guided_grammar")),
        ({"guided_grammar": LARK}, Constraint("lark", LARK, "guided_grammar")),
        ({"structured_outputs": {"json": SCHEMA}}, Constraint("json_schema", TEXT, "structured_outputs.json")),
        ({"structured_outputs": {"regex": "a"}}, Constraint("regex", "a", "structured_outputs.regex")),
        ({"structured_outputs": {"choice": ["a"]}}, Constraint("choice", '["a"]', "structured_outputs.choice")),
        ({"structured_outputs": {"grammar": GBNF}}, Constraint("gbnf", GBNF, "structured_outputs.grammar")),
        (
            {"structured_outputs": {"json_object": True}},
            Constraint("json_object", "", "structured_outputs.json_object"),
        ),
        ({"grammar": "# comment\n  " + GBNF}, Constraint("gbnf", "# comment\n  " + GBNF, "grammar")),
        ({"json_schema": SCHEMA}, Constraint("json_schema", TEXT, "json_schema")),
    ],
)
async def test_every_dialect_reaches_the_engine(fields: dict[str, Any], expected: Constraint) -> None:
    assert await asked(fields) == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"response_format": None},
        {"response_format": {"type": "text"}},
        {"response_format": {"type": "text", "json_schema": None}},
        {"structured_outputs": {"json_object": False, "json": None}},
        {"guided_json": None, "guided_regex": None, "guided_choice": None, "guided_grammar": None},
        {"grammar": "", "json_schema": None},
    ],
)
async def test_what_asks_for_nothing_is_no_constraint(fields: dict[str, Any]) -> None:
    assert await asked(fields) is None


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"response_format": "json"}, "response_format"),
        ({"response_format": {}}, "response_format.type"),
        ({"response_format": {"type": "json"}}, "response_format.type"),
        ({"response_format": {"type": "structural_tag"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n"}}},
            "response_format.json_schema.schema",
        ),
        ({"response_format": {"type": "text", "json_schema": {"schema": {}}}}, "response_format.json_schema"),
        ({"response_format": {"type": "json_object", "json_schema": {"schema": {}}}}, "response_format.json_schema"),
        ({"response_format": {"type": "json_schema", "schema": {}}}, "response_format.schema"),
        ({"response_format": {"type": "json_object", "strict": True}}, "response_format.strict"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {}, "lenient": True}}},
            "response_format.json_schema.lenient",
        ),
        ({"guided_regex": 1}, "guided_regex"),
        ({"guided_choice": "yes"}, "guided_choice"),
        ({"guided_choice": ["yes", 1]}, "guided_choice[1]"),
        ({"structured_outputs": {"whitespace_pattern": "x"}}, "structured_outputs.whitespace_pattern"),
        ({"structured_outputs": {}}, "structured_outputs"),
        ({"structured_outputs": {"regex": None, "json": None}}, "structured_outputs"),
        ({"structured_outputs": {"regex": 1}}, "structured_outputs.regex"),
        ({"grammar": ["x"]}, "grammar"),
    ],
)
async def test_a_wrong_shape_is_refused_by_its_place(fields: dict[str, Any], param: str) -> None:
    assert (await refused(fields))["param"] == param


@pytest.mark.parametrize(
    ("fields", "both"),
    [
        ({"response_format": {"type": "json_object"}, "guided_regex": "a"}, ("response_format", "guided_regex")),
        ({"guided_choice": ["a"], "grammar": GBNF}, ("guided_choice", "grammar")),
        (
            {"structured_outputs": {"regex": "a", "json_object": True}},
            ("structured_outputs.regex", "structured_outputs.json_object"),
        ),
        ({"json_schema": {}, "guided_json": {}}, ("guided_json", "json_schema")),
    ],
)
async def test_two_constraints_exclude_each_other(fields: dict[str, Any], both: tuple[str, str]) -> None:
    error = await refused(fields)
    assert all(f"'{name}'" in error["message"] for name in both)
    assert error["param"] == both[1]


async def test_text_completions_take_the_same_fields() -> None:
    double = engine()
    async with serving(double) as client:
        answer = await client.post("/v1/completions", {"prompt": "Hi", "guided_regex": "a"})
    assert answer.status == 200
    assert double.requests[0].constraint == Constraint("regex", "a", "guided_regex")


async def test_the_order_of_a_schema_survives() -> None:
    found = (await sent({"guided_json": SCHEMA})).constraint
    assert found is not None
    assert list(json.loads(found.value)["properties"]) == ["z", "a"]


async def test_the_fields_are_documented() -> None:
    async with serving(engine()) as client:
        document = (await client.get("/openapi.json")).json
    fields = document["components"]["schemas"]["ChatBody"]["properties"]
    assert {"response_format", "guided_json", "structured_outputs", "grammar", "json_schema"} <= fields.keys()
