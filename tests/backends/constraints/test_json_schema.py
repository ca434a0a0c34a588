"""JSON schemas: what is enforced, what says nothing, and what is refused by its place."""

from __future__ import annotations

import json
from typing import Any

import pytest

from backends.constraints import LIMITS
from tests.backends.constraints.asking import PLACE, checked, refused, schema

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "minLength": 1}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def nested(depth: int) -> dict[str, Any]:
    inner: dict[str, Any] = {"type": "null"}
    for _ in range(depth):
        inner = {"items": inner}
    return inner


def chained(length: int) -> dict[str, Any]:
    """Definitions that lead into one another."""
    definitions = {f"n{i}": {"properties": {"a": {"$ref": f"#/$defs/n{i + 1}"}}} for i in range(length)}
    return {"$defs": definitions | {f"n{length}": {}}, "$ref": "#/$defs/n0"}


def test_what_is_enforced_stays_as_it_is() -> None:
    assert schema(PERSON) == PERSON


def test_properties_keep_their_order() -> None:
    names = ["z", "a", "m"]
    assert list(schema({"properties": {name: {} for name in names}})["properties"]) == names


def test_a_schema_that_allows_everything_may_be_true() -> None:
    assert schema(True) == {}


def test_a_request_does_not_choose_the_options_of_the_compiler() -> None:
    theirs = {"x-guidance": {"lenient": True, "whitespace_pattern": ".*"}}
    assert checked("json_schema", theirs).value == checked("json_schema", {}).value


@pytest.mark.parametrize(
    "annotation",
    [
        {"title": "T"},
        {"description": "d", "default": 1, "examples": [2]},
        {"$schema": "http://json-schema.org/draft-07/schema#"},
        {"$id": "https://example.com/it", "$comment": "c"},
        {"readOnly": True, "deprecated": False},
        {"discriminator": {"propertyName": "kind"}},
        {"x-order": 3},
        {"uniqueItems": False},
        {"$defs": {"unused": {"whatever": 1}}},
    ],
)
def test_annotations_are_left_out(annotation: dict[str, Any]) -> None:
    assert schema({"type": "string", **annotation}) == {"type": "string"}


@pytest.mark.parametrize(
    "keyword",
    ["not", "if", "then", "contains", "uniqueItems", "propertyNames", "dependentRequired", "unevaluatedProperties"],
)
def test_a_keyword_that_is_not_enforced_is_refused_by_name(keyword: str) -> None:
    error = refused("json_schema", {"properties": {"a": {keyword: True}}})
    assert error.param == f"{PLACE}.properties.a"
    assert repr(keyword) in error.message


@pytest.mark.parametrize("keyword", ["requried", "$dynamicRef", "nullable", "strict", "const ", "allof"])
def test_an_unknown_keyword_is_never_ignored(keyword: str) -> None:
    assert repr(keyword) in refused("json_schema", {keyword: {}}).message


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"type": "strin"}, ".type"),
        ({"type": []}, ".type"),
        ({"type": ["string", 1]}, ".type"),
        ({"enum": []}, ".enum"),
        ({"enum": "a"}, ".enum"),
        ({"required": "a"}, ".required"),
        ({"required": [1]}, ".required"),
        ({"properties": []}, ".properties"),
        ({"properties": {"a": 1}}, ".properties.a"),
        ({"properties": {"a b": {"type": 1}}}, ".properties['a b'].type"),
        ({"items": 3}, ".items"),
        ({"prefixItems": [{}, 3]}, ".prefixItems[1]"),
        ({"anyOf": []}, ".anyOf"),
        ({"anyOf": [{}, {"type": "x"}]}, ".anyOf[1].type"),
        ({"minLength": -1}, ".minLength"),
        ({"minLength": True}, ".minLength"),
        ({"maxItems": 1.5}, ".maxItems"),
        ({"maxLength": 10**9}, ".maxLength"),
        ({"minimum": "0"}, ".minimum"),
        ({"exclusiveMinimum": True}, ".exclusiveMinimum"),
        ({"minimum": 2**60}, ".minimum"),
        ({"maximum": -(10**500)}, ".maximum"),
        ({"minimum": 1e-300}, ".minimum"),
        ({"multipleOf": 0}, ".multipleOf"),
        ({"multipleOf": 1e-20}, ".multipleOf"),
        ({"multipleOf": 1000003}, ".multipleOf"),
        ({"pattern": 1}, ".pattern"),
        ({"pattern": "(?=a)"}, ".pattern"),
        ({"properties": {"a": {"pattern": "(a)\\1"}}}, ".properties.a.pattern"),
        ({"patternProperties": {"(?!a)": {}}}, ".patternProperties['(?!a)']"),
        ({"format": "phone"}, ".format"),
        ({"const": 2**60}, ".const"),
        ({"const": {"a": [1, "\x01"]}}, ".const.a[1]"),
        ({"enum": ["a", "\x7f"]}, ".enum[1]"),
        ({"properties": {"\x00": {}}}, ".properties['\\x00']"),
        ({"additionalItems": False}, ""),
        ({"properties": {"a": {"$id": "x"}}}, ".properties.a"),
    ],
)
def test_what_cannot_be_enforced_is_refused_by_its_place(value: Any, place: str) -> None:
    assert refused("json_schema", value).param == PLACE + place


@pytest.mark.parametrize("text", ["", "{", "nonsense", '{"a": NaN}', '"\ud800"', '{"const": 1e999}', "[" * 100_000])
def test_what_is_not_json_is_refused(text: str) -> None:
    assert refused("json_schema", text).param == PLACE


@pytest.mark.parametrize("value", [False, None, 1, "text", []])
def test_what_is_no_schema_is_refused(value: Any) -> None:
    assert refused("json_schema", json.dumps(value)).param == PLACE


def test_bounds_beyond_exact_numbers_are_narrowed() -> None:
    wide = {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}
    assert schema(wide) == {"type": "integer", "minimum": -(2**53), "maximum": 2**53}


def test_arrays_of_the_older_drafts_are_understood() -> None:
    old = {"items": [{"type": "string"}, {"type": "null"}], "additionalItems": False}
    assert schema(old) == {"prefixItems": [{"type": "string"}, {"type": "null"}], "items": False}


class TestReferences:
    def test_definitions_are_gathered_under_short_names(self) -> None:
        found = schema({"definitions": {"a/b": {"type": "null"}}, "properties": {"x": {"$ref": "#/definitions/a~1b"}}})
        assert found == {"properties": {"x": {"$ref": "#/$defs/d0"}}, "$defs": {"d0": {"type": "null"}}}

    def test_a_place_that_two_references_name_is_one_definition(self) -> None:
        one, other = {"$ref": "#/$defs/a"}, {"$ref": "#/%24defs/a"}
        assert len(schema({"$defs": {"a": {}}, "anyOf": [one, other]})["$defs"]) == 1

    def test_recursion_that_can_end_is_fine(self) -> None:
        tree = {"type": "object", "properties": {"left": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}}
        assert "$defs" in schema(tree | {"required": ["left"]})

    @pytest.mark.parametrize(
        "endless",
        [
            {"$ref": "#"},
            {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
            {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
            {"type": "array", "items": {"$ref": "#"}, "minItems": 1},
            {"type": "array", "prefixItems": [{}, {"$ref": "#"}], "minItems": 2},
            {"type": "object", "required": ["x"], "additionalProperties": {"allOf": [{"$ref": "#"}, {}]}},
            {"type": "object", "properties": {"a": {"anyOf": [{"$ref": "#"}]}}, "required": ["a"]},
        ],
    )
    def test_recursion_without_an_end_is_refused(self, endless: dict[str, Any]) -> None:
        assert "comes to an end" in refused("json_schema", endless).message

    @pytest.mark.parametrize(
        "reference",
        ["http://example.com/x", "other.json", "#name", "#/nowhere", "#/$defs/a/b", "#/$defs/l/7", "#/$defs/l/x", 1],
    )
    def test_a_reference_that_leads_nowhere_is_refused(self, reference: Any) -> None:
        document = {"$defs": {"a": {}, "l": [{}]}, "items": {"$ref": reference}}
        assert refused("json_schema", document).param == f"{PLACE}.items.$ref"

    def test_what_a_reference_names_is_checked_wherever_it_stands(self) -> None:
        document = {"examples": [{"not": {}}], "$ref": "#/examples/0"}
        error = refused("json_schema", document)
        assert (error.param, "'not'" in error.message) == (f"{PLACE}.examples[0]", True)


class TestOneOf:
    @pytest.mark.parametrize(
        "branches",
        [
            [{"type": "string"}, {"type": "integer"}],
            [{"const": "a"}, {"enum": ["b", 1]}],
            [{"const": True}, {"const": 1}],
            [{"type": "object"}, {"$ref": "#/$defs/text"}],
            [{"$ref": "#/$defs/cat"}, {"$ref": "#/$defs/dog"}],
            [{"$ref": "#/$defs/cat"}, {"type": "object", "properties": {"kind": {"const": "other"}}}],
            [{"type": "null"}],
            [{"type": "object", "required": ["a"]}, {"type": "object", "additionalProperties": False}],
        ],
    )
    def test_branches_that_exclude_each_other_are_alternatives(self, branches: list[Any]) -> None:
        kinds = {
            kind: {"type": "object", "properties": {"kind": {"const": kind}}, "required": ["kind"]}
            for kind in ("cat", "dog")
        }
        found = schema({"$defs": {**kinds, "text": {"type": "string"}}, "oneOf": branches})
        assert len(found["anyOf"]) == len(branches)
        assert "oneOf" not in found

    @pytest.mark.parametrize(
        "branches",
        [
            [{"type": "number"}, {"type": "integer"}],
            [{"type": "string", "minLength": 2}, {"type": "string", "maxLength": 3}],
            [{}, {"type": "null"}],
            [
                {"type": "object", "properties": {"k": {"const": 1}}},
                {"type": "object", "properties": {"k": {"const": 2}}},
            ],
            [{"enum": [1, 2]}, {"enum": [2.0, 3]}],
        ],
    )
    def test_branches_that_may_hold_at_once_are_refused(self, branches: list[Any]) -> None:
        error = refused("json_schema", {"items": {"oneOf": branches}})
        assert error.param == f"{PLACE}.items.oneOf"

    def test_comparing_has_an_end(self) -> None:
        branches = [{"const": i} for i in range(3_000)]
        assert "at once" in refused("json_schema", {"oneOf": branches}).message


class TestNumbersOfProperties:
    @pytest.mark.parametrize(
        ("value", "kept"),
        [
            ({"required": ["a"], "minProperties": 1}, set()),
            ({"properties": {"a": {}}, "additionalProperties": False, "maxProperties": 3}, set()),
            ({"minProperties": 1}, {"minProperties"}),
            ({"maxProperties": 5}, {"maxProperties"}),
            ({"properties": {"a": {}, "b": {}}, "additionalProperties": False, "minProperties": 1}, {"minProperties"}),
        ],
    )
    def test_bounds_that_hold_anyway_are_left_out(self, value: dict[str, Any], kept: set[str]) -> None:
        assert {"minProperties", "maxProperties"} & schema(value).keys() == kept

    @pytest.mark.parametrize(
        "value",
        [
            {"minProperties": 2},
            {"properties": {"a": {}, "b": {}}, "minProperties": 1},
            {"properties": {"a": {}, "b": {}, "c": {}}, "additionalProperties": False, "maxProperties": 2},
            {"properties": {f"p{i}": {} for i in range(40)}, "additionalProperties": False, "minProperties": 1},
        ],
    )
    def test_bounds_that_are_not_enforced_are_refused(self, value: dict[str, Any]) -> None:
        assert "ropert" in refused("json_schema", value).message


@pytest.mark.parametrize(
    "bomb",
    [
        nested(LIMITS.schema_depth + 1),
        nested(400),
        chained(LIMITS.schema_descent),
        {"anyOf": [{}] * (LIMITS.schemas + 1)},
        {"properties": {f"p{i}": {} for i in range(LIMITS.properties + 1)}},
        {"required": [f"p{i}" for i in range(LIMITS.properties + 1)]},
        {"patternProperties": {f"^{i}": {} for i in range(LIMITS.pattern_properties + 1)}},
        {"enum": list(range(LIMITS.values + 1))},
        {"enum": [[i] for i in range(LIMITS.nested_values + 1)]},
        {"const": "a" * (LIMITS.text_characters + 1)},
        {"const": json.loads("[" * 20 + "]" * 20)},
        {"properties": {"a" * (LIMITS.text_characters + 1): {}}},
        {"description": "a" * LIMITS.schema_bytes},
        {"prefixItems": [{"multipleOf": 997}, {"multipleOf": 991}]},
        {"$ref": "#" + "/a" * 2_000},
    ],
)
def test_bombs_are_refused(bomb: dict[str, Any]) -> None:
    assert refused("json_schema", bomb).param


@pytest.mark.parametrize(
    "large",
    [
        nested(LIMITS.schema_depth),
        chained(LIMITS.schema_descent // 2 - 1),
        {"properties": {f"p{i}": {"type": "integer"} for i in range(LIMITS.properties)}},
        {"enum": list(range(LIMITS.values - 1))},
        {"const": "a" * LIMITS.text_characters},
    ],
)
def test_large_schemas_within_the_limits_are_fine(large: dict[str, Any]) -> None:
    assert checked("json_schema", large).kind == "json_schema"


def test_a_long_place_is_shortened() -> None:
    error = refused("json_schema", {"properties": {"a" * 3_000: {"properties": {"b" * 3_000: {"type": "x"}}}}})
    assert len(error.param or "") <= 201
    assert (error.param or "").endswith(".type")
