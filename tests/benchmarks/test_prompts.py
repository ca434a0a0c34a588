"""Prompts of a known number of words, the same ones for every server."""

from __future__ import annotations

from pathlib import Path

from benchmarks.prompts import Prompts, prompts_for
from benchmarks.random_model import FIRST_WORD, Shape, token_texts

OURS = prompts_for(Path(f"/anywhere/{Shape().name}.gguf"))
THEIRS = prompts_for(Path("/anywhere/llama.gguf"))


def test_a_prompt_has_as_many_words_as_asked_for() -> None:
    for prompts in (OURS, THEIRS):
        assert [len(prompts.text(tokens, "key").split(" ")) - 1 for tokens in (1, 119, 1600)] == [1, 119, 1600]


def test_equal_keys_give_equal_prompts_and_others_differ_from_the_start() -> None:
    assert OURS.text(50, "row", 1, 2) == OURS.text(50, "row", 1, 2)
    starts = {OURS.text(2, "row", turn, client) for turn in range(5) for client in range(16)}
    assert len(starts) == 80


def test_every_word_for_our_model_is_a_token_of_it() -> None:
    tokens = set(token_texts(Shape().vocabulary)[FIRST_WORD:])
    assert {f"Ġ{word}" for word in OURS.text(500, "key").split()} <= tokens


def test_other_models_get_usual_words() -> None:
    assert "people" in THEIRS.words
    assert len(set(THEIRS.words)) == len(THEIRS.words)


def test_unambiguous_words_do_not_begin_with_one_another() -> None:
    assert len(OURS.unambiguous().words) == 10_000
    assert Prompts(["in", "inside", "out", "side"]).unambiguous().words == ["in", "out", "side"]
