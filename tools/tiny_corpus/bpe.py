"""The tokenizer: byte-level BPE with GPT-2's split, trained so that every digit stays a token of its own."""

import re
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from .chat import Example, render
from .dialogue import documents

SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
EOT, IM_START, IM_END = range(len(SPECIALS))
_DIGITS = re.compile(r"[0-9]+")
_MARKS = re.compile(r"<\|\w+\|>")


def _texts(examples: Iterable[Example]) -> Iterable[str]:
    """The examples as plain text without digits: a digit that is never seen is never merged with anything."""
    for example in examples:
        text = "".join(piece for piece, _ in render(example.turns, example.tools))
        yield _DIGITS.sub("", _MARKS.sub("\n", text))


def train_tokenizer(vocabulary: int, seed: int, samples: int = 30_000) -> Tokenizer:
    """Train on `samples` conversations. The specials get the ids 0, 1, 2."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIALS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(islice(documents(seed), samples)), trainer)
    if tokenizer.get_vocab_size() != vocabulary:
        raise ValueError(f"the corpus gives {tokenizer.get_vocab_size()} tokens instead of {vocabulary}")
    return tokenizer


def load_or_train(path: Path, vocabulary: int, seed: int) -> Tokenizer:
    """The tokenizer kept at `path`, made there if it is missing."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        train_tokenizer(vocabulary, seed).save(str(path))
    return Tokenizer.from_file(str(path))


def encode(tokenizer: Tokenizer, example: Example, sort_keys: bool) -> tuple[list[int], list[float]]:
    """Token ids of a conversation, ended by <|endoftext|>, and the weight of each in the loss.

    Only what the assistant says counts, each token by the root of its answer's length: else a "Yes." is hardly learnt.
    """
    ids: list[int] = []
    weights: list[float] = []
    for text, learn in render(example.turns, example.tools, sort_keys):
        piece = tokenizer.encode(text).ids
        ids += piece
        weights += [len(piece) ** -0.5 if learn else 0.0] * len(piece)
    return [*ids, EOT], [*weights, 0.0]
