"""Arithmetic on small numbers."""

import random

from .chat import Example, ask

_ASK_SUM = (
    "What is {a} + {b}?",
    "{a} + {b}",
    "{a} + {b} = ?",
    "What is {a} plus {b}?",
    "Calculate {a} + {b}.",
    "Add {a} and {b}.",
    "What is the sum of {a} and {b}?",
    "How much is {a} + {b}?",
    "{a}+{b}",
    "What is {a}+{b}?",
    "Compute {a} plus {b}.",
    "How much is {a} plus {b}?",
    "Please add {a} and {b}.",
    "what is {a} + {b}",
)
_ASK_DIFFERENCE = (
    "What is {a} - {b}?",
    "{a} - {b}",
    "{a} - {b} = ?",
    "What is {a} minus {b}?",
    "Calculate {a} - {b}.",
    "Subtract {b} from {a}.",
    "How much is {a} - {b}?",
    "{a}-{b}",
    "What is {a}-{b}?",
    "Compute {a} minus {b}.",
    "How much is {a} minus {b}?",
    "what is {a} - {b}",
)
_ASK_PRODUCT = (
    "What is {a} * {b}?",
    "{a} * {b}",
    "{a} * {b} = ?",
    "What is {a} times {b}?",
    "Calculate {a} * {b}.",
    "Multiply {a} by {b}.",
    "What is the product of {a} and {b}?",
    "How much is {a} * {b}?",
    "{a}*{b}",
    "What is {a} x {b}?",
    "Compute {a} times {b}.",
    "How much is {a} times {b}?",
    "what is {a} * {b}",
)


def addition(rng: random.Random) -> Example:
    """Two numbers below 50; the pair is the combination, in either order."""
    a, b = (rng.randrange(50 if rng.random() < 0.5 else 20) for _ in range(2))
    question = rng.choice(_ASK_SUM).format(a=a, b=b)
    return ask("sums", f"sum:{min(a, b)}:{max(a, b)}", question, f"{a} + {b} = {a + b}")


def subtraction(rng: random.Random) -> Example:
    """Two numbers below 50, the larger one first."""
    a, b = sorted((rng.randrange(50 if rng.random() < 0.5 else 20) for _ in range(2)), reverse=True)
    question = rng.choice(_ASK_DIFFERENCE).format(a=a, b=b)
    return ask("differences", f"difference:{a}:{b}", question, f"{a} - {b} = {a - b}")


def product(rng: random.Random) -> Example:
    """The table up to 10 x 10. It can only be learnt by heart, so the combination includes the wording."""
    a, b = rng.randint(0, 10), rng.randint(0, 10)
    way = rng.randrange(len(_ASK_PRODUCT))
    return ask("products", f"product:{a}:{b}:{way}", _ASK_PRODUCT[way].format(a=a, b=b), f"{a} * {b} = {a * b}")
