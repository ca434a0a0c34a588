"""What the configuration may ask of a context, llama.cpp can make."""

from __future__ import annotations

from typing import get_args

import pytest

from backends.llama_cpp.context import FLASH_ATTENTION, KV_CACHE_TYPES
from backends.llama_cpp.engine import LlamaCppEngine
from backends.types import KVCacheType, Switch
from tests.backends.llama_cpp.conftest import complete, config, greedy


def test_every_choice_has_a_native_value() -> None:
    assert set(KV_CACHE_TYPES) == set(get_args(KVCacheType))
    assert set(FLASH_ATTENTION) == set(get_args(Switch))


@pytest.mark.parametrize("kv_cache_type", get_args(KVCacheType))
async def test_every_type_of_kv_cache_serves(kv_cache_type: KVCacheType) -> None:
    engine = LlamaCppEngine(config(kv_cache_type=kv_cache_type))
    await engine.start(lambda _: None)
    assert len((await complete(engine, greedy("Hello", max_tokens=4, ignore_eos=True))).token_ids) == 4
    await engine.close()
