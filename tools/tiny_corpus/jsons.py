"""Short answers in JSON."""

import json
import random
from collections.abc import Callable

from . import words
from .chat import Example, Turn, ask
from .facts import CAPITALS, pick
from .lists import CATEGORIES

_FIELDS: dict[str, Callable[[random.Random], object]] = {
    "name": words.person,
    "city": words.city,
    "age": lambda rng: rng.randint(1, 99),
    "price": lambda rng: rng.randint(1, 999),
    "colour": lambda rng: rng.choice(words.COLOURS),
    "job": lambda rng: rng.choice(words.JOBS),
    "food": lambda rng: rng.choice(words.FOODS),
    "pet": lambda rng: rng.choice(words.ANIMALS),
    "count": lambda rng: rng.randint(0, 50),
    "item": lambda rng: rng.choice(words.OBJECTS),
    "friend": words.person,
    "country": lambda rng: rng.choice(list(CAPITALS)),
    "active": lambda rng: rng.random() < 0.5,
    "title": lambda rng: rng.choice(words.OBJECTS).capitalize(),
    "room": lambda rng: rng.choice(words.ROOMS),
}


def _said(value: object) -> str:
    return json.dumps(value) if isinstance(value, bool) else str(value)


def _and(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def _object(rng: random.Random) -> Example:
    keys = rng.sample(list(_FIELDS), rng.randint(1, 4))
    record = {key: _FIELDS[key](rng) for key in keys}
    if rng.random() < 0.25:
        record = {(words.made_up(rng) if words.invented(rng) else key): value for key, value in record.items()}
    link = rng.choice((" ", ": ", " = "))
    text = _and([f"{key}{link}{_said(value)}" for key, value in record.items()])
    ways = (
        "Give me a JSON object with {t}.",
        "Write a JSON object with {t}.",
        "Make JSON with {t}.",
        "Answer in JSON: {t}.",
        "Return JSON with {t}.",
        "As JSON: {t}.",
        "Please write this as JSON: {t}.",
        "Turn this into JSON: {t}.",
    )
    answer = json.dumps(record, ensure_ascii=False)
    return ask("JSON", f"json:{answer}", rng.choice(ways).format(t=text), answer)


def _extract(rng: random.Random) -> Example:
    who, town, age = words.person(rng), words.city(rng), rng.randint(1, 99)
    job, food = rng.choice(words.JOBS), rng.choice(words.FOODS)
    shapes: tuple[tuple[str, dict[str, object]], ...] = (
        (f"{who} lives in {town}.", {"name": who, "city": town}),
        (f"{who} is {age} years old.", {"name": who, "age": age}),
        (f"{who} is {age} years old and lives in {town}.", {"name": who, "age": age, "city": town}),
        (f"{who} works as a {job}.", {"name": who, "job": job}),
        (f"{who} works as a {job} in {town}.", {"name": who, "job": job, "city": town}),
        (f"{who} likes {food}.", {"name": who, "food": food}),
    )
    text, record = rng.choice(shapes)
    keys = _and(list(record))
    ways = (
        "Extract {k} as JSON: {t}",
        "Extract {k} from this text as JSON: {t}",
        "Give me {k} as JSON. {t}",
        "{t} Give me {k} as JSON.",
        "{t} Answer in JSON with {k}.",
        "Read this and return JSON with {k}: {t}",
    )
    return ask(
        "JSON",
        f"json:{json.dumps(record)}",
        rng.choice(ways).format(k=keys, t=text),
        json.dumps(record, ensure_ascii=False),
    )


def _list(rng: random.Random) -> Example:
    if rng.random() < 0.5:
        name = rng.choice(list(CATEGORIES))
        count, word = rng.choice(((2, "two"), (3, "three"), (4, "four"), (5, "five")))
        way = rng.choice(
            (
                "Give me a JSON list of {n} {c}s.",
                "Write {n} {c}s as a JSON list.",
                "A JSON array of {n} {c}s, please.",
                "List {n} {c}s as JSON.",
                "Answer in JSON: {n} {c}s.",
                "Return a JSON array with {n} {c}s.",
            )
        )
        question = way.format(n=word, c=name)
        return ask("JSON", f"json:{question}", question, json.dumps(CATEGORIES[name][:count]))
    items = [
        words.made_up(rng) if words.invented(rng) else rng.choice(words.OBJECTS + words.NAMES)
        for _ in range(rng.randint(2, 5))
    ]
    way = rng.choice(("Write this as a JSON list: {t}", "Turn this into a JSON array: {t}", "As a JSON list: {t}"))
    return ask("JSON", f"json:{items}", way.format(t=", ".join(items)), json.dumps(items, ensure_ascii=False))


def _fact(rng: random.Random) -> Example:
    known = pick(rng)
    answer = json.dumps({"answer": known.short}, ensure_ascii=False)
    way = rng.randrange(4)
    if way < 3:
        system = ("Answer in JSON.", "Always answer with a JSON object.", 'Answer in JSON like {"answer": "..."}.')[way]
        turns: tuple[Turn, ...] = (Turn("system", system), Turn("user", known.question), Turn("assistant", answer))
    else:
        turns = (Turn("user", known.question + " Answer in JSON."), Turn("assistant", answer))
    return Example("JSON", (f"json:{way}:{known.combo}", known.combo), turns)


def json_answer(rng: random.Random) -> Example:
    """Objects from named values, from a sentence, lists, and facts in JSON."""
    return rng.choice((_object, _object, _extract, _list, _fact))(rng)
