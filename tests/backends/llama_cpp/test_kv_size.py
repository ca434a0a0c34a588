"""The size of a KV cell, from headers of every kind, and as llama.cpp counts it."""

from __future__ import annotations

import logging
import re
from typing import Any, get_args

import llama_cpp
import pytest

from backends.base import ModelUnavailableError
from backends.gguf_header import BLOCKS, GGUFHeader, check_gguf
from backends.llama_cpp import native_log
from backends.llama_cpp.context import Context, ContextOptions
from backends.llama_cpp.kv_size import KV_CACHE_TYPES, CellShape, cell_shape
from backends.llama_cpp.model import Model
from backends.types import KVCacheType
from tests.backends.llama_cpp.conftest import BUNDLED_MODEL

PLAIN = {"block_count": 4, "embedding_length": 512, "attention.head_count": 8}
MIB = 2**20


def header(arrays: dict[str, tuple[int, ...]] | None = None, **metadata: Any) -> GGUFHeader:
    """A header of the architecture `x`; keyword names have `__` for dots."""
    keys: dict[str, Any] = PLAIN | {name.replace("__", "."): value for name, value in metadata.items()}
    found = {f"x.{name}": value for name, value in keys.items() if value is not None}
    longs: dict[str, tuple[int | float, ...]] = {f"x.{name}": numbers for name, numbers in (arrays or {}).items()}
    return GGUFHeader(3, {"general.architecture": "x"} | found, 0, 0, {}, 0, longs)


@pytest.mark.parametrize(
    ("given", "keys", "values"),
    [
        (header(), 4 * 512, 4 * 512),
        (header(attention__head_count_kv=2), 4 * 128, 4 * 128),
        (header(attention__head_count_kv=2, attention__key_length=96, attention__value_length=32), 4 * 192, 4 * 64),
        (header({"attention.head_count_kv": (2, 0, 8, 0)}), 10 * 64, 10 * 64),
        (header({"attention.head_count_kv": (0, 0, 2, 0), "attention.head_count": (0, 0, 8, 0)}), 128, 128),
        (header(attention__head_count_kv=2, full_attention_interval=2), 2 * 128, 2 * 128),
        (header({"attention.recurrent_layers": (1, 1, 1, 0)}, attention__head_count_kv=2), 128, 128),
        (header(attention__head_count_kv=2, attention__shared_kv_layers=3), 128, 128),
        (header(attention__head_count_kv=2, nextn_predict_layers=1), 3 * 128, 3 * 128),
        (header(attention__head_count_kv=1, attention__key_length=576, attention__key_length_mla=192), 4 * 576, 0),
        (header(attention__head_count=0), 0, 0),
        (header(attention__head_count=None), 0, 0),
        (header(block_count=0), 0, 0),
    ],
)
def test_layers_with_attention_are_counted_as_they_are(given: GGUFHeader, keys: int, values: int) -> None:
    shape = cell_shape(given)
    assert (shape.keys, shape.values, shape.exact) == (keys, values, True)


def test_heads_of_sliding_layers_that_differ_make_it_an_estimate_and_a_generous_one() -> None:
    given = header(attention__key_length=64, attention__key_length_swa=128, attention__value_length_swa=64)
    assert cell_shape(given) == CellShape(4 * 8 * 128, 4 * 8 * 64, 128, 64, exact=False)


@pytest.mark.parametrize(("kind", "size"), [("f32", 4096), ("f16", 2048), ("q8_0", 1088), ("q4_0", 576)])
def test_keys_and_values_have_sizes_of_their_own(kind: KVCacheType, size: int) -> None:
    shape = CellShape(keys=1024, values=2048, key_head=64, value_head=64)
    assert shape.size_bytes(kind, "f16") == size + 4096
    assert shape.size_bytes("f16", kind) == 2048 + 2 * size


def test_heads_that_are_no_whole_number_of_blocks_are_refused() -> None:
    shape = CellShape(keys=80, values=128, key_head=80, value_head=128)
    shape.check("f16", "q8_0")
    with pytest.raises(ModelUnavailableError, match="q8_0 stores blocks of 32 numbers, .* has 80 keys"):
        shape.check("q8_0", "f16")


def test_the_types_are_those_of_llama_cpp() -> None:
    assert set(KV_CACHE_TYPES) == set(get_args(KVCacheType))
    for name, number in KV_CACHE_TYPES.items():
        assert getattr(llama_cpp, f"GGML_TYPE_{name.upper()}", number) == number
        assert number in BLOCKS


@pytest.mark.parametrize("type_k", ["f32", "bf16", "q8_0", "q4_0"])
@pytest.mark.parametrize("type_v", ["f16", "q5_1", "iq4_nl"])
def test_llama_cpp_counts_the_same(type_k: KVCacheType, type_v: KVCacheType, caplog: pytest.LogCaptureFixture) -> None:
    native_log.install("info")
    model = Model(str(BUNDLED_MODEL))
    with caplog.at_level(logging.INFO, "llama.cpp"):
        options = ContextOptions(cells=8192, sequences=1, n_batch=32, n_threads=1, type_k=type_k, type_v=type_v)
        Context(model, options).close()
    model.close()
    native_log.install("error")
    told = re.search(rf"K \({type_k}\): +([\d.]+) MiB, V \({type_v}\): +([\d.]+) MiB", caplog.text)
    assert told
    shape = cell_shape(check_gguf(str(BUNDLED_MODEL)))
    assert float(told[1]) + float(told[2]) == pytest.approx(8192 * shape.size_bytes(type_k, type_v) / MIB, abs=0.011)
