"""Settings that reach llama.cpp: what it is told, and what it made of that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import llama_cpp
import pytest

from backends.base import ModelUnavailableError
from backends.llama_cpp import native_log
from backends.llama_cpp.context import ROPE_SCALING, Context, ContextOptions
from backends.llama_cpp.effective import effective_settings, trained_reach
from backends.llama_cpp.engine import LlamaCppEngine
from backends.llama_cpp.model import SPLIT_MODES, Model, _native_params
from backends.process_memory import locked_bytes
from backends.types import LlamaOptions
from tests.backends.llama_cpp.conftest import BUNDLED_MODEL, complete, config, greedy

TRAINED = 2048


@pytest.fixture(autouse=True)
def _quiet() -> None:
    native_log.install("error")


@contextmanager
def model_of(**options: Any) -> Iterator[tuple[Model, LlamaOptions]]:
    chosen = LlamaOptions(**options)
    model = Model(str(BUNDLED_MODEL), chosen)
    yield model, chosen
    model.close()


async def settings_of(**options: Any) -> dict[str, Any]:
    """The effective settings of an engine that has answered a request with them."""
    engine = LlamaCppEngine(config(**options))
    await engine.start(lambda _: None)
    assert len((await complete(engine, greedy("Hello", max_tokens=4, ignore_eos=True))).token_ids) == 4
    settings: dict[str, Any] = (await engine.stats())["settings"]
    await engine.close()
    return settings


async def test_defaults_are_filled_in() -> None:
    settings = await settings_of(n_parallel=3)
    assert settings["n_threads"] == settings["n_threads_batch"] == 1  # a model of a few megabytes
    assert (settings["n_batch"], settings["n_parallel"], settings["kv_cells"]) == (512, 3, 3 * TRAINED)
    assert (settings["kv_cache_type_k"], settings["kv_cache_type_v"], settings["flash_attn"]) == ("f16", "f16", True)
    assert (settings["mmap"], settings["mlock"], settings["speculative"]) == (True, False, "off")
    assert (settings["rope_scaling"], settings["rope_freq_base"], settings["rope_freq_scale"]) == ("none", 1e4, 1.0)
    assert (settings["quantization"], settings["adapters"]) == (None, [])


async def test_what_is_set_is_what_llama_cpp_has() -> None:
    settings = await settings_of(
        n_threads=2,
        n_threads_batch=1,
        n_batch=64,
        kv_cache_type="q8_0",
        kv_cache_type_k="q4_0",
        flash_attn="on",
        mmap=False,
        rope_scaling="yarn",
        rope_freq_base=20_000.0,
        rope_freq_scale=0.5,
        yarn_orig_ctx=1024,
        prefix_cache_tokens=0,
        context_window=512,
        n_parallel=2,
    )
    expected = {
        "n_threads": 2,
        "n_threads_batch": 1,
        "n_batch": 64,
        "kv_cache_type_k": "q4_0",
        "kv_cache_type_v": "q8_0",
        "flash_attn": True,
        "mmap": False,
        "rope_scaling": "yarn",
        "rope_freq_base": 20_000.0,
        "rope_freq_scale": 0.5,
        "yarn_orig_ctx": 1024,
        "prefix_cache_tokens": 0,
        "kv_cells": 1024,
    }
    assert {name: settings[name] for name in expected} == expected


async def test_flash_attention_can_be_off() -> None:
    assert (await settings_of(flash_attn="off"))["flash_attn"] is False


@pytest.mark.skipif(llama_cpp.llama_supports_gpu_offload(), reason="needs a build without GPUs")
async def test_without_a_gpu_no_layer_is_said_to_be_on_one() -> None:
    settings = await settings_of(n_gpu_layers=3, tensor_split=(3.0, 1.0), split_mode="row")
    assert (settings["n_gpu_layers"], settings["tensor_split"], settings["split_mode"]) == (0, None, "none")


async def test_rope_settings_change_what_the_model_computes() -> None:
    async def said(**options: Any) -> tuple[int, ...]:
        engine = LlamaCppEngine(config(**options))
        await engine.start(lambda _: None)
        answer = await complete(engine, greedy("The sea was calm, and the boat", max_tokens=16, ignore_eos=True))
        await engine.close()
        return tuple(answer.token_ids)

    scaled = await said(rope_scaling="linear", rope_freq_scale=0.05)
    assert len({await said(), await said(rope_freq_base=200.0), scaled}) == 3


def test_every_word_has_a_native_value() -> None:
    for name, number in SPLIT_MODES.items():
        assert number == getattr(llama_cpp, f"LLAMA_SPLIT_MODE_{name.upper()}")
    for scaling, number in ROPE_SCALING.items():
        word = (scaling or "unspecified").upper()
        assert number == getattr(llama_cpp, f"LLAMA_ROPE_SCALING_TYPE_{word}")


def test_devices_and_the_way_of_loading_reach_the_parameters() -> None:
    params = _native_params(LlamaOptions(split_mode="none", main_gpu=1, n_gpu_layers=7, mlock=True))
    assert (params.split_mode, params.main_gpu, params.n_gpu_layers) == (llama_cpp.LLAMA_SPLIT_MODE_NONE, 1, 7)
    assert params.load_mode == llama_cpp.LLAMA_LOAD_MODE_MMAP_MLOCK
    assert not params.tensor_split
    split = _native_params(LlamaOptions(tensor_split=(3.0, 1.0))).tensor_split
    assert split[: llama_cpp.LLAMA_MAX_DEVICES] == [3.0, 1.0] + [0.0] * (llama_cpp.LLAMA_MAX_DEVICES - 2)


def test_more_proportions_than_devices_are_refused() -> None:
    most = llama_cpp.LLAMA_MAX_DEVICES
    with pytest.raises(ModelUnavailableError, match=f"has {most + 1} proportions, but llama.cpp uses {most} GPUs"):
        Model(str(BUNDLED_MODEL), LlamaOptions(tensor_split=(1.0,) * (most + 1)))


@pytest.mark.parametrize(
    ("options", "reach"),
    [
        ({}, TRAINED),
        ({"rope_scaling": "linear", "rope_freq_scale": 0.25}, 4 * TRAINED),
        ({"rope_scaling": "yarn", "rope_freq_scale": 0.5, "yarn_orig_ctx": 1000}, 2000),
    ],
)
def test_scaled_positions_reach_further(options: dict[str, Any], reach: int) -> None:
    with model_of(**options) as (model, chosen):
        assert trained_reach(model, chosen) == reach


async def test_a_quantised_cache_without_flash_attention_is_refused_with_the_reason() -> None:
    engine = LlamaCppEngine(config(kv_cache_type_v="q8_0", flash_attn="off"))
    with pytest.raises(ModelUnavailableError, match="requires flash_attn"):
        await engine.start(lambda _: None)
    await engine.close()


def test_locked_pages_are_counted_and_not_promised() -> None:
    with model_of(mlock=True) as (model, chosen):
        context = Context(model, ContextOptions(cells=256, sequences=1, n_batch=32, n_threads=1))
        assert effective_settings(model, context, chosen)["mlock"] == (locked_bytes() > 0)
        context.close()
