"""The bundled model's whole forward pass through the kernels, beside llama.cpp's."""

from __future__ import annotations

import os

import numpy as np
import pytest

pytest.importorskip("gguf")

from tests.kernels.library import EMULATED
from tests.kernels.tiny_llama import TOKENS, Floats, TinyLlama, by_llama_cpp

REFERENCE = "KERNELS_TINY_LLAMA"
"""The file of `tiny_llama.write`, where llama.cpp is not installed."""


@pytest.fixture(scope="module")
def reference() -> tuple[list[int], Floats]:
    if EMULATED and REFERENCE not in os.environ:
        pytest.skip(f"llama.cpp is not emulated, and {REFERENCE} names no file of what it says")
    if REFERENCE in os.environ:
        kept = np.load(os.environ[REFERENCE])
        return kept["tokens"].tolist(), kept["logits"]
    tokens, logits = by_llama_cpp()
    return tokens.tolist(), logits


@pytest.mark.usefixtures("level")
def test_the_bundled_model_says_what_it_says_in_llama_cpp(reference: tuple[list[int], Floats]) -> None:
    """Three quarters of the tokens at once, the others one by one, on the keys and values of those before."""
    tokens, expected = reference
    assert len(tokens) == TOKENS
    model, prompt = TinyLlama(), 3 * TOKENS // 4
    found = np.concatenate([model.logits(tokens[:prompt]), *(model.logits([token]) for token in tokens[prompt:])])
    np.testing.assert_array_equal(found.argmax(axis=1), expected.argmax(axis=1))
    wide, other = found.astype(np.float64), expected.astype(np.float64)
    cosines = (wide * other).sum(axis=1) / np.linalg.norm(wide, axis=1) / np.linalg.norm(other, axis=1)
    assert cosines.min() >= 0.999
