"""The names of number formats are llama.cpp's own, and what cannot be made here is refused with the reason."""

from __future__ import annotations

from pathlib import Path

import llama_cpp
import pytest

from backends.gguf_header import check_gguf
from backends.llama_cpp.number_formats import FILE_TYPES, KINDS, UnknownKindError, kind_named, kind_of
from tests.backends.llama_cpp.full_precision import BUNDLED_MODEL, f32_model


def test_the_numbers_are_those_of_llama_cpp() -> None:
    for name, number in FILE_TYPES.items():
        constant = "ALL_F32" if name == "f32" else f"MOSTLY_{name.upper()}"
        assert getattr(llama_cpp, f"LLAMA_FTYPE_{constant}") == number


def test_every_kind_has_a_number() -> None:
    assert set(KINDS) < set(FILE_TYPES)


@pytest.mark.parametrize("text", ["Q4_K_M", " q4_k_m ", "q4-k-m"])
def test_names_are_known_however_they_are_written(text: str) -> None:
    assert kind_named(text) == "q4_k_m"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("q9", "is no kind of quantisation"),
        ("", "is no kind of quantisation"),
        ("iq2_xs", "needs an importance matrix, without which its answers are useless"),
        ("tq1_0", "is for models that were trained for it"),
        ("F32", "makes no file smaller"),
    ],
)
def test_other_names_are_refused_with_the_reason_and_the_list(text: str, why: str) -> None:
    with pytest.raises(UnknownKindError) as refused:
        kind_named(text)
    assert str(refused.value).startswith(f"'{text}' {why}; there are f16, bf16, q8_0, ")
    assert "q4_k_m" in str(refused.value)


def test_the_kind_of_a_file_is_read_from_its_header(tmp_path: Path) -> None:
    assert kind_of(check_gguf(str(BUNDLED_MODEL))) == "q8_0"
    assert kind_of(check_gguf(str(f32_model(tmp_path / "full.gguf")))) == "f32"
    assert kind_of(check_gguf(str(f32_model(tmp_path / "half.gguf", half=True)))) == "f16"


def test_what_full_precision_says_of_itself_does_not_make_it_quantised(tmp_path: Path) -> None:
    path = f32_model(tmp_path / "claims.gguf")
    said = b"general.file_type" + b"\x04\x00\x00\x00"  # the key and the type of its value
    content = path.read_bytes()
    path.write_bytes(content.replace(said + b"\x00", said + b"\x07"))
    header = check_gguf(str(path))
    assert header.metadata["general.file_type"] == FILE_TYPES["q8_0"]
    assert kind_of(header) == "f32"
