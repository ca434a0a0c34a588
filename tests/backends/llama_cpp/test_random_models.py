"""The random models are of the kinds that they are named after, and say different things to different prompts."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llama_cpp
import pytest

from tests.backends.llama_cpp.cold import ColdModel
from tests.backends.llama_cpp.random_models import KINDS, WINDOW, Kind, write_random_model


@pytest.mark.parametrize(
    ("kind", "recurrent", "hybrid", "window"),
    [
        ("plain", False, False, 0),
        ("sliding", False, False, WINDOW),
        ("recurrent", True, False, 0),
        ("hybrid", False, True, 0),
    ],
)
def test_llama_cpp_takes_each_for_what_it_is(
    random_model: Callable[[Kind], Path], kind: Kind, recurrent: bool, hybrid: bool, window: int
) -> None:
    path = str(random_model(kind)).encode()
    model: Any = llama_cpp.llama_model_load_from_file(path, llama_cpp.llama_model_default_params())
    assert llama_cpp.llama_model_is_recurrent(model) == recurrent
    assert llama_cpp.llama_model_is_hybrid(model) == hybrid
    assert llama_cpp.llama_model_n_swa(model) == window
    llama_cpp.llama_model_free(model)


@pytest.mark.parametrize("kind", KINDS)
def test_every_part_of_a_prompt_bears_on_the_answer(random_model: Callable[[Kind], Path], kind: Kind) -> None:
    chance = random.Random(0)
    prompt = [chance.randrange(10, 3000) for _ in range(300)]
    with ColdModel(random_model(kind)) as cold:
        answer = cold.answer(prompt, 16)
        assert len(set(answer)) > 8
        for start in range(0, 300, 50):
            changed = prompt[:start] + [token + 1 for token in prompt[start : start + 50]] + prompt[start + 50 :]
            assert cold.answer(changed, 16) != answer


def test_equal_seeds_give_equal_files_and_others_do_not(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_random_model(tmp_path / name, "plain", seed=seed)
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c
