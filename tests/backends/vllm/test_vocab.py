"""A Hugging Face tokeniser as a vocabulary: bytes of tokens, control strings, and what stands around a prompt."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from backends.base import InvalidRequestError, ModelUnavailableError
from backends.vllm.vocab import FolderVocabulary

TEXTS = ["", "Hello you", "Grüße, 世界 👋🏽", "a<end>b <think>c", " \n\t", "\x00\xa0\xad"]


class Wrapped:
    """As much of a `transformers` tokeniser as a vocabulary looks at."""

    def __init__(self, backend: Tokenizer | None, bos: int | None = None, eos: int | None = None) -> None:
        self.backend_tokenizer, self.bos_token_id, self.eos_token_id = backend, bos, eos


def byte_level(**wrapped: Any) -> FolderVocabulary:
    """Every byte is a token; then come `<end>` (256), special, and `<think>` (257), which is not."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE({letter: id for id, letter in enumerate(alphabet)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken("<end>", normalized=False)])
    backend.add_tokens([AddedToken("<think>", normalized=False)])
    return FolderVocabulary(Wrapped(backend, **wrapped), frozenset({256}))


def sentence_piece() -> FolderVocabulary:
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "a", "b", "▁a", "▁ab"]
    backend = Tokenizer(
        models.BPE({piece: id for id, piece in enumerate(pieces)}, [("▁", "a"), ("▁a", "b")], byte_fallback=True)
    )
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    backend.add_special_tokens(["<unk>", "<s>", "</s>"])
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return FolderVocabulary(Wrapped(backend, bos=1, eos=2), frozenset())


@pytest.mark.parametrize("text", TEXTS)
def test_texts_come_back_from_their_bytes(text: str) -> None:
    vocab = byte_level()
    assert vocab.decode(vocab.encode(text, special=False), special=True).decode() == text


@pytest.mark.parametrize("text", ["a", "ab b", "Grüße", "a  b"])
def test_texts_come_back_without_the_space_before_them(text: str) -> None:
    vocab = sentence_piece()
    assert vocab.decode(vocab.encode(text, special=False)).decode() == text


def test_control_strings_stay_text_unless_asked_for() -> None:
    vocab = byte_level()
    assert 256 not in vocab.encode("a<end>b", special=False)
    assert vocab.encode("a<end>", special=True)[-1] == 256
    assert 257 in vocab.encode("<think>", special=False)
    assert vocab.control_tokens == {"<end>": 256, "<think>": 257}
    assert vocab.user_defined_tokens == {"<think>": 257}


def test_special_tokens_add_no_text() -> None:
    vocab = byte_level()
    assert (vocab.piece(256), vocab.control_text(256), vocab.never_text(256)) == (b"", b"<end>", True)
    assert (vocab.piece(257), vocab.never_text(257)) == (b"<think>", False)
    assert vocab.longest_token == len("<think>")


def test_a_prompt_begins_with_bos_where_the_tokeniser_puts_one() -> None:
    assert sentence_piece().encode_prompt("a", special=False)[0] == 1
    assert sentence_piece().closing is None
    assert byte_level(bos=256).encode_prompt("a", special=False)[0] != 256


def test_answers_end_with_the_tokenisers_eos_and_what_the_folder_names() -> None:
    assert byte_level(eos=257).end_of_generation == {256, 257}
    assert sentence_piece().end_of_generation == {2}


def test_ids_that_do_not_exist_are_refused() -> None:
    vocab = byte_level()
    assert vocab.size == 258
    with pytest.raises(InvalidRequestError, match="258 is not a token id"):
        vocab.decode([258])


def test_tokenisers_that_cannot_be_followed_are_refused() -> None:
    with pytest.raises(ModelUnavailableError, match="no fast form"):
        FolderVocabulary(Wrapped(None), frozenset())
    backend = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    backend.decoder = decoders.WordPiece()
    with pytest.raises(ModelUnavailableError, match="decodes by WordPiece"):
        FolderVocabulary(Wrapped(backend), frozenset())
