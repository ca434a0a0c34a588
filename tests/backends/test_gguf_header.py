"""The header check: whatever is wrong with a file is said by name, and no file makes it crash, hang or over-read."""

from __future__ import annotations

import os
import struct
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backends.base import ModelUnavailableError
from backends.gguf_header import check_gguf


def write_model(path: Path) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("small")
    writer.add_context_length(128)
    writer.add_token_list(["a", "b", "c"])
    writer.add_token_scores([0.0, 1.0, 2.0])
    writer.add_array("llama.attention.head_count_kv", [2, 0, 4])
    writer.add_array("llama.recurrent", [False, True])
    writer.add_tensor("weights", np.ones((4, 32), np.float32))
    writer.add_tensor("bias", np.ones(8, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    write_model(path)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ModelUnavailableError) as caught:
        check_gguf(str(path))
    assert str(path) in caught.value.message
    return caught.value.message


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert "not a regular file" in refusal(pipe)


def test_a_sound_file_is_described(model: Path) -> None:
    header = check_gguf(str(model))
    assert header.metadata["general.architecture"] == "llama"
    assert header.metadata["llama.context_length"] == 128
    assert (header.version, header.tensors) == (3, 2)
    assert header.tensor_bytes == 4 * 32 * 4 + 8 * 4
    assert header.types == {0: 4 * 32 * 4 + 8 * 4}
    assert header.data_start == model.stat().st_size - header.tensor_bytes


@pytest.mark.parametrize(
    ("kind", "quantised"), [(0, False), (1, False), (30, False), (26, False), (8, True), (12, True)]
)
def test_types_whose_weights_share_a_scale_make_a_file_quantised(model: Path, kind: int, quantised: bool) -> None:
    types = check_gguf(str(model)).types | {kind: 1}
    assert replace(check_gguf(str(model)), types=types).quantised == quantised


def test_a_type_of_tomorrow_counts_as_quantised(model: Path) -> None:
    assert replace(check_gguf(str(model)), types={0: 1, 999: 0}).quantised


def test_short_arrays_of_numbers_and_the_layout_of_the_tensors_are_kept(model: Path) -> None:
    header = check_gguf(str(model))
    assert header.arrays["llama.attention.head_count_kv"] == (2, 0, 4)
    assert header.arrays["llama.recurrent"] == (0, 1)
    assert "tokenizer.ggml.tokens" not in header.arrays
    assert (header.value_types["general.name"], header.value_types["llama.recurrent"]) == (8, 9)
    assert header.layout == {"weights": ((32, 4), 0), "bias": ((8,), 0)}
    assert header.all_tensors == header.layout


def test_vocabularies_are_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "long.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_array("scores", [0.5] * 2000)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert check_gguf(str(path)).arrays == {}


def test_one_part_of_several_does_not_know_all_tensors(tmp_path: Path) -> None:
    path = tmp_path / "part.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint16("split.count", 2)
    writer.add_tensor("weights", np.ones((4, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert check_gguf(str(path)).all_tensors is None


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "nothing.gguf")


def test_a_directory_is_not_a_model(tmp_path: Path) -> None:
    assert "is a directory" in refusal(tmp_path)


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    path = tmp_path / "empty.gguf"
    path.touch()
    assert "is empty" in refusal(path)


def test_a_file_of_another_kind_shows_how_it_begins(tmp_path: Path) -> None:
    path = tmp_path / "other.gguf"
    path.write_bytes(b"PK\x03\x04 and so on")
    assert "b'PK\\x03\\x04'" in refusal(path)


def test_a_big_endian_file_is_an_unsupported_version(tmp_path: Path) -> None:
    path = tmp_path / "big.gguf"
    path.write_bytes(b"GGUF" + struct.pack(">IQQ", 3, 0, 0))
    assert "version 50331648 is not supported" in refusal(path)


@pytest.mark.parametrize("counts", [(2**63, 0), (0, 2**63), (1_000_001, 0), (0, 65_537)])
def test_absurd_counts_are_refused_before_anything_is_read(tmp_path: Path, counts: tuple[int, int]) -> None:
    path = tmp_path / "counts.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, *counts))
    assert "more than" in refusal(path)


def test_a_string_longer_than_the_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "string.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**64 - 1) + b"key")
    assert "it ends inside the metadata key" in refusal(path)


def test_a_file_cut_in_its_tensors_says_how_much_is_missing(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(model.read_bytes()[:-40])
    assert "bytes of tensor data are missing" in refusal(path)


def test_every_cut_of_the_file_is_refused(model: Path, tmp_path: Path) -> None:
    raw = model.read_bytes()
    path = tmp_path / "cut.gguf"
    end_of_data = len(raw) - 32  # the last tensor is padded to the alignment
    for size in range(1, end_of_data, 7):
        path.write_bytes(raw[:size])
        refusal(path)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_mutant_does_more_than_be_refused(model: Path, tmp_path: Path, data: st.DataObject) -> None:
    raw = bytearray(model.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(4, len(raw) - 9))
        raw[at : at + 8] = data.draw(st.sampled_from([b"\xff" * 8, b"\0" * 8, struct.pack("<Q", 2**62)]))
    path = tmp_path / "mutant.gguf"
    path.write_bytes(raw)
    try:
        header = check_gguf(str(path))
    except ModelUnavailableError:
        return
    assert header.tensor_bytes <= len(raw)
