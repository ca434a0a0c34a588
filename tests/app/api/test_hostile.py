"""Bodies that no honest client sends: refused in the envelope, the engine untouched."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.settings.sections import ServerSettings
from tests.app.asgi import JSON
from tests.app.doubles import says
from tests.app.serving import engine, serving, settings_with

PATHS = ("/v1/chat/completions", "/v1/completions", "/tokenize", "/detokenize")
MESSAGES = b'"messages": [{"role": "user", "content": "Hi"}]'

HOSTILE = {
    "empty": b"",
    "not JSON": b"hello",
    "cut": b'{"messages": [{"role": "user"',
    "an array": b"[]",
    "a number": b"1",
    "null": b"null",
    "NaN": b'{%s, "temperature": NaN}' % MESSAGES,
    "infinity": b'{%s, "temperature": -Infinity}' % MESSAGES,
    "a number beyond floats": b'{%s, "temperature": 1e999}' % MESSAGES,
    "a huge integer": b'{%s, "seed": %s}' % (MESSAGES, b"9" * 5000),
    "a lone surrogate": b'{"messages": [{"role": "user", "content": "\\ud800"}]}',
    "a lone low surrogate": b'{"messages": [{"role": "user", "content": "a\\udc00b"}]}',
    "not UTF-8": b'{"messages": [{"role": "user", "content": "\xff"}]}',
    "a byte order mark": b"\xef\xbb\xbf{%s}" % MESSAGES,
    "something after it": b"{%s} {}" % MESSAGES,
    "deep": b'{%s, "metadata": %s}' % (MESSAGES, b"[" * 100_000 + b"]" * 100_000),
    "deep and open": b'{%s, "metadata": %s' % (MESSAGES, b'{"a":' * 100_000),
    "many unknown fields": b"{%s}" % b",".join(b'"%d": 1' % number for number in range(10_000)),
    "a long unknown role": b'{"messages": [{"role": "%s", "content": ""}]}' % (b"x" * 500_000),
    "a comment": b"{%s /* hi */}" % MESSAGES,
    "single quotes": b"{'messages': []}",
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_body_is_a_small_400(name: str) -> None:
    double = engine()
    async with serving(double) as client:
        for path in PATHS:
            answer = await client.post(path, HOSTILE[name])
            assert answer.status == 400, (path, answer.body)
            assert answer.error["type"] == "invalid_request_error"
            assert len(answer.body) < 1_000
    assert double.requests == []


async def test_of_duplicated_keys_the_last_counts() -> None:
    double = engine()
    async with serving(double) as client:
        assert (await client.post(PATHS[0], b'{%s, "n": "a", "n": 1}' % MESSAGES)).status == 400
        assert (await client.post(PATHS[0], b'{%s, "seed": 1, "seed": 2}' % MESSAGES)).status == 200
    assert double.requests[0].sampling.seed == 2


async def test_a_body_over_the_limit_is_refused_also_in_chunks() -> None:
    double = engine()
    async with serving(double, settings_with(server=ServerSettings(max_body_bytes=1_000))) as client:
        answer = await client.ask("POST", PATHS[0], *[b" " * 300] * 4, headers=JSON)
    assert (answer.status, answer.error["code"], double.requests) == (413, "request_too_large", [])


async def test_a_large_prompt_within_the_limit_reaches_the_engine_whole() -> None:
    double = engine(says("a"))
    async with serving(double) as client:
        answer = await client.post(PATHS[1], {"prompt": "a" * 1_000_000})
    assert (answer.status, len(double.requests[0].prompt or "")) == (200, 1_000_000)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["messages", "prompt", "n", "stop", "stream", "stream_options", "temperature", "tools", "logit_bias", "model", "x"]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.dictionaries(FIELDS, JSON_VALUES, max_size=5), path=st.sampled_from(PATHS))
async def test_no_json_value_is_a_server_error(body: dict[str, object], path: str) -> None:
    async with serving(engine()) as client:
        assert (await client.post(path, body)).status in (200, 400, 404)
