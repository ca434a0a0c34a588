"""Log-probabilities of chat and text completions, whole and streamed."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.logprobs import ContentLogprobs, TextLogprobs, TokenTexts, finite, spelt
from backends.types import Accepted, Delta, TokenLogprob, ToolCallDelta, Usage
from tests.app.asgi import Exchange
from tests.app.doubles import ScriptedEngine, Step
from tests.app.serving import chat, engine, serving

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
EMOJI = "😀".encode()
END = TokenLogprob(2, -0.5, b"<|im_end|>", ((2, -0.5, b"<|im_end|>"), (9, -2.0, b" you")), shown=False)


def token(raw: str | bytes, logprob: float = -1.0, *others: tuple[str, float]) -> TokenLogprob:
    """An entry: the token itself first among its alternatives, then others."""
    data = raw if isinstance(raw, bytes) else raw.encode()
    top = ((id_of(data), logprob, data), *((id_of(text.encode()), value, text.encode()) for text, value in others))
    return TokenLogprob(id_of(data), logprob, data, top)


def id_of(raw: bytes) -> int:
    return 1000 + int.from_bytes(raw, "big")


def says(*steps: tuple[str, list[TokenLogprob]], last: tuple[str, list[TokenLogprob]] = ("", [])) -> list[Step]:
    """The script of a choice that says texts with entries, and ends with the last of them."""
    tokens = sum(len(entries) for _, entries in (*steps, last))
    deltas = [Delta(0, text, tuple(e.token_id for e in entries), tuple(entries)) for text, entries in steps]
    end = Delta(0, last[0], (), tuple(last[1]), finish_reason="stop", usage=Usage(3, tokens))
    return [Accepted(3), *deltas, end]


async def post(path: str, script: list[Step], **fields: Any) -> Exchange:
    body = {"prompt": "Hi", "logprobs": 1, **fields} if path == TEXT else chat(**{"logprobs": True, **fields})
    async with serving(ScriptedEngine(script)) as client:
        return await client.post(path, body)


async def content(script: list[Step], **fields: Any) -> list[dict[str, Any]]:
    """The entries of a chat, after checking that plain answer and stream agree."""
    plain = (await post(CHAT, script, **fields)).json["choices"][0]["logprobs"]
    chunks = [chunk["choices"][0] for chunk in (await post(CHAT, script, stream=True, **fields)).events]
    assert [entry for chunk in chunks if chunk["logprobs"] for entry in chunk["logprobs"]["content"]] == plain[
        "content"
    ]
    assert plain["refusal"] is None
    assert isinstance(plain["content"], list)
    return plain["content"]


async def lists(script: list[Step], **fields: Any) -> dict[str, list[Any]]:
    """The lists of a text completion, after checking that plain answer and stream agree."""
    plain = (await post(TEXT, script, **fields)).json["choices"][0]["logprobs"]
    chunks = [chunk["choices"][0]["logprobs"] for chunk in (await post(TEXT, script, stream=True, **fields)).events]
    joined = {name: [item for chunk in chunks if chunk for item in chunk[name]] for name in plain}
    assert joined == plain
    assert isinstance(plain, dict)
    return plain


# Asking


@pytest.mark.parametrize(
    ("fields", "logprobs"),
    [
        ({}, None),
        ({"logprobs": None, "top_logprobs": None}, None),
        ({"logprobs": False}, None),
        ({"logprobs": False, "top_logprobs": 0}, None),
        ({"logprobs": True}, 0),
        ({"logprobs": True, "top_logprobs": 0}, 0),
        ({"logprobs": True, "top_logprobs": 20}, 20),
    ],
)
async def test_a_chat_asks_with_two_fields(fields: dict[str, Any], logprobs: int | None) -> None:
    double = engine()
    async with serving(double) as client:
        assert (await client.post(CHAT, chat(**fields))).status == 200
    assert (double.requests[0].logprobs, double.requests[0].prompt_logprobs) == (logprobs, None)


@pytest.mark.parametrize(
    ("fields", "logprobs", "prompt_logprobs"),
    [
        ({}, None, None),
        ({"logprobs": None}, None, None),
        ({"logprobs": 0}, 0, None),
        ({"logprobs": 20}, 20, None),
        ({"echo": True}, None, None),
        ({"logprobs": 5, "echo": False}, 5, None),
        ({"logprobs": 5, "echo": True}, 5, 5),
        ({"logprobs": 0, "echo": True, "max_tokens": 0}, 0, 0),
    ],
)
async def test_a_completion_asks_with_one(
    fields: dict[str, Any], logprobs: int | None, prompt_logprobs: int | None
) -> None:
    double = engine()
    async with serving(double) as client:
        assert (await client.post(TEXT, {"prompt": "Hi", **fields})).status == 200
    assert (double.requests[0].logprobs, double.requests[0].prompt_logprobs) == (logprobs, prompt_logprobs)


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        (CHAT, {"top_logprobs": 1}, "top_logprobs"),
        (CHAT, {"top_logprobs": 1, "logprobs": False}, "top_logprobs"),
        (CHAT, {"top_logprobs": 21, "logprobs": True}, "top_logprobs"),
        (CHAT, {"top_logprobs": -1, "logprobs": True}, "top_logprobs"),
        (CHAT, {"top_logprobs": True, "logprobs": True}, "top_logprobs"),
        (CHAT, {"logprobs": 1}, "logprobs"),
        (CHAT, {"logprobs": 0}, "logprobs"),
        (CHAT, {"logprobs": "yes"}, "logprobs"),
        (TEXT, {"logprobs": True}, "logprobs"),
        (TEXT, {"logprobs": False}, "logprobs"),
        (TEXT, {"logprobs": 21}, "logprobs"),
        (TEXT, {"logprobs": -1}, "logprobs"),
        (TEXT, {"logprobs": 1.5}, "logprobs"),
        (TEXT, {"top_logprobs": 1}, "top_logprobs"),
    ],
)
async def test_bad_values_name_their_parameter(path: str, fields: dict[str, Any], param: str) -> None:
    double = engine()
    async with serving(double) as client:
        answer = await client.post(path, chat(**fields) if path == CHAT else {"prompt": "Hi", **fields})
    assert (answer.status, answer.error["param"], double.requests) == (400, param, [])


# Chat


async def test_an_entry_has_the_shape_of_openais() -> None:
    entries = await content(says((" Hé", [token(" Hé", -0.25, ("Ho", -2.0))])), top_logprobs=2)
    own = {"token": " Hé", "logprob": -0.25, "bytes": [32, 72, 195, 169]}
    assert entries == [own | {"top_logprobs": [own, {"token": "Ho", "logprob": -2.0, "bytes": [72, 111]}]}]


async def test_entries_come_with_the_text_of_their_tokens() -> None:
    answer = await post(CHAT, says(("a", [token("a")]), ("bc", [token("b"), token("c")])), stream=True)
    chunks = [chunk["choices"][0] for chunk in answer.events]
    assert [chunk["delta"].get("content") for chunk in chunks] == [None, "a", "bc", None]
    assert chunks[0]["logprobs"] is None
    assert [[entry["token"] for entry in chunk["logprobs"]["content"]] for chunk in chunks[1:3]] == [["a"], ["b", "c"]]
    assert chunks[3]["logprobs"] is None


async def test_what_brings_no_text_comes_with_the_end() -> None:
    answer = await post(CHAT, says(("a", [token("a")]), last=("", [END])), stream=True)
    last = answer.events[-1]["choices"][0]
    assert (last["delta"], last["finish_reason"]) == ({}, "stop")
    assert [entry["logprob"] for entry in last["logprobs"]["content"]] == [-0.5]


async def test_the_end_of_an_answer_has_an_entry_and_adds_nothing() -> None:
    end = (await content(says(("a", [token("a")]), last=("", [END]))))[-1]
    assert (end["token"], end["bytes"], end["top_logprobs"][0]["token"]) == ("", [], "")
    assert end["top_logprobs"][1]["token"] == " you"


async def test_the_end_as_an_alternative_is_written_out() -> None:
    entry = (await content(says(("a", [token("a", -1.0, ("<|im_end|>", -2.0))]))))[0]
    assert entry["top_logprobs"][1]["token"] == "<|im_end|>"


async def test_a_character_of_several_tokens_belongs_to_the_last() -> None:
    entries = await content(says(("😀!", [token(EMOJI[:2]), token(EMOJI[2:]), token("!")])))
    assert [entry["token"] for entry in entries] == ["", "😀", "!"]
    assert [entry["bytes"] for entry in entries] == [list(EMOJI[:2]), list(EMOJI[2:]), [33]]
    assert [entry["top_logprobs"][0]["token"] for entry in entries] == ["", "😀", "!"]


async def test_a_character_that_is_cut_off_is_replaced_as_in_the_content() -> None:
    entries = await content(says(("a", [token("a")]), last=("\ufffd", [token(EMOJI[:2]), token(EMOJI[2:3])])))
    assert [entry["token"] for entry in entries] == ["a", "", "\ufffd"]
    assert entries[-1]["top_logprobs"][0]["token"] == "\ufffd"
    assert [entry["bytes"] for entry in entries] == [[97], list(EMOJI[:2]), list(EMOJI[2:3])]


async def test_a_stop_text_has_no_entries() -> None:
    entries = await content(says(("a", [token("a")]), last=("", [token("EN"), token("D")])))
    assert [entry["token"] for entry in entries] == ["a"]


async def test_text_that_was_held_back_for_a_stop_brings_its_entries() -> None:
    steps = [("a", [token("a"), token("E")]), ("", [token("N")]), ("ENx", [token("x")])]
    assert [entry["token"] for entry in await content(says(*steps))] == ["a", "E", "N", "x"]
    answer = await post(CHAT, says(*steps), stream=True)
    sizes = [len((chunk["choices"][0]["logprobs"] or {"content": []})["content"]) for chunk in answer.events]
    assert sizes == [0, 1, 3, 0]


async def test_a_token_that_a_stop_text_begins_in_keeps_its_entry() -> None:
    entries = await content(says(("b", [token("bE")]), last=("", [token("ND")])))
    assert [entry["token"] for entry in entries] == ["bE"]


async def test_only_content_has_entries() -> None:
    call = ToolCallDelta(0, "call_0", "f", "{}")
    script: list[Step] = [
        Accepted(3),
        Delta(0, reasoning="Hm.", logprobs=(token("Hm."),)),
        Delta(0, "Yes", logprobs=(token("Yes"),)),
        Delta(0, logprobs=(token("{}"),), tool_call=call),
        Delta(0, finish_reason="tool_calls", usage=Usage(3, 3)),
    ]
    assert [entry["token"] for entry in await content(script)] == ["Yes"]


async def test_choices_have_their_own_entries() -> None:
    script: list[Step] = [
        Accepted(3),
        Delta(1, "b", logprobs=(token("b"),)),
        Delta(0, "a", logprobs=(token("a"),)),
        Delta(1, finish_reason="stop", usage=Usage(3, 1)),
        Delta(0, finish_reason="stop", usage=Usage(3, 1)),
    ]
    choices = (await post(CHAT, script, n=2)).json["choices"]
    assert [[entry["token"] for entry in choice["logprobs"]["content"]] for choice in choices] == [["a"], ["b"]]


async def test_an_answer_without_tokens_has_no_entries() -> None:
    assert await content(says()) == []


@pytest.mark.parametrize("path", [CHAT, TEXT])
async def test_without_being_asked_for_there_are_none(path: str) -> None:
    fields = {"logprobs": None}
    script = says(("a", [token("a")]))
    assert (await post(path, script, **fields)).json["choices"][0]["logprobs"] is None
    streamed = await post(path, script, stream=True, **fields)
    assert all(chunk["choices"][0]["logprobs"] is None for chunk in streamed.events)


@pytest.mark.parametrize("value", [-math.inf, math.nan, -1e30])
async def test_what_json_cannot_say_is_very_improbable(value: float) -> None:
    script = says(("a", [token("a", value, ("b", value))]))
    [entry] = await content(script)
    assert [entry["logprob"], *(other["logprob"] for other in entry["top_logprobs"])] == [-9999.0] * 3
    found = await lists(script)
    assert (found["token_logprobs"], found["top_logprobs"]) == ([-9999.0], [{"a": -9999.0, "b": -9999.0}])


def pieces(text: bytes, cuts: list[int]) -> list[bytes]:
    """The bytes, cut at the places."""
    ends = sorted({min(cut, len(text)) for cut in cuts} | {len(text)})
    return [text[begin:end] for begin, end in zip([0, *ends], ends, strict=False) if begin < end]


@given(text=st.text(st.sampled_from("aé😀\u0301"), max_size=12), cuts=st.lists(st.integers(0, 40)))
def test_tokens_join_to_the_content_wherever_they_are_cut(text: str, cuts: list[int]) -> None:
    found, texts = ContentLogprobs(), TokenTexts()
    entries: list[dict[str, Any]] = []
    for raw in pieces(text.encode(), cuts):
        found.feed(Delta(0, texts.add(raw), logprobs=(token(raw),)))
        entries += found.take()["content"]
    entries += found.flush()["content"]
    assert "".join(entry["token"] for entry in entries) == text
    assert b"".join(bytes(entry["bytes"]) for entry in entries) == text.encode()
    assert all(entry["top_logprobs"][0]["token"] == entry["token"] for entry in entries)


# Text completions


async def test_a_completion_has_four_lists() -> None:
    found = await lists(says(("Hé", [token("Hé", -0.25, ("Ho", -2.0))]), (" you", [token(" you")])))
    assert found == {
        "tokens": ["Hé", " you"],
        "token_logprobs": [-0.25, -1.0],
        "top_logprobs": [{"Hé": -0.25, "Ho": -2.0}, {" you": -1.0}],
        "text_offset": [0, 2],
    }


async def test_the_chosen_token_is_always_among_the_alternatives() -> None:
    chosen = TokenLogprob(1, -7.0, b"z", ((2, -0.1, b"a"),))
    assert (await lists(says(("z", [chosen]))))["top_logprobs"] == [{"a": -0.1, "z": -7.0}]
    assert (await lists(says(("z", [TokenLogprob(1, -7.0, b"z")])), logprobs=0))["top_logprobs"] == [{"z": -7.0}]


async def test_of_two_tokens_with_one_text_the_more_probable_counts() -> None:
    chosen = TokenLogprob(1, -7.0, b"z", ((2, -0.1, b"z"), (3, -0.5, b"a"), (4, -0.6, b"a")))
    found = await lists(says(("z", [chosen])))
    assert (found["token_logprobs"], found["top_logprobs"]) == ([-7.0], [{"z": -0.1, "a": -0.5}])


async def test_an_echoed_prompt_comes_first_and_its_first_token_has_no_probability() -> None:
    bos = TokenLogprob(1, None, b"<s>", shown=False)
    prompt = ("Hi you", [bos, token("Hi"), token(" you")])
    found = await lists(says(prompt, ("!", [token("!")])), echo=True)
    assert found["tokens"] == ["<s>", "Hi", " you", "!"]
    assert found["token_logprobs"] == [None, -1.0, -1.0, -1.0]
    assert found["top_logprobs"] == [None, {"Hi": -1.0}, {" you": -1.0}, {"!": -1.0}]
    assert found["text_offset"] == [0, 0, 2, 6]


async def test_an_echo_may_come_in_parts() -> None:
    found = await lists(says(("Hi you", [token("Hi")]), ("", [token(" you")]), ("!", [token("!")])), echo=True)
    assert (found["tokens"], found["text_offset"]) == (["Hi", " you", "!"], [0, 2, 6])


async def test_a_prompt_can_be_scored_without_generating() -> None:
    first = TokenLogprob(1, None, b"Hi")
    body = (await post(TEXT, says(("Hi you", [first, token(" you")])), echo=True, max_tokens=0)).json["choices"][0]
    assert body["text"] == "Hi you"
    assert body["logprobs"]["token_logprobs"] == [None, -1.0]


async def test_a_first_token_without_the_space_of_its_vocabulary_stands_once_among_its_alternatives() -> None:
    """`as_echoed` takes the space from the token's bytes, not from its alternatives."""
    entry = TokenLogprob(1, -1.0, b"Hi", ((1, -1.0, b" Hi"),))
    assert (await lists(says(("Hi", [entry]))))["top_logprobs"] == [{"Hi": -1.0}]


async def test_every_token_has_its_place_the_end_and_a_stop_text_too() -> None:
    found = await lists(says(("a", [token("a")]), last=("", [token("E"), END])))
    assert found["tokens"] == ["a", "E", "<|im_end|>"]
    assert found["text_offset"] == [0, 1, 2]
    assert found["top_logprobs"][2] == {"<|im_end|>": -0.5, " you": -2.0}


async def test_parts_of_a_character_are_spelt_byte_by_byte() -> None:
    found = await lists(says(("a😀b", [token("a"), token(EMOJI[:2]), token(EMOJI[2:]), token("b")])))
    assert found["tokens"] == ["a", r"bytes:\xf0\x9f", r"bytes:\x98\x80", "b"]
    assert found["text_offset"] == [0, 1, 1, 2]
    assert list(found["top_logprobs"][1]) == [r"bytes:\xf0\x9f"]


async def test_chunks_of_a_completion_carry_their_own_tokens() -> None:
    answer = await post(TEXT, says(("a", [token("a")]), ("b", [token("b")]), last=("", [END])), stream=True)
    chunks = [chunk["choices"][0]["logprobs"] for chunk in answer.events]
    assert [(chunk["tokens"], chunk["text_offset"]) for chunk in chunks] == [
        (["a"], [0]),
        (["b"], [1]),
        (["<|im_end|>"], [2]),
    ]


async def test_a_completion_without_tokens_has_empty_lists() -> None:
    found = await lists(says())
    assert found == {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}


async def test_prompts_have_their_own_offsets() -> None:
    scripts = [says(("ab", [token("ab")]), ("c", [token("c")])), says(("xyz", [token("xyz")]), ("!", [token("!")]))]
    async with serving(ScriptedEngine(*scripts)) as client:
        choices = (await client.post(TEXT, {"prompt": ["a", "b"], "logprobs": 0})).json["choices"]
    assert [choice["logprobs"]["text_offset"] for choice in choices] == [[0, 2], [0, 3]]


@given(st.binary(max_size=6))
def test_every_token_can_be_spelt(raw: bytes) -> None:
    text = spelt(raw)
    assert text.encode() == raw or text == "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)


@pytest.mark.parametrize(("value", "said"), [(0.0, 0.0), (-5.5, -5.5), (-math.inf, -9999.0), (math.nan, -9999.0)])
def test_numbers_are_such_as_json_has(value: float, said: float) -> None:
    assert finite(value) == said


def test_entries_are_given_once() -> None:
    found = TextLogprobs()
    found.feed(Delta(0, "a", logprobs=(token("a"),)))
    assert found.take()["tokens"] == ["a"]
    assert found.flush()["tokens"] == []
