"""Which combinations training may see: decided by a hash, so that both sides agree without a stored list."""

import hashlib
import random

from .chat import Example, Generator

HELD_OUT_ONE_IN = 10


def is_held_out(combo: str) -> bool:
    """Whether a combination belongs to the evaluation."""
    digest = hashlib.blake2b(combo.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % HELD_OUT_ONE_IN == 0


def for_training(example: Example) -> bool:
    return not any(is_held_out(combo) for combo in example.combos)


def for_evaluation(example: Example) -> bool:
    return is_held_out(example.combos[0])


def draw(generator: Generator, rng: random.Random, *, held_out: bool = False) -> Example:
    """Draw until an example falls on the wanted side of the split."""
    wanted = for_evaluation if held_out else for_training
    for _ in range(10_000):
        example = generator(rng)
        if wanted(example):
            return example
    raise ValueError("the generator has no example on the wanted side of the split")
