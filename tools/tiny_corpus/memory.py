"""Remembering what was told in an earlier turn, and reading it from a text in the question."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from . import words
from .chat import Example, Turn, ask


@dataclass(frozen=True)
class Trait:
    """Something a person tells about themselves: the ways to tell it, to ask for it, and the answers."""

    name: str
    value: Callable[[random.Random], str]
    tell: tuple[str, ...]
    reply: str
    asks: tuple[str, ...]
    answer: str


def _from(pool: list[str]) -> Callable[[random.Random], str]:
    return lambda rng: words.made_up(rng) if words.invented(rng) else rng.choice(pool)


TRAITS = (
    Trait(
        "name",
        words.person,
        (
            "My name is {v}.",
            "I am {v}.",
            "I'm {v}.",
            "Hello, my name is {v}.",
            "Hi, I am {v}.",
            "Call me {v}.",
            "You can call me {v}.",
            "My name is {v}. Remember it.",
        ),
        "Nice to meet you, {v}!",
        (
            "What is my name?",
            "Who am I?",
            "Do you remember my name?",
            "What's my name?",
            "Tell me my name.",
            "What am I called?",
        ),
        "Your name is {v}.",
    ),
    Trait(
        "colour",
        _from(words.COLOURS),
        (
            "My favourite colour is {v}.",
            "I like the colour {v} best.",
            "The colour I like most is {v}.",
            "My favorite color is {v}.",
        ),
        "I will remember that your favourite colour is {v}.",
        (
            "What is my favourite colour?",
            "Which colour do I like?",
            "Do you remember my favourite colour?",
            "What is my favorite color?",
        ),
        "Your favourite colour is {v}.",
    ),
    Trait(
        "number",
        words.number,
        (
            "My lucky number is {v}.",
            "Remember the number {v}.",
            "Please remember the number {v}.",
            "My number is {v}.",
            "The number is {v}.",
        ),
        "I will remember the number {v}.",
        (
            "What is my number?",
            "Which number did I tell you?",
            "What is my lucky number?",
            "Do you remember the number?",
            "What was the number?",
        ),
        "The number is {v}.",
    ),
    Trait(
        "city",
        words.city,
        ("I live in {v}.", "My home is in {v}.", "I am living in {v}.", "The city I live in is {v}."),
        "I will remember that you live in {v}.",
        ("Where do I live?", "Which city do I live in?", "Do you remember where I live?", "What is my city?"),
        "You live in {v}.",
    ),
    Trait(
        "pet",
        words.person,
        ("My dog is called {v}.", "I have a dog named {v}.", "The name of my dog is {v}.", "My dog's name is {v}."),
        "{v} is a nice name for a dog.",
        (
            "What is my dog called?",
            "What is the name of my dog?",
            "Do you remember my dog's name?",
            "What's my dog's name?",
        ),
        "Your dog is called {v}.",
    ),
    Trait(
        "job",
        _from(words.JOBS),
        ("I work as a {v}.", "My job is {v}.", "I am a {v} by trade.", "I earn my living as a {v}."),
        "I will remember that you work as a {v}.",
        ("What is my job?", "What do I work as?", "Do you remember my job?", "What do I do for a living?"),
        "You work as a {v}.",
    ),
    Trait(
        "food",
        _from(words.FOODS),
        ("My favourite food is {v}.", "I like to eat {v}.", "The food I like most is {v}.", "I love {v}."),
        "I will remember that you like {v}.",
        (
            "What is my favourite food?",
            "What do I like to eat?",
            "Do you remember my favourite food?",
            "Which food do I like?",
        ),
        "You like {v}.",
    ),
    Trait(
        "word",
        lambda rng: words.made_up(rng) if words.invented(rng) else rng.choice(words.OBJECTS),
        ("The secret word is {v}.", "Remember the word {v}.", "Please remember this word: {v}", "My password is {v}."),
        "I will remember the word {v}.",
        ("What is the secret word?", "Which word did I tell you?", "Do you remember the word?", "What was the word?"),
        "The word is {v}.",
    ),
)

Filler = Callable[[random.Random], Example]


def _untold(rng: random.Random, trait: Trait) -> Example:
    missing = {
        "name": "your name",
        "colour": "your favourite colour",
        "number": "the number",
        "city": "where you live",
        "pet": "the name of your dog",
        "job": "your job",
        "food": "your favourite food",
        "word": "the word",
    }
    way = rng.randrange(len(trait.asks))
    answer = f"You have not told me {missing[trait.name]} yet."
    return ask("memory", f"untold:{trait.name}:{way}", trait.asks[way], answer)


def memory(rng: random.Random, filler: Filler | None = None) -> Example:
    """One to three things told, up to four other turns, then the question for one of them.

    The combinations are the trait with its value. `filler` makes the turns between; without it there are none.
    """
    told = rng.sample(TRAITS, rng.choice((1, 1, 2, 3)))
    if filler is None and rng.random() < 0.08:
        return _untold(rng, told[0])
    values = {trait.name: trait.value(rng) for trait in told}
    turns: list[Turn] = []
    for trait in told:
        value = values[trait.name]
        turns += [Turn("user", rng.choice(trait.tell).format(v=value)), Turn("assistant", trait.reply.format(v=value))]
    combos: list[str] = []
    for _ in range(rng.choice((0, 1, 1, 2, 4)) if filler else 0):
        between = filler(rng) if filler else None
        if between:
            turns += between.turns
            combos += between.combos
    wanted = rng.choice(told)
    order = [wanted] + [trait for trait in told if trait is not wanted]
    combos = [f"memory:{trait.name}:{values[trait.name]}" for trait in order] + combos
    answer = wanted.answer.format(v=values[wanted.name])
    turns += [Turn("user", rng.choice(wanted.asks)), Turn("assistant", answer)]
    return Example("memory", tuple(combos), tuple(turns))


def _statement(rng: random.Random) -> tuple[str, str, str]:
    """A sentence, a question about it, and the answer."""
    who, thing, place = words.person(rng), rng.choice(words.OBJECTS), rng.choice(words.ROOMS)
    code, town = words.number(rng), words.city(rng)
    shapes = (
        (f"The {thing} is in the {place}.", f"Where is the {thing}?", f"The {thing} is in the {place}."),
        (f"{who} lives in {town}.", f"Where does {who} live?", f"{who} lives in {town}."),
        (
            f"The code of the {thing} is {code}.",
            f"What is the code of the {thing}?",
            f"The code of the {thing} is {code}.",
        ),
        (f"The {thing} costs {code} euros.", f"How much does the {thing} cost?", f"The {thing} costs {code} euros."),
        (f"{who} is a {rng.choice(words.JOBS)}.", f"What is the job of {who}?", ""),
        (f"{who} likes {rng.choice(words.FOODS)}.", f"What does {who} like?", ""),
        (f"The {thing} is {rng.choice(words.COLOURS)}.", f"What colour is the {thing}?", ""),
        (f"The {thing} belongs to {who}.", f"Who owns the {thing}?", f"The {thing} belongs to {who}."),
    )
    text, question, answer = rng.choice(shapes)
    return text, question, answer or text


def notes(rng: random.Random, count: int) -> list[tuple[str, str, str]]:
    """`count` statements with different questions."""
    seen: dict[str, tuple[str, str, str]] = {}
    while len(seen) < count:
        text, question, answer = _statement(rng)
        seen.setdefault(question, (text, question, answer))
    return list(seen.values())


def reading(rng: random.Random, count: int = 0) -> Example:
    """A short text and a question that it answers, or does not; the text may stand in the system turn."""
    found = notes(rng, (count or rng.randint(1, 6)) + 1)
    absent = found.pop()
    text = " ".join(statement for statement, _, _ in found)
    statement, question, answer = rng.choice(found)
    if rng.random() < 0.12:
        statement, question, answer = "absent " + absent[0], absent[1], "I do not know that."
    ways = (
        "{t}\n\n{q}",
        "{t} {q}",
        "Context: {t}\nQuestion: {q}",
        "Text: {t}\n\nQuestion: {q}",
        "Read this: {t}\n{q}",
        "{q}\n\n{t}",
    )
    combo = f"reading:{statement}"
    if rng.random() < 0.25:
        head = rng.choice(
            ("", "Context: ", "Use this information: ", "You are a helpful assistant. ", "Answer from these notes: ")
        )
        turns = (Turn("system", head + text), Turn("user", question), Turn("assistant", answer))
        return Example("reading", (combo,), turns)
    return ask("reading", combo, rng.choice(ways).format(t=text, q=question), answer)
