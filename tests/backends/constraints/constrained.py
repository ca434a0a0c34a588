"""Answers under a constraint, drawn from random logits: what the constraint allows is all that makes sense in them."""

from __future__ import annotations

import ctypes
import json
from functools import cache
from typing import Any, NamedTuple

import llama_cpp
import msgspec
import numpy as np

from backends.constraints.constraining import Constrainer, TokenMatcher
from backends.types import Constraint
from tests.backends.chat_formats.vocabularies import LoadedVocabulary, vocabulary
from tests.backends.llama_cpp.conftest import BUNDLED_MODEL


class Written(NamedTuple):
    """An answer's bytes, and whether it came to its end."""

    raw: bytes
    ended: bool


@cache
def bundled_vocabulary() -> LoadedVocabulary:
    """The vocabulary of the model that ships with the project."""
    llama_cpp.llama_log_set(_SILENT, ctypes.c_void_p(0))
    parameters = llama_cpp.llama_model_default_params()
    parameters.vocab_only = True
    return LoadedVocabulary(llama_cpp.llama_model_load_from_file(str(BUNDLED_MODEL).encode(), parameters))


_SILENT = llama_cpp.llama_log_callback(lambda *_: None)


@cache
def constrainer(name: str = "") -> Constrainer:
    """One for the bundled model, or for another vocabulary by its name."""
    return Constrainer(vocabulary(name) if name else bundled_vocabulary())


def constraint(kind: str, value: Any) -> Constraint:
    """What is not a text is turned into JSON."""
    text = value if isinstance(value, str) else json.dumps(value)
    return msgspec.convert({"kind": kind, "value": text}, Constraint)


def matcher(kind: str, value: Any) -> TokenMatcher:
    """At the beginning of an answer of the bundled model."""
    return constrainer().compile(constraint(kind, value))


def draw(
    matcher: TokenMatcher, seed: int, limit: int = 300, vocab: LoadedVocabulary | None = None, hurry: float = 0.0
) -> Written:
    """Draw from random logits until the answer ends, or `limit` tokens are drawn; `hurry` makes the end likelier."""
    vocab = vocab or bundled_vocabulary()
    rng = np.random.default_rng(seed)
    ends = list(vocab.end_of_generation)
    raw = b""
    for _ in range(limit):
        if matcher.complete:
            return Written(raw, True)
        logits = rng.standard_normal(vocab.size, np.float32)
        logits[ends] += hurry
        matcher.mask(logits)
        token = int(logits.argmax())
        assert logits[token] > -np.inf
        if token in vocab.end_of_generation:
            return Written(raw, True)
        assert vocab.piece(token), "a control token in the middle of a text"
        matcher.accept(token)
        raw += vocab.piece(token)
    return Written(raw, matcher.complete)


def follow(matcher: TokenMatcher, text: str, vocab: LoadedVocabulary | None = None) -> bool:
    """Spell a text token by token as far as it is allowed; whether that was to its end."""
    vocab = vocab or bundled_vocabulary()
    tokens = vocab.encode(text, special=False)
    allowed = matcher.allows(tokens)
    for token in tokens[:allowed]:
        matcher.accept(token)
    return allowed == len(tokens)


def may_follow(matcher: TokenMatcher, vocab: LoadedVocabulary | None = None) -> set[int]:
    """The ids of all tokens that may come next."""
    logits = np.zeros((vocab or bundled_vocabulary()).size, np.float32)
    matcher.mask(logits)
    return set(np.flatnonzero(logits == 0).tolist())
