"""Whatever the logits say, an answer that ends belongs to the language that the request asked for."""

from __future__ import annotations

import json
import re
import threading
from typing import Any

import jsonschema
import numpy as np
import pytest

from backends.base import EngineError, InvalidRequestError
from backends.constraints.constraining import Constrainer
from tests.backends.chat_formats.vocabularies import vocabulary
from tests.backends.constraints.constrained import (
    bundled_vocabulary,
    constrainer,
    constraint,
    draw,
    follow,
    matcher,
    may_follow,
)
from tests.backends.constraints.test_json_schema import PERSON

SEEDS = range(8)
TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "value": {"type": "integer", "minimum": -9, "maximum": 99},
                "next": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/node"}]},
            },
            "required": ["value", "next"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/node",
}
SCHEMAS: list[dict[str, Any]] = [
    PERSON,
    TREE,
    {"type": "object"},
    {},
    {"type": ["string", "null"], "maxLength": 12},
    {"type": "string", "minLength": 3, "maxLength": 5},
    {"type": "string", "pattern": "^[A-Z]{2}-\\d{3}$"},
    {"type": "string", "pattern": "b|^a"},
    {"type": "string", "format": "date"},
    {"type": "string", "format": "ipv4"},
    {"type": "integer", "minimum": -3, "exclusiveMaximum": 1000, "multipleOf": 7},
    {"type": "number", "minimum": 0.5, "maximum": 0.75},
    {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 4},
    {"type": "array", "prefixItems": [{"const": "a"}, {"type": "null"}], "items": False, "minItems": 1},
    {"enum": ["red", "green", 5, None, {"a": [1.5, "b\n"]}, True]},
    {"const": {"k": ["<|im_end|>", "</s>", "é日本"]}},
    {"type": "object", "properties": {"a": {"type": "integer"}}},
    {"type": "object", "properties": {"a": {"const": 1}, "b": {"const": 2}}, "required": ["b"]},
    {"type": "object", "patternProperties": {"^x": {"type": "integer"}}, "additionalProperties": {"type": "null"}},
    {"type": "object", "properties": {f"p{i}": {"type": "null"} for i in range(6)}, "additionalProperties": False}
    | {"minProperties": 1, "maxProperties": 1},
    {"type": "object", "additionalProperties": {"type": "integer"}, "maxProperties": 2},
    {"allOf": [{"type": "object", "properties": {"a": {"type": "integer"}}}, {"required": ["a"]}]},
    {"oneOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}, "maxItems": 2}]},
    {"type": "object", "properties": {'"\\\n': {"type": "null"}, "é ü": {"type": "null"}}, "required": ["é ü"]},
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: json.dumps(schema)[:60])
def test_an_answer_under_a_schema_is_valid_when_it_ends(schema: dict[str, Any]) -> None:
    start = matcher("json_schema", schema)
    ended = 0
    for seed in SEEDS:
        answer = draw(start.fork(), seed, hurry=5)
        if answer.ended:
            ended += 1
            jsonschema.Draft202012Validator(schema).validate(json.loads(answer.raw.decode()))
    assert ended


@pytest.mark.parametrize("limit", [1, 3, 8, 20])
def test_an_answer_that_is_cut_is_the_beginning_of_a_valid_one(limit: int) -> None:
    for seed in SEEDS:
        cut = matcher("json_schema", TREE)
        beginning = draw(cut, seed, limit)
        rest = draw(cut, seed + 100, limit=2_000)
        assert rest.ended
        jsonschema.validate(json.loads(beginning.raw + rest.raw), TREE)


def test_a_json_object_is_an_object() -> None:
    for seed in SEEDS:
        answer = draw(matcher("json_object", ""), seed, hurry=5)
        assert answer.raw.startswith(b"{")
        if answer.ended:
            assert isinstance(json.loads(answer.raw), dict)


def test_blanks_never_go_on_for_long() -> None:
    runs = [run for seed in range(30) for run in re.findall(rb"[ \t\n]+", draw(matcher("json_schema", TREE), seed).raw)]
    assert 1 < max(map(len, runs)) <= 17


@pytest.mark.parametrize(
    "pattern",
    [
        r"\d{3}-\d{4}",
        "^(yes|no)$",
        "[a-f]+@[x-z]{2,4}\\.(com|org)",
        "(?i)abc",
        "a|bc|def",
        "[^a-z]{3}",
        r"\w\W/\\",
        "é?",
    ],
)
def test_an_answer_under_a_regex_matches_it(pattern: str) -> None:
    for seed in SEEDS:
        answer = draw(matcher("regex", pattern), seed, hurry=5)
        assert answer.ended
        assert re.fullmatch(pattern, answer.raw.decode(), re.ASCII)


def test_one_of_the_choices_is_made() -> None:
    choices = ["yes", "yes, but", "no", "é日本", 'a "quoted"\nline', "</s>", "<|im_end|>"]
    made = {draw(matcher("choice", choices), seed).raw.decode() for seed in range(60)}
    assert made <= set(choices)
    assert len(made) > 3


@pytest.mark.parametrize(
    ("grammar", "pattern"),
    [
        ('start: "a" b+ "!"\nb: "x" | /[0-9]{2}/', r"a(x|[0-9]{2})+!"),
        ("start: NAME NUMBER\nNAME: /[a-z]/~2..3\nNUMBER: /[1-9]/ /[0-9]/*", "[a-z]{2,3}[1-9][0-9]*"),
        ("start[lazy]: /.*;/", "[^\n]*;"),
        ('start: "(" start ")" | "o"', r"\(*o\)*"),
    ],
)
def test_an_answer_under_a_lark_grammar_belongs_to_it(grammar: str, pattern: str) -> None:
    for seed in SEEDS:
        answer = draw(matcher("lark", grammar), seed, hurry=5)
        if answer.ended:
            assert re.fullmatch(pattern, answer.raw.decode())


def test_a_schema_inside_a_grammar_is_enforced() -> None:
    start = matcher("lark", f'start: "call " args\nargs: %json {json.dumps(PERSON)}')
    answers = [draw(start.fork(), seed).raw.decode() for seed in SEEDS]
    complete = [answer for answer in answers if answer.endswith("}")]
    assert complete
    for answer in complete:
        jsonschema.validate(json.loads(answer.removeprefix("call ")), PERSON)


@pytest.mark.parametrize(
    ("grammar", "pattern"),
    [
        ('root ::= "a" [0-9]{2} ("x" | "yz")+', "a[0-9]{2}(x|yz)+"),
        ('root ::= "(" root ")" | [a-c]', r"\(*[a-c]\)*"),
        ('root ::= [^\\x00-\\x7f] . "\\n"', "[^\x00-\x7f](?s:.)\n"),
        ('root ::= item*\nitem ::= "- " [a-z]+ "\\n"', "(- [a-z]+\n)*"),
    ],
)
def test_an_answer_under_a_gbnf_grammar_belongs_to_it(grammar: str, pattern: str) -> None:
    for seed in SEEDS:
        answer = draw(matcher("gbnf", grammar), seed, hurry=5)
        if answer.ended:
            assert re.fullmatch(pattern, answer.raw.decode())


JSON_GBNF = r"""
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws ( string ":" ws value ("," ws string ":" ws value)* )? "}" ws
array  ::= "[" ws ( value ("," ws value)* )? "]" ws
string ::= "\"" ( [^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) )* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
ws     ::= | " " | "\n" [ \t]{0,20}
"""


def test_json_by_a_grammar_is_json() -> None:
    start = matcher("gbnf", JSON_GBNF)
    assert follow(start.fork(), '{"a": [1, -2.5e3, {"b": "c\\n"}], "d": true}\n')
    for seed in SEEDS:
        answer = draw(start.fork(), seed, hurry=5)
        if answer.ended:
            json.loads(answer.raw)


class TestTheEnd:
    def test_no_end_before_the_answer_is_valid(self) -> None:
        start = matcher("regex", "[0-9]{2,3}")
        ends = bundled_vocabulary().end_of_generation
        assert len(ends) > 1
        seen = []
        for digit in "123":
            seen.append(ends & may_follow(start))
            assert follow(start, digit)
        assert seen == [set(), set(), ends]
        assert (start.accepting, start.complete) == (True, True)

    def test_where_nothing_may_follow_only_the_end_is_left(self) -> None:
        start = matcher("choice", ["yes"])
        assert follow(start, "yes")
        assert start.complete
        assert may_follow(start) == bundled_vocabulary().end_of_generation

    def test_an_answer_that_may_go_on_is_not_complete(self) -> None:
        start = matcher("choice", ["yes", "yes, but"])
        assert follow(start, "yes")
        assert (start.accepting, start.complete) == (True, False)
        assert bundled_vocabulary().end_of_generation < may_follow(start)

    def test_an_end_that_is_drawn_completes_the_answer(self) -> None:
        start = matcher("regex", "a+")
        assert follow(start, "a")
        start.accept(min(bundled_vocabulary().end_of_generation))
        assert start.complete


class TestMatchers:
    def test_forks_do_not_know_of_each_other(self) -> None:
        one = matcher("choice", ["ab", "cd"])
        other = one.fork()
        assert follow(one, "a")
        assert not follow(one, "c")
        assert follow(other, "c")

    def test_tokens_are_taken_back(self) -> None:
        start = matcher("regex", "abcd")
        before = may_follow(start)
        vocab = bundled_vocabulary()
        tokens = [token for letter in "abc" for token in vocab.encode(letter, special=False)]
        for token in tokens:
            start.accept(token)
        start.rollback(len(tokens))
        assert may_follow(start) == before
        with pytest.raises(EngineError):
            start.rollback(1)

    def test_a_complete_answer_can_be_taken_back(self) -> None:
        start = matcher("choice", ["a"])
        assert follow(start, "a")
        assert start.complete
        start.rollback(1)
        assert not start.complete

    def test_drafts_are_allowed_as_far_as_they_go(self) -> None:
        start = matcher("regex", "[a-c]{3}!")
        vocab = bundled_vocabulary()
        [a], [z] = (vocab.encode(letter, special=False) for letter in "az")
        assert start.allows([a, a, z, a]) == 2
        assert start.allows([z]) == 0
        assert start.allows([]) == 0
        assert start.allows([a, a]) == 2

    def test_a_token_that_may_not_come_ends_the_answer(self) -> None:
        start = matcher("regex", "[0-9]")
        with pytest.raises(InvalidRequestError) as caught:
            start.accept(bundled_vocabulary().encode("x", special=False)[0])
        assert caught.value.param == "response_format"
        assert not start.complete
        with pytest.raises(InvalidRequestError):
            start.mask(np.zeros(bundled_vocabulary().size, np.float32))

    def test_what_has_failed_is_compiled_anew(self) -> None:
        wanted = constraint("regex", "[0-9]x")
        constrainer().compile(wanted)
        with pytest.raises(InvalidRequestError):
            constrainer().compile(wanted).accept(0 if 0 not in bundled_vocabulary().end_of_generation else 5)
        assert follow(constrainer().compile(wanted), "1x")

    def test_masks_leave_what_is_allowed_as_it_was(self) -> None:
        logits = np.random.default_rng(0).standard_normal(bundled_vocabulary().size, np.float32)
        original = logits.copy()
        start = matcher("json_object", "")
        allowed = may_follow(start)
        start.mask(logits)
        kept = np.flatnonzero(logits > -np.inf)
        assert set(kept.tolist()) == allowed
        assert (logits[kept] == original[kept]).all()

    def test_many_uses_do_not_wear_a_constraint_out(self) -> None:
        wanted = constraint("regex", "[a-z]{5}")
        assert all(draw(constrainer().compile(wanted), seed).ended for seed in range(150))

    def test_constraints_compile_on_several_threads_at_once(self) -> None:
        fresh = Constrainer(bundled_vocabulary())
        answers: list[bytes] = []

        def work(number: int) -> None:
            matcher = fresh.compile(constraint("regex", f"[a-z]{{{number % 3 + 1}}}"))
            answers.append(draw(matcher, number).raw)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(map(len, answers)) == [1] * 4 + [2] * 4 + [3] * 4


@pytest.mark.parametrize("name", ["llama-spm", "phi-3", "llama-bpe", "deepseek-coder"])
def test_constraints_hold_for_vocabularies_of_every_kind(name: str) -> None:
    control_text = {"const": "<|im_end|> </s> [INST]  é"}
    number = {"type": "integer", "minimum": 0, "maximum": 999}
    schema = {"type": "object", "properties": {"text": control_text, "n": number}, "required": ["text", "n"]}
    closed = schema | {"additionalProperties": False}
    start = constrainer(name).compile(constraint("json_schema", closed))
    for seed in SEEDS:
        answer = draw(start.fork(), seed, vocab=vocabulary(name))
        assert answer.ended
        jsonschema.validate(json.loads(answer.raw.decode()), closed)
