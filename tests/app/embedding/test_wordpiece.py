"""Our tokeniser beside the one of the model that the embedding is distilled from."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordPiece as Theirs
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from app.embedding import built_in
from app.embedding.wordpiece import LONGEST_WORD, WordPiece
from benchmarks.router_data import PACKS
from tests.app.embedding.small import VOCABULARY

TEXTS = [
    "",
    " \t\r\n ",
    "Hello, World!",
    "don't re-do state_of_the_art",
    "naïve CAFÉ Ångström Ǆ ŉ İstanbul ΣΊΣΥΦΟΣ ὈΔΥΣΣΕΎΣ",
    "e\u0301 cafe\u0301 a\u0323\u0302",
    "今天天气很好，我们去公园吧。\uf900",
    "한국어 ありがとう カタカナ",
    "Привет, мир! ёлка й",
    "مرحبا שלום हिन्दी ไทย",
    "price 10€ £5 a+b=c ½ x² ①",
    "😀 👩‍👩‍👧 ok🙂ok",
    "a\x00b\x07c\x7fd\x85e\u200bf\u2028g\u00a0h\ufeffi\ufffdj\x1ck",
    "#include <stdio.h>\nint main(void) { return x[0] ^ ~y | `z`; }",
    "x" * LONGEST_WORD,
    "x" * (LONGEST_WORD + 1),
    "é" * LONGEST_WORD,
    "antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis",
    "…—‘’“”«»¿¡",
    "ﬁ ǆ Ⅷ ℌ",
]


@pytest.fixture(scope="module")
def theirs() -> Any:
    found = Tokenizer(
        Theirs(
            {token: number for number, token in enumerate(built_in().tokens.vocabulary)},
            unk_token="[UNK]",
            max_input_chars_per_word=LONGEST_WORD,
        )
    )
    found.normalizer = BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=True)
    found.pre_tokenizer = BertPreTokenizer()
    return found


@pytest.fixture(scope="module")
def ours() -> WordPiece:
    return WordPiece(built_in().tokens.vocabulary)


@pytest.mark.parametrize("text", TEXTS)
def test_ids_are_those_of_the_original(text: str, theirs: Any, ours: WordPiece) -> None:
    assert ours.encode(text) == theirs.encode(text).ids


@pytest.mark.parametrize("pack", sorted(path.name for path in PACKS.glob("*.jsonl")))
def test_ids_of_real_prompts_are_those_of_the_original(pack: str, theirs: Any, ours: WordPiece) -> None:
    texts = [msgspec.json.decode(line)["text"] for line in (PACKS / pack).read_bytes().splitlines()]
    assert [text for text in texts if ours.encode(text) != theirs.encode(text).ids] == []


@pytest.mark.parametrize("codes", [range(0x500), range(0x2000, 0x2070), range(0x3000, 0x3100)], ids=str)
def test_characters_become_what_the_original_makes_of_them(codes: range, theirs: Any, ours: WordPiece) -> None:
    """Each between letters, so that a space, a word and nothing differ. Elsewhere the original's Unicode is older."""
    texts = [f"a{chr(code)}b" for code in codes]
    assert [text for text in texts if ours.encode(text) != theirs.encode(text).ids] == []


def test_control_tokens_in_a_text_are_text() -> None:
    assert WordPiece([*VOCABULARY, "[", "]", "pad", "unk"]).encode("[PAD]") == [9, 11, 10]


def test_unknown_words_have_ids_of_their_own_behind_the_vocabulary() -> None:
    tokens = WordPiece(VOCABULARY, buckets=1000)
    same, other = tokens.encode("zebra cats zebra"), tokens.encode("quagga")
    assert same[0] == same[3] != other[0]
    assert len(VOCABULARY) <= min(same[0], other[0])
    assert max(same[0], other[0]) < len(VOCABULARY) + 1000
    assert same[1:3] == [2, 4]
    assert WordPiece(VOCABULARY).encode("zebra cats") == [1, 2, 4]


def test_lone_surrogates_are_nothing() -> None:
    assert WordPiece(VOCABULARY).encode("c\ud800at\udfff 日") == [2, 8]


def test_text_comes_back_as_words() -> None:
    tokens = WordPiece(VOCABULARY, buckets=3)
    assert tokens.decode(tokens.encode("Cats sat. zebra")) == "cats sat . [UNK]"
    assert [tokens.piece(number) for number in (2, 4, 9)] == ["cat", "s", "[UNK]"]
