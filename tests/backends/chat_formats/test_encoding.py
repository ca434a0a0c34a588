from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.chat_formats.base import Segment
from backends.chat_formats.encoding import any_of, encode_segments, marker_tokens
from tests.backends.chat_formats.vocabularies import FAMILIES, LoadedVocabulary, encoder, vocabulary

HARMLESS = (
    "Hello, world!",
    "  leading and trailing  ",
    "\n\nline breaks\r\n\tand tabs\n",
    "def f(x):\n    return x < 3 and x > 1  # <p>|</p>",
    "Grüße, 你好, مرحبا, 👩‍👩‍👧‍👦",
    "<b>bold</b> <table><tr><td>1</td></tr></table>",
    "",
)


@pytest.fixture(params=FAMILIES)
def vocab(request: pytest.FixtureRequest) -> LoadedVocabulary:
    return vocabulary(request.param)


def conversation(vocab: LoadedVocabulary, *contents: str) -> list[Segment]:
    """Contents between two control strings of this vocabulary, as a format would write them."""
    first, second = [text for text, i in marker_tokens(vocab).items() if len(text) > 3 and i != vocab.bos][:2]
    return [
        s for text in contents for s in (Segment(f"{first}user\n", True), Segment(text, False), Segment(second, True))
    ]


def joined(segments: list[Segment]) -> str:
    return "".join(segment.text for segment in segments)


def test_harmless_content_gives_the_ids_of_the_whole_string(vocab: LoadedVocabulary) -> None:
    segments = conversation(vocab, *HARMLESS)
    whole = vocab.encode(joined(segments), special=True)
    assert encode_segments(segments, vocab) == ([vocab.bos] if vocab.add_bos else []) + whole


def test_every_marker_in_content_stays_text(vocab: LoadedVocabulary) -> None:
    hostile = "".join(marker_tokens(vocab))
    ids = encode_segments(conversation(vocab, hostile, "x" + hostile), vocab)
    assert vocab.marker_count(ids) == vocab.marker_count(encode_segments(conversation(vocab, "a", "b"), vocab))


def test_neutralised_content_keeps_its_characters(vocab: LoadedVocabulary) -> None:
    markers = [text for text in marker_tokens(vocab) if len(text) > 3][:40]
    text = "say: " + " ".join(markers)
    decoded = vocab.decode(encode_segments([Segment(text, False)], vocab)).decode()
    assert decoded.strip() == text


def test_a_marker_cannot_be_completed_across_a_border(vocab: LoadedVocabulary) -> None:
    marker = max(marker_tokens(vocab), key=len)
    for cut in range(1, len(marker)):
        for first_is_content in (True, False):
            segments = [Segment(marker[:cut], not first_is_content), Segment(marker[cut:], first_is_content)]
            assert vocab.marker_count(encode_segments(segments, vocab)) == vocab.add_bos


def test_a_marker_split_over_two_scaffold_segments_is_one() -> None:
    vocab = vocabulary("qwen2")
    assert encode_segments([Segment("<|im_", True), Segment("start|>", True)], vocab) == [
        vocab.control_tokens["<|im_start|>"]
    ]


@pytest.mark.parametrize("written", [True, False])
def test_bos_stands_there_once_whoever_writes_it(written: bool) -> None:
    vocab = vocabulary("llama-bpe")
    segments = [Segment("<|begin_of_text|>" if written else "", True), Segment("hi", False)]
    ids = encode_segments(segments, vocab)
    assert ids[0] == vocab.bos
    assert ids.count(ids[0]) == 1


def test_a_bos_in_content_does_not_replace_the_real_one() -> None:
    vocab = vocabulary("llama-bpe")
    ids = encode_segments([Segment("<|begin_of_text|>hi", False)], vocab)
    assert (ids[0], vocab.marker_count(ids)) == (vocab.bos, 1)


def test_no_bos_where_the_model_wants_none() -> None:
    assert encode_segments([Segment("hi", False)], vocabulary("qwen2")) == vocabulary("qwen2").encode(
        "hi", special=False
    )


def test_a_long_run_before_a_control_string_does_not_swallow_it() -> None:
    vocab = vocabulary("llama-bpe")
    for length in range(4090, 4098):
        ids = encode_segments([Segment("<" * length, False), Segment("<|eot_id|>", True)], vocab)
        assert ids[-1] == vocab.control_tokens["<|eot_id|>"]


PIECES = ["<|im_start|>", "<|im_end|>", "<|user|>", "<|end|>", "</s>", "<", "|", "im_", "end|>", " ", "\n", "a", "é"]


@given(
    name=st.sampled_from(["qwen2", "phi-3"]),
    pieces=st.lists(st.tuples(st.sampled_from(PIECES), st.booleans()), max_size=12),
)
@settings(max_examples=300, deadline=None)
def test_only_scaffold_makes_control_ids(name: str, pieces: list[tuple[str, bool]]) -> None:
    segments = [Segment(text, scaffold) for text, scaffold in pieces]
    vocab = vocabulary(name)
    runs = "".join(text if scaffold else "\0" for text, scaffold in pieces).split("\0")
    expected = sum(len(any_of(marker_tokens(vocab)).findall(run)) for run in runs)
    assert vocab.marker_count(encoder(name).encode(segments)) == expected + vocab.add_bos


@given(st.lists(st.text("abc<|>.*+?[]()\\", min_size=1, max_size=6)), st.text("abc<|>.*+?[]()\\"))
def test_any_of_finds_what_a_plain_alternation_finds(words: list[str], text: str) -> None:
    longest_first = sorted(words, key=len, reverse=True)
    plain = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
    assert any_of(words).findall(text) == plain.findall(text)
