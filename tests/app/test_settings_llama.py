"""The settings of llama.cpp: what they take, what goes together, and that the engine is told."""

from __future__ import annotations

import pytest

from tests.app.test_settings import load, problems


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        (
            {"JARVIS_KV_CACHE_TYPE": "q8_0", "JARVIS_FLASH_ATTN": "off"},
            "JARVIS_KV_CACHE_TYPE='q8_0' quantises the cached values, which needs flash attention:"
            " set JARVIS_FLASH_ATTN=auto, or JARVIS_KV_CACHE_TYPE_V=f16",
        ),
        (
            {"JARVIS_KV_CACHE_TYPE_V": "q4_0", "JARVIS_FLASH_ATTN": "off"},
            "JARVIS_KV_CACHE_TYPE_V='q4_0' quantises the cached values, which needs flash attention:"
            " set JARVIS_FLASH_ATTN=auto, or JARVIS_KV_CACHE_TYPE_V=f16",
        ),
        (
            {"JARVIS_ROPE_FREQ_SCALE": "0.5"},
            "JARVIS_ROPE_FREQ_SCALE='0.5' needs JARVIS_ROPE_SCALING=linear or yarn",
        ),
        (
            {"JARVIS_YARN_ORIG_CTX": "4096", "JARVIS_ROPE_SCALING": "linear"},
            "JARVIS_YARN_ORIG_CTX='4096' is only read with JARVIS_ROPE_SCALING=yarn",
        ),
        (
            {"JARVIS_TENSOR_SPLIT": "3,1", "JARVIS_SPLIT_MODE": "none"},
            "JARVIS_TENSOR_SPLIT is not read with JARVIS_SPLIT_MODE='none': set layer or row",
        ),
        (
            {"JARVIS_MAIN_GPU": "1"},
            "JARVIS_MAIN_GPU='1' is only read with JARVIS_SPLIT_MODE=none, which uses one GPU",
        ),
    ],
)
def test_llama_cpp_settings_that_contradict_each_other_are_refused(environ: dict[str, str], problem: str) -> None:
    assert problems(**environ) == [problem]


@pytest.mark.parametrize(
    "environ",
    [
        {"JARVIS_KV_CACHE_TYPE": "q8_0", "JARVIS_KV_CACHE_TYPE_V": "bf16", "JARVIS_FLASH_ATTN": "off"},
        {"JARVIS_KV_CACHE_TYPE_V": "q8_0"},
        {"JARVIS_ROPE_SCALING": "YaRN", "JARVIS_ROPE_FREQ_SCALE": "0.25", "JARVIS_YARN_ORIG_CTX": "4096"},
        {"JARVIS_MAIN_GPU": "1", "JARVIS_SPLIT_MODE": "none"},
        {"JARVIS_PREFIX_CACHE_TOKENS": "0", "JARVIS_KV_CELLS": "512"},
    ],
)
def test_llama_cpp_settings_that_go_together_are_taken(environ: dict[str, str]) -> None:
    load(**environ)


@pytest.mark.parametrize(("value", "shares"), [("3,1", (3, 1)), (" 0.5 , 0, 2.5", (0.5, 0, 2.5)), ("1", (1,))])
def test_a_tensor_split_is_a_list_of_proportions(value: str, shares: tuple[float, ...]) -> None:
    assert load(JARVIS_TENSOR_SPLIT=value).engine_config().llama.tensor_split == shares


@pytest.mark.parametrize("value", ["a", "1,", ",", "-1,2", "0,0", "nan", "inf,1", "1;2"])
def test_anything_else_is_no_tensor_split(value: str) -> None:
    assert problems(JARVIS_TENSOR_SPLIT=value) == [
        f"JARVIS_TENSOR_SPLIT='{value}' (environment): write a number of at least 0 for each GPU with commas between"
        " them, as in 3,1; one must be above 0"
    ]


def test_the_engine_is_told_of_every_llama_cpp_variable() -> None:
    variables = {
        "JARVIS_N_THREADS_BATCH": "3",
        "JARVIS_PREFIX_CACHE_TOKENS": "0",
        "JARVIS_KV_CACHE_TYPE": "q8_0",
        "JARVIS_KV_CACHE_TYPE_K": "F16",
        "JARVIS_SPECULATIVE": "ngram",
        "JARVIS_MMAP": "0",
        "JARVIS_MLOCK": "1",
        "JARVIS_SPLIT_MODE": "row",
        "JARVIS_TENSOR_SPLIT": "1,2",
        "JARVIS_ROPE_SCALING": "yarn",
        "JARVIS_ROPE_FREQ_BASE": "1e6",
        "JARVIS_ROPE_FREQ_SCALE": "0.5",
        "JARVIS_YARN_ORIG_CTX": "4096",
    }
    llama = load(**variables).engine_config().llama
    assert (llama.n_threads_batch, llama.prefix_cache_tokens, llama.speculative) == (3, 0, "ngram")
    assert llama.cache_types == ("f16", "q8_0")
    assert (llama.mmap, llama.mlock, llama.split_mode, llama.tensor_split) == (False, True, "row", (1.0, 2.0))
    assert (llama.rope_scaling, llama.rope_freq_base, llama.rope_freq_scale) == ("yarn", 1e6, 0.5)
    assert llama.yarn_orig_ctx == 4096
