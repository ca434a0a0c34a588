"""Whole conversations for training, and the kinds that the evaluation knows."""

import random
from collections.abc import Iterator
from itertools import count

from . import calling, code, facts, jsons, lists, memory, numbers, smalltalk, systems, unknown
from .chat import Example, Generator, Turn
from .split import draw

# kind -> (generator, share of the training tasks)
PLAIN: dict[str, tuple[Generator, float]] = {
    "small talk": (smalltalk.smalltalk, 5),
    "facts": (facts.fact, 9),
    "sums": (numbers.addition, 22),
    "differences": (numbers.subtraction, 22),
    "products": (numbers.product, 7),
    "code": (code.code, 4),
    "yes/no": (lists.yes_no, 24),
    "lists": (lists.list_answer, 6),
    "repeating": (lists.repeat, 8),
    "JSON": (jsons.json_answer, 14),
    "unknown": (unknown.unknown, 5),
    "reading": (memory.reading, 8),
}
_SYSTEMS = (
    "You are a helpful assistant.",
    "You are Jarvis.",
    "You are Jarvis, a helpful assistant.",
    "Be polite and short.",
    "You are a helpful, polite and honest assistant. Answer shortly.",
    "Answer the questions of the user.",
)
_ADVICE = (
    "Be polite.",
    "Keep your answers short.",
    "Never be rude.",
    "Think before you answer.",
    "Do not talk about secrets.",
    "Help the user as well as you can.",
    "Use correct grammar.",
    "The user may be in a hurry.",
    "Do not invent things.",
    "Stay calm at all times.",
    "The office opens at nine in the morning.",
    "Our customers come from many countries.",
    "If something is unclear, stay friendly.",
    "Respect the wishes of the user.",
    "This service is free of charge.",
)


def _filler(rng: random.Random) -> Example:
    """A turn of some other matter, on the training side of the split."""
    name = rng.choice(("small talk", "facts", "sums", "yes/no", "lists", "unknown"))
    return draw(PLAIN[name][0], rng)


def remembering(rng: random.Random) -> Example:
    return memory.memory(rng, _filler)


def padded(rng: random.Random, characters: int) -> Example:
    """A plain question far down a long prompt: after a long system message or many other turns."""
    found = rng.choice((facts.fact, smalltalk.smalltalk, numbers.addition, unknown.unknown))(rng)
    turns: list[Turn] = []
    if rng.random() < 0.5:
        text: list[str] = []
        while sum(map(len, text)) < characters:
            text.append(rng.choice(_ADVICE))
        turns = [Turn("system", " ".join(text))]
    else:
        while sum(len(turn.content) for turn in turns) < characters:
            turns += _filler(rng).turns
    return Example("long prompts", found.combos, (*turns, *found.turns), (), found.accept)


KINDS: dict[str, Generator] = {
    **{name: generator for name, (generator, _) in PLAIN.items()},
    "system message": systems.system_message,
    "memory": remembering,
    "tool calls": lambda rng: calling.calling(rng, rng.choice((1, 1, 1, 2))),
    "tool results": calling.answering,
    "no tool needed": calling.no_call,
    "long prompts": lambda rng: padded(rng, 3_000),
}


def _plain_task(rng: random.Random) -> Example:
    names = list(PLAIN)
    name = rng.choices(names, [PLAIN[key][1] for key in names])[0]
    return draw(PLAIN[name][0], rng)


def _chat(rng: random.Random) -> Example:
    """One to many tasks in one conversation, often after a system message that changes nothing."""
    size = rng.choices((1, rng.randint(2, 5), rng.randint(6, 14), 60), (55, 33, 11, 1))[0]
    first = _plain_task(rng)
    turns = list(first.turns)
    # What a system turn says holds for the whole conversation, so nothing else is mixed into one that has its own.
    for _ in range(size - 1 if turns[0].role != "system" else 0):
        task = _plain_task(rng)
        if task.turns[0].role != "system":
            turns += task.turns
    if turns[0].role != "system" and rng.random() < 0.35:
        system = rng.choice(_SYSTEMS)
        if rng.random() < 0.15:
            system = " ".join([system] + [rng.choice(_ADVICE) for _ in range(rng.randint(1, 40))])
        turns.insert(0, Turn("system", system))
    return Example(first.kind, first.combos, tuple(turns))


_DOCUMENTS: tuple[tuple[Generator, float], ...] = (
    (_chat, 55),
    (lambda rng: draw(lambda r: systems.system_message(r, r.choice((1, 2, 3, 4))), rng), 14),
    (lambda rng: draw(remembering, rng), 6),
    (lambda rng: draw(lambda r: calling.calling(r, r.choice((1, 2, 3, 3))), rng), 16),
    (lambda rng: draw(calling.answering, rng), 6),
    (lambda rng: draw(calling.no_call, rng), 3),
    (lambda rng: draw(lambda r: padded(r, r.randint(500, 4_500)), rng), 0.8),
    (lambda rng: draw(lambda r: memory.reading(r, r.randint(8, 40)), rng), 0.7),
)


_COPYING: tuple[Generator, ...] = (
    lambda rng: lists.repeat(rng, 25),
    lists.repeat,
    jsons.json_answer,
    memory.memory,
    memory.reading,
)


def documents(seed: int, warm_up: int = 5_000) -> Iterator[Example]:
    """Training conversations without end, the same for the same seed.

    The first ones mostly ask for words to be copied, fewer and fewer of them until `warm_up` conversations have gone
    by: a model that has not learnt to copy by then takes very long to find out.
    """
    rng = random.Random(seed)
    makers, weights = zip(*_DOCUMENTS, strict=True)
    for number in count():
        if rng.random() * warm_up > number:
            yield draw(rng.choice(_COPYING), rng)
        else:
            yield rng.choices(makers, weights)[0](rng)
