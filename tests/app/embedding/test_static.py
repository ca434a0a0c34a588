"""Vectors from a table, and the file that holds it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import kernels
from app import hashed_file
from app.embedding import built_in
from app.embedding.file import BUILT_IN, MAGIC
from app.embedding.static import StaticEmbedder
from app.embedding.table import load, quantised
from app.embedding.wordpiece import WordPiece
from app.hashed_file import DamagedFileError
from tests.app.embedding.small import BUCKETS, FIRST, VOCABULARY, WIDTH, rows, small


@pytest.fixture
def path(tmp_path: Path) -> Path:
    small(tmp_path / "e.bin")
    return tmp_path / "e.bin"


def unit(vector: np.ndarray) -> np.ndarray:
    return np.asarray(vector / np.linalg.norm(vector))


def test_a_vector_is_the_sum_of_the_rows_of_the_tokens(path: Path) -> None:
    found = load(path).vector("Cats sat.")
    wanted = rows()[[2 - FIRST, 4 - FIRST, 5 - FIRST, 6 - FIRST]].sum(0)
    assert unit(wanted) @ found > 0.999


def test_a_word_has_the_row_of_its_token(path: Path) -> None:
    embedder = load(path)
    words, found = embedder.words()
    tokens = [embedder.tokens.vocabulary.index(word) for word in words]
    assert len(words) == len(found) == 3
    assert np.allclose(found, rows()[np.array(tokens) - FIRST], atol=0.01)


def test_rows_lose_less_than_a_part_in_a_hundred() -> None:
    table, scales = quantised(rows())
    assert np.abs(table * scales[:, None] - rows()).max() < 0.01 * np.abs(rows()).max()
    assert np.abs(table).max(1).tolist() == [127] * len(rows())


def test_rows_of_nothing_and_of_the_tiniest_numbers_stay_numbers() -> None:
    table, scales = quantised(np.array([[0, 0], [1e-30, 0], [1, -1]], np.float32))
    assert np.isfinite(scales).all()
    np.testing.assert_allclose(table[2] * scales[2], [1, -1], rtol=1e-2)
    assert not table[0].any()


@pytest.mark.parametrize("text", ["", " \n", "\x00", "\u200b"])
def test_a_text_without_tokens_has_the_vector_of_nothing(path: Path, text: str) -> None:
    assert unit(rows()[-1]) @ load(path).vector(text) > 0.999


def test_control_tokens_add_nothing(path: Path) -> None:
    embedder = load(path)
    np.testing.assert_array_equal(embedder.of_ids([0, 2, 1]), embedder.of_ids([2]))
    np.testing.assert_array_equal(embedder.of_ids([0, 1]), embedder.vector(""))


def test_rows_that_cancel_out_leave_nothing() -> None:
    table = np.zeros((len(VOCABULARY) - FIRST + 1, 2), np.int8)
    table[0], table[1], table[-1] = (1, 0), (-1, 0), (0, 5)
    embedder = StaticEmbedder(WordPiece(VOCABULARY), table, np.ones(len(table), np.float32), FIRST)
    assert embedder.vector("cat dog").tolist() == [0, 1]


@pytest.mark.parametrize("dimensions", [1, 3, WIDTH, None])
def test_fewer_dimensions_are_the_first_ones_at_length_one(path: Path, dimensions: int | None) -> None:
    embedder = load(path)
    whole, ids = embedder.of_ids([2, 3]), [2, 3]
    np.testing.assert_allclose(embedder.of_ids(ids, dimensions), unit(whole[:dimensions]), rtol=1e-5)


def test_a_table_that_does_not_fit_is_refused() -> None:
    tokens, scales = WordPiece(VOCABULARY, BUCKETS), np.ones(11, np.float32)
    for table, given in (
        (np.ones((11, 2), np.float32), scales),
        (np.ones((11, 2), np.int8), scales[:10]),
        (np.ones((7, 2), np.int8), scales[:7]),
    ):
        with pytest.raises(ValueError, match="must"):
            StaticEmbedder(tokens, table, given, FIRST)  # type: ignore[arg-type] # that is the point


@pytest.mark.parametrize("place", [0, 9, 45, 100, -1])
def test_one_wrong_byte_is_noticed(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedFileError, match="e.bin"):
        load(path)


@pytest.mark.parametrize("length", [0, 7, 39, 60])
def test_a_file_that_was_cut_short_is_noticed(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DamagedFileError):
        load(path)


@pytest.mark.parametrize("body", [b"", b"\x02\x00\x00\x00{}", b"\xff\xff\xff\xff"])
def test_a_body_that_is_no_embedding_is_said(path: Path, body: bytes) -> None:
    hashed_file.write(path, MAGIC, body)
    with pytest.raises(DamagedFileError, match="cannot be used"):
        load(path)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(DamagedFileError, match="No such file"):
        load(tmp_path / "none.bin")


# ---- the one that ships ----


def test_it_takes_no_more_than_eight_megabytes() -> None:
    assert BUILT_IN.stat().st_size <= 8_000_000


def test_what_means_the_same_lies_closer_than_what_does_not() -> None:
    vectors = built_in().vectors(
        [
            "How do I reverse a linked list in Python?",
            "python code that turns a list around",
            "What are the symptoms of the flu?",
            "signs of influenza and fever",
        ]
    )
    similar = vectors @ vectors.T
    assert similar[0, 1] > max(similar[0, 2], similar[0, 3]) + 0.2
    assert similar[2, 3] > max(similar[0, 2], similar[1, 2]) + 0.2


@pytest.mark.parametrize("text", ["", "?", "😀", "한국어 텍스트", "x" * 1_000_000, "a b " * 5000, "\ud800", "12345"])
def test_every_text_has_a_vector_of_length_one(text: str) -> None:
    vector = built_in().vector(text)
    assert vector.dtype == np.float32
    assert abs(float(np.linalg.norm(vector)) - 1) < 1e-5


def test_unknown_words_are_at_least_themselves() -> None:
    one, same, other = built_in().vectors(["😀😀", "😀😀 😀😀", "🐢🐢"])
    assert one @ same > 0.999
    assert one @ other < 0.9


def test_numpy_and_native_kernels_agree() -> None:
    texts = ["How do I reverse a linked list in Python?", "naïve 日本"]
    native = built_in().vectors(texts)
    kernels.select("numpy")
    try:
        np.testing.assert_allclose(built_in().vectors(texts), native, atol=1e-5)
    finally:
        kernels.select()
