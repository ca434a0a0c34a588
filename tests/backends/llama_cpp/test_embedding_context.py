"""Pooling, pieces and batches, on tiny models with random weights: one for each kind of memory that llama.cpp has."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from backends.base import ModelUnavailableError
from backends.llama_cpp import native_log
from backends.llama_cpp.embedding_context import SEQUENCES, EmbeddingContext, EmbeddingOptions, _steps
from backends.llama_cpp.model import Model
from tests.backends.llama_cpp.random_models import KINDS, Kind, write_random_model

MEAN, CLS, LAST, RANK = 1, 2, 3, 4
SIZES = (5, 300, 65, 1)
"""Tokens of the inputs; some are more than the smallest batch holds."""
INPUTS = [[10 + (7 * number + 3 * place) % 2900 for place in range(size)] for number, size in enumerate(SIZES)]

native_log.install("error")


def with_metadata(source: Path, target: Path, **added: int | bool) -> Path:
    """A copy of a GGUF file with more keys of its architecture; `_` in a name stands for a dot where it is doubled."""
    reader = gguf.GGUFReader(source)
    architecture = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(target, architecture)
    for key, field in reader.fields.items():
        if not key.startswith("GGUF.") and key != "general.architecture":
            kind, *of = field.types
            writer.add_key_value(key, field.contents(), kind, of[-1] if of else None)
    for name, value in added.items():
        key = f"{architecture}.{name.replace('__', '.')}"
        (writer.add_bool if isinstance(value, bool) else writer.add_uint32)(key, value)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def vectors(path: Path, inputs: Sequence[Sequence[int]], *, n_batch: int) -> NDArray[np.float32]:
    """The vectors, all from one batch, of norm 1."""
    model = Model(str(path))
    context = EmbeddingContext(model, EmbeddingOptions(window=1024, n_batch=n_batch, n_threads=1))
    try:
        found = context.embed(inputs)
    finally:
        context.close()
        model.close()
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    write_random_model(tmp_path / "plain.gguf", "plain")
    return tmp_path / "plain.gguf"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pooling", [MEAN, CLS, LAST])
def test_pieces_of_an_input_and_other_inputs_beside_it_change_nothing(tmp_path: Path, kind: Kind, pooling: int) -> None:
    write_random_model(tmp_path / "bare.gguf", kind)
    path = with_metadata(tmp_path / "bare.gguf", tmp_path / "model.gguf", pooling_type=pooling)
    alone = np.concatenate([vectors(path, [ids], n_batch=1024) for ids in INPUTS])
    in_pieces = np.concatenate([vectors(path, [ids], n_batch=SEQUENCES) for ids in INPUTS])
    np.testing.assert_allclose(in_pieces, alone, atol=1e-3)
    np.testing.assert_allclose(vectors(path, INPUTS, n_batch=1024), alone, atol=1e-3)


def test_the_pooling_that_the_file_names_is_used(tmp_path: Path, plain: Path) -> None:
    found = {
        pooling: vectors(with_metadata(plain, tmp_path / f"{pooling}.gguf", pooling_type=pooling), INPUTS, n_batch=1024)
        for pooling in (MEAN, CLS, LAST)
    }
    assert np.abs(found[MEAN][1] - found[LAST][1]).max() > 0.01
    assert np.abs(found[CLS][1] - found[LAST][1]).max() > 0.01
    np.testing.assert_allclose(found[CLS][3], found[LAST][3], atol=1e-6)  # of a single token


@pytest.mark.parametrize("said", [{}, {"pooling_type": 0}, {"pooling_type": 99}])
def test_without_a_pooling_that_is_known_the_mean_is_taken(
    tmp_path: Path, plain: Path, said: dict[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    mean = vectors(with_metadata(plain, tmp_path / "mean.gguf", pooling_type=MEAN), INPUTS, n_batch=1024)
    assert "does not say" not in caplog.text
    other = with_metadata(plain, tmp_path / "other.gguf", **said)
    np.testing.assert_array_equal(vectors(other, INPUTS, n_batch=1024), mean)
    assert "does not say how token vectors become one; their mean is taken" in caplog.text


def test_a_decoder_that_looks_at_whole_inputs_gets_them_in_one_piece(tmp_path: Path, plain: Path) -> None:
    path = with_metadata(plain, tmp_path / "both.gguf", pooling_type=LAST, attention__causal=False)
    large, small = vectors(path, INPUTS[1:2], n_batch=1024), vectors(path, INPUTS[1:2], n_batch=SEQUENCES)
    np.testing.assert_allclose(small, large, atol=1e-3)
    causal = vectors(with_metadata(plain, tmp_path / "causal.gguf", pooling_type=LAST), INPUTS[1:2], n_batch=1024)
    assert np.abs(causal - large).max() > 0.01


def test_a_model_that_ranks_is_refused(tmp_path: Path, plain: Path) -> None:
    path = with_metadata(plain, tmp_path / "rank.gguf", pooling_type=RANK)
    with pytest.raises(ModelUnavailableError, match="reranker"):
        vectors(path, INPUTS, n_batch=1024)


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=20), min_size=1, max_size=6), st.integers(1, 12))
def test_steps_hold_every_token_once_and_in_order(inputs: list[list[int]], size: int) -> None:
    steps = list(_steps(inputs, size))
    seen: list[list[int]] = [[] for _ in inputs]
    for number, start, tokens in chain.from_iterable(steps):
        assert tokens and start == len(seen[number])
        seen[number] += tokens
    assert seen == inputs
    filled = [sum(len(tokens) for _, _, tokens in step) for step in steps]
    assert filled[:-1] == [size] * (len(steps) - 1) and 0 < filled[-1] <= size
