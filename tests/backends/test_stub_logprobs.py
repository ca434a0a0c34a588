"""The stub's log-probabilities are a distribution, and come with their tokens."""

from __future__ import annotations

from math import exp, log
from typing import Any

import pytest

from backends.stub_backend import StubEngine
from backends.stub_logprobs import prompt_logprobs, token_logprob
from backends.stub_script import split, token_id
from backends.types import Delta, EngineConfig, GenerationRequest, StopParams

PIECES = ("a", " one", "three", " three", "\n", "é", "😀", " alpha", "alpha")


async def deltas(prompt: str, **fields: Any) -> list[Delta]:
    engine = StubEngine(EngineConfig(engine="stub", model="stub", alias="stub", cache_dir=""))
    events = [event async for event in engine.stream(GenerationRequest(id="r", prompt=prompt, **fields))]
    return [event for event in events if isinstance(event, Delta)]


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("top", [0, 1, 5, 20])
def test_alternatives_fall_and_are_no_more_than_certain(piece: str, top: int) -> None:
    entry = token_logprob(piece, top)
    logprobs = [logprob for _, logprob, _ in entry.top]
    assert len(entry.top) == top
    assert logprobs == sorted(logprobs, reverse=True)
    assert sum(map(exp, logprobs)) < 1
    assert len({id for id, _, _ in entry.top}) == top
    assert all(id == token_id(raw.decode()) for id, _, raw in entry.top)


@pytest.mark.parametrize("piece", PIECES)
def test_a_token_takes_the_place_of_its_length(piece: str) -> None:
    entry = token_logprob(piece, 20)
    place = len(piece.encode())
    assert entry.logprob == pytest.approx(place * log(0.5))
    assert entry.top[place - 1] == (token_id(piece), entry.logprob, piece.encode())


def test_the_first_token_of_a_prompt_has_no_probability() -> None:
    first, second = prompt_logprobs(["a", " b"], 2)
    assert (first.logprob, first.raw, first.top) == (None, b"a", ())
    assert second == token_logprob(" b", 2)
    assert prompt_logprobs([], 2) == ()


async def test_every_token_comes_with_its_entry() -> None:
    events = await deltas("one two three", logprobs=2, stopping=StopParams(stop=("o t",)))
    tokens = [(token, entry) for delta in events for token, entry in zip(delta.token_ids, delta.logprobs, strict=True)]
    assert [entry.raw.decode() for _, entry in tokens] == ["one", " two", " three"]
    assert all(entry == token_logprob(entry.raw.decode(), 2) and entry.token_id == token for token, entry in tokens)


async def test_an_echoed_prompt_comes_with_its_entries_for_each_choice() -> None:
    events = await deltas("one two", n=2, echo=True, prompt_logprobs=1, stopping=StopParams(max_tokens=0))
    for event in events[:2]:
        assert (event.text, event.token_ids) == ("one two", ())
        assert event.logprobs == prompt_logprobs(split("one two"), 1)
    assert all(event.finish_reason == "length" for event in events[2:])


async def test_without_being_asked_for_there_are_none() -> None:
    assert all(not event.logprobs for event in await deltas("one two", echo=True))
