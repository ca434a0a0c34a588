"""The arithmetic of conversions, and what is said of them; the conversion itself is tested where vLLM is."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.base import ModelUnavailableError
from backends.gguf_header import GGUFHeader, Tensor
from backends.vllm.converting import generation_config
from backends.vllm.gguf_folder import bar_fraction, check_room, converted_dtype, progress_bar, room_needed


def header(weights: int) -> GGUFHeader:
    return GGUFHeader(3, {}, 1, 0, {}, 0, layout={"weight": Tensor((weights,), 0)})


@pytest.mark.parametrize(
    ("weights", "wanted", "dtype"),
    [
        (250_000_000, "auto", "float32"),
        (250_000_001, "auto", "bfloat16"),
        (250_000_001, "float32", "float32"),
        (10, "float16", "float16"),
    ],
)
def test_small_models_stay_in_full_precision_unless_told_otherwise(weights: int, wanted: str, dtype: str) -> None:
    assert converted_dtype(header(weights), wanted) == dtype


def test_the_room_is_that_of_the_unpacked_weights() -> None:
    assert room_needed(header(7 * 10**9), "bfloat16") - 14 * 10**9 == room_needed(header(0), "bfloat16")
    assert room_needed(header(7 * 10**9), "float32") - 28 * 10**9 == room_needed(header(0), "float32")


@pytest.mark.parametrize(("disk", "memory", "what"), [(9, 99, "of disk in /cache"), (99, 9, "of memory")])
def test_too_little_room_is_refused_with_both_numbers(disk: int, memory: int, what: str) -> None:
    with pytest.raises(ModelUnavailableError) as refused:
        check_room(10**10, disk=disk * 10**9, memory=memory * 10**9, where=Path("/cache"))
    assert f"takes 10.0 GB {what}, and only 9.0 GB are free" in refused.value.message
    check_room(10**10, disk=10**10, memory=None, where=Path("/cache"))


@pytest.mark.parametrize(
    ("line", "fraction"),
    [
        ("Converting and de-quantizing GGUF tensors...:   0%|          | 0/47", 0.0),
        ("Converting and de-quantizing GGUF tensors...: 100%|####| 47/47", 0.5),
        ("Loading weights:  50%|####", 0.6),
        ("Writing model shards: 100%|####| 1/1", 1.0),
        ("Something else: 50%|###", None),
        ("a warning", None),
    ],
)
def test_progress_is_read_off_the_bars_of_the_phases(line: str, fraction: float | None) -> None:
    assert bar_fraction(line) == pytest.approx(fraction)


def test_the_bar_of_the_log_is_full_at_the_end() -> None:
    assert progress_bar(0.5) == "[##########----------] 50 %"
    assert progress_bar(1.0).count("#") == len(progress_bar(0.0).partition("]")[0]) - 1


def test_wishes_of_a_gguf_file_become_those_of_a_folder() -> None:
    metadata = {"general.sampling.temp": 0.6, "general.sampling.penalty_repeat": 1.1, "tokenizer.ggml.eos_token_id": 2}
    control = {"<|im_end|>": 2, "<|endoftext|>": 0, "<|im_start|>": 1}
    assert generation_config(metadata, control) == {
        "eos_token_id": [0, 2],
        "temperature": 0.6,
        "repetition_penalty": 1.1,
    }
