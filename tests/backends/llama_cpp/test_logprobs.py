"""Log-probabilities agree with a slow and obviously right computation."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from backends.echo import as_echoed, echo_deltas, first_of_prompt
from backends.llama_cpp.logprobs import prompt_logprobs, token_logprob
from backends.types import TokenLogprob

SIZES = (1, 2, 19, 21, 1000, 2047, 2048, 2049, 32_000, 151_936)


def piece(token: int) -> bytes:
    return b"t%d" % token


def reference(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log-softmax in double precision."""
    wide = logits.astype(np.float64)
    with np.errstate(all="ignore"):
        wide -= wide.max()
        return np.asarray(wide - np.log(np.exp(wide).sum()))


def row(size: int, scale: float = 4.0, seed: int = 0) -> NDArray[np.float32]:
    return (np.random.default_rng(seed).standard_normal(size) * scale).astype(np.float32)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_probabilities_are_those_of_a_softmax_in_double_precision(size: int, scale: float) -> None:
    logits = row(size, scale)
    expected = reference(logits)
    for token in {0, size // 2, size - 1}:
        found = token_logprob(logits, token, 20, piece)
        assert found.logprob == pytest.approx(expected[token], abs=1e-5)
        for id, logprob, raw in found.top:
            assert logprob == pytest.approx(expected[id], abs=1e-5)
            assert raw == piece(id)


@pytest.mark.parametrize("offset", [-3000.0, 3000.0])
def test_large_logits_neither_overflow_nor_vanish(offset: float) -> None:
    logits = row(32_000) + np.float32(offset)
    found = token_logprob(logits, 7, 20, piece)
    assert found.logprob == pytest.approx(reference(logits)[7], abs=1e-5)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [0, 1, 5, 20])
def test_the_most_probable_come_first(size: int, count: int) -> None:
    logits = row(size)
    best = sorted(range(size), key=lambda id: (-logits[id], id))[:count]
    assert [id for id, _, _ in token_logprob(logits, 0, count, piece).top] == best


@given(
    scores=st.lists(st.sampled_from([-2.0, 0.0, 0.5, 3.0]), min_size=1, max_size=60),
    repeats=st.sampled_from([1, 100]),
    count=st.integers(0, 20),
)
def test_of_equals_the_lower_id_comes_first(scores: list[float], repeats: int, count: int) -> None:
    logits = np.array(scores * repeats, np.float32)
    best = sorted(range(logits.size), key=lambda id: (-logits[id], id))[:count]
    assert [id for id, _, _ in token_logprob(logits, 0, count, piece).top] == best


def test_a_token_has_the_same_number_wherever_it_stands() -> None:
    """Evaluation harnesses compare the chosen token's with the highest one for equality."""
    logits = row(151_936)
    best = int(logits.argmax())
    found = token_logprob(logits, best, 5, piece)
    assert found.top[0][:2] == (best, found.logprob)


def test_the_token_has_its_probability_though_others_are_more_probable() -> None:
    logits = row(1000)
    worst = int(logits.argmin())
    found = token_logprob(logits, worst, 3, piece)
    assert (found.token_id, found.raw) == (worst, piece(worst))
    assert worst not in [id for id, _, _ in found.top]
    assert found.logprob == pytest.approx(reference(logits)[worst], abs=1e-5)


def test_the_row_is_not_written() -> None:
    logits = row(5000)
    logits[[3, 4]] = np.nan, -np.inf
    before = logits.copy()
    logits.flags.writeable = False
    token_logprob(logits, 1, 20, piece)
    assert np.array_equal(logits, before, equal_nan=True)


@pytest.mark.parametrize("nothing", [np.nan, -np.inf])
def test_logits_that_are_no_numbers_have_no_probability(nothing: float) -> None:
    logits = row(5000)
    logits[10:4000] = nothing
    found = token_logprob(logits, 11, 20, piece)
    assert found.logprob == -math.inf
    assert all(math.isfinite(logprob) for _, logprob, _ in found.top)
    finite = np.where(np.isnan(logits), np.float32(-np.inf), logits)
    assert token_logprob(logits, 5, 0, piece).logprob == pytest.approx(reference(finite)[5], abs=1e-5)


@pytest.mark.parametrize("nothing", [np.nan, -np.inf])
@pytest.mark.parametrize("size", [3, 5000])
def test_a_row_without_numbers_has_no_probabilities(nothing: float, size: int) -> None:
    found = token_logprob(np.full(size, nothing, np.float32), 1, 2, piece)
    assert (found.logprob, [logprob for _, logprob, _ in found.top]) == (-math.inf, [-math.inf] * 2)


def test_infinite_logits_share_all_probability() -> None:
    logits = row(5000)
    logits[[7, 9]] = np.inf
    found = token_logprob(logits, 7, 3, piece)
    assert found.logprob == pytest.approx(math.log(0.5))
    assert [id for id, _, _ in found.top[:2]] == [7, 9]
    assert found.top[2][1] == -math.inf


def test_rows_of_a_prompt_give_what_each_gives_alone() -> None:
    rows = np.stack([row(3000, seed=seed) for seed in range(5)])
    tokens = [1, 2999, 3, 0, 5]
    alone = [token_logprob(one, token, 4, piece) for one, token in zip(rows, tokens, strict=True)]
    assert prompt_logprobs(rows, tokens, 4, piece) == alone

    def one_by_one() -> Iterator[NDArray[np.float32]]:
        yield from rows

    assert prompt_logprobs(one_by_one(), tokens, 4, piece) == alone


def test_every_row_needs_its_token() -> None:
    with pytest.raises(ValueError):
        prompt_logprobs(np.zeros((2, 4), np.float32), [1], 0, piece)


def test_the_first_token_of_a_prompt_has_no_probability() -> None:
    assert first_of_prompt(5, piece) == TokenLogprob(5, None, b"t5")


def echoed(text: str, *raws: bytes, control: frozenset[bytes] = frozenset({b"<s>", b"<|im_end|>"})) -> list[bytes]:
    """The bytes of the tokens that are shown."""
    entries = [TokenLogprob(id, -1.0, raw) for id, raw in enumerate(raws)]
    return [entry.raw for entry in as_echoed(entries, text, lambda id: raws[id] not in control) if entry.shown]


@pytest.mark.parametrize(
    ("text", "raws", "shown"),
    [
        ("Hi you", [b"Hi", b" you"], [b"Hi", b" you"]),
        ("Hi you", [b"<s>", b"Hi", b" you"], [b"Hi", b" you"]),
        ("Hi you", [b"<s>", b" Hi", b" you"], [b"Hi", b" you"]),
        (" Hi", [b" Hi"], [b" Hi"]),
        ("a  b", [b" a", b" ", b" b"], [b"a", b" ", b" b"]),
        ("<|im_end|>Hi", [b"<s>", b"<|im_end|>", b"Hi"], [b"<|im_end|>", b"Hi"]),
        ("Hi", [b"Hi", b"<|im_end|>"], [b"Hi"]),
        ("😀", [b"\xf0\x9f", b"\x98\x80"], [b"\xf0\x9f", b"\x98\x80"]),
        ("\ufffdHi", [b"<s>", b"\xff", b"Hi", b"<|im_end|>"], [b"\xff", b"Hi"]),
        ("", [b"<s>"], []),
    ],
)
def test_an_echo_shows_the_tokens_of_its_text(text: str, raws: list[bytes], shown: list[bytes]) -> None:
    assert echoed(text, *raws) == shown


def test_an_echo_keeps_every_entry() -> None:
    entries = [TokenLogprob(0, None, b"<s>"), TokenLogprob(1, -1.0, b"Hi", ((1, -1.0, b"Hi"),))]
    assert [entry.token_id for entry in as_echoed(entries, "Hi", bool)] == [0, 1]
    assert as_echoed(entries, "Hi", bool)[1] == entries[1]


@pytest.mark.parametrize("count", [0, 1, 512, 513, 2000])
def test_a_long_echo_comes_in_parts_and_whole(count: int) -> None:
    entries = [TokenLogprob(id, -1.0, b"x") for id in range(count)]
    deltas = echo_deltas(3, "x" * count, entries)
    assert [entry for delta in deltas for entry in delta.logprobs] == entries
    assert "".join(delta.text for delta in deltas) == "x" * count
    assert all(delta.index == 3 and not delta.token_ids and len(delta.logprobs) <= 512 for delta in deltas)
    assert all(delta.logprobs for delta in deltas[1:])
