"""Yes/no answers, lists, and repeating what was said."""

import random

from . import words
from .chat import Example, ask
from .facts import CAPITALS
from .words import decorate

CATEGORIES: dict[str, list[str]] = {
    "animal": words.ANIMALS,
    "bird": words.BIRDS,
    "fruit": words.FRUITS,
    "vegetable": words.VEGETABLES,
    "tool": words.TOOLS,
    "instrument": words.INSTRUMENTS,
    "sport": words.SPORTS,
    "vehicle": words.VEHICLES,
    "flower": words.FLOWERS,
    "colour": [c for c in words.COLOURS if c not in ("orange", "violet")],
}
_PLURALS = {"colour": "colours", "city": "cities"}
_LISTS: dict[str, list[str]] = {
    **{_PLURALS.get(name, name + "s"): items for name, items in CATEGORIES.items()},
    "cities": words.CITIES,
    "names": words.NAMES,
    "clothes": words.CLOTHES,
    "jobs": words.JOBS,
    "foods": words.FOODS,
    "months": words.MONTHS,
    "days of the week": words.WEEKDAYS,
}
_COUNTS = {2: "two", 3: "three", 4: "four", 5: "five"}
_ASK_LIST = (
    "List {n} {what}.",
    "Name {n} {what}.",
    "Give me {n} {what}.",
    "Can you name {n} {what}?",
    "Tell me {n} {what}.",
    "I need {n} {what}.",
    "Please list {n} {what}.",
    "Write down {n} {what}.",
)
_FORMS = (
    ("", ""),
    (" as a numbered list", "1"),
    (" as a bulleted list", "-"),
    (" separated by commas", ""),
    (", one per line", "\n"),
)


def _an(noun: str) -> str:
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def _category_question(rng: random.Random) -> tuple[str, str, bool]:
    real = rng.choice(list(CATEGORIES))
    asked = real if rng.random() < 0.5 else rng.choice(list(CATEGORIES))
    item = rng.choice(CATEGORIES[real])
    if real == "colour" or asked == "colour":
        question = f"Is {item} a colour?" if rng.random() < 0.5 else f"Is {item} {_an(asked)}?"
        asked = "colour" if question.endswith("a colour?") else asked
    else:
        ways = ("Is {i} {c}?", "Is {i} a kind of {p}?", "Would you call {i} {c}?", "Is it true that {i} is {c}?")
        shown = item if real == "sport" else _an(item)
        question = rng.choice(ways).format(i=shown, c=_an(asked), p=asked)
    right = item in CATEGORIES[asked] or (asked == "animal" and item in words.BIRDS)
    return f"yes:{item}:{asked}:{question}", question, right


def _number_question(rng: random.Random) -> tuple[str, str, bool]:
    a, b = rng.randrange(100), rng.randrange(100)
    kind = rng.randrange(4)
    if kind == 0:
        word = rng.choice(("larger", "greater", "bigger"))
        return f"yes:{a}>{b}", f"Is {a} {word} than {b}?", a > b
    if kind == 1:
        return f"yes:{a}<{b}", f"Is {a} {rng.choice(('smaller', 'less'))} than {b}?", a < b
    word = rng.choice(("even", "odd"))
    question = f"Is {a} {word}?" if kind == 2 else f"Is {a} an {word} number?"
    return f"yes:{question}", question, (a % 2 == 0) == (word == "even")


def _capital_question(rng: random.Random) -> tuple[str, str, bool]:
    country = rng.choice(list(CAPITALS))
    town = CAPITALS[country] if rng.random() < 0.5 else rng.choice(list(CAPITALS.values()))
    ways = ("Is {t} the capital of {c}?", "Is it true that {t} is the capital of {c}?", "Is the capital of {c} {t}?")
    way = rng.randrange(len(ways))
    return f"yes:{country}:{town}:{way}", ways[way].format(t=town, c=country), CAPITALS[country] == town


def yes_no(rng: random.Random) -> Example:
    """Numbers compared, even and odd, kinds of things, and capitals."""
    make = rng.choice((_category_question, _number_question, _capital_question))
    combo, question, right = make(rng)
    back = rng.choice(("", "", "", " Answer yes or no.", " Yes or no?"))
    return ask("yes/no", combo, (question if back else decorate(rng, question)) + back, "Yes." if right else "No.")


def _format(items: list[str], mark: str) -> str:
    if mark == "1":
        return "\n".join(f"{i}. {item}" for i, item in enumerate(items, 1))
    if mark == "-":
        return "\n".join(f"- {item}" for item in items)
    return mark.join(items) if mark else ", ".join(items)


def _named_list(rng: random.Random) -> Example:
    what, count = rng.choice(list(_LISTS)), rng.choice(list(_COUNTS))
    form, mark = _FORMS[rng.choice((0, 0, 1, 1, 2, 3, 4))]
    way = rng.randrange(len(_ASK_LIST))
    shown = _COUNTS[count] if rng.random() < 0.7 else str(count)
    question = _ASK_LIST[way].format(n=shown, what=what)
    question = question[:-1] + form + question[-1]
    return ask("lists", f"list:{what}:{count}:{form}:{way}", question, _format(_LISTS[what][:count], mark))


def _counting(rng: random.Random) -> Example:
    start = rng.choice((1, 1, 1, rng.randint(2, 30)))
    stop = start + rng.randint(2, 12 if rng.random() < 0.85 else 40)
    way = rng.choice(
        (
            "Count from {a} to {b}.",
            "Can you count from {a} to {b}?",
            "Please count from {a} to {b}.",
            "List the numbers from {a} to {b}.",
            "Count up from {a} to {b}.",
        )
    )
    return ask(
        "lists", f"count:{start}:{stop}", way.format(a=start, b=stop), ", ".join(map(str, range(start, stop + 1)))
    )


def _next(rng: random.Random) -> Example:
    names, unit = rng.choice(((words.WEEKDAYS, "day"), (words.MONTHS, "month")))
    index = rng.randrange(len(names))
    step, word = rng.choice(((1, "after"), (-1, "before")))
    way = rng.choice(
        ("What comes {w} {x}?", "Which {u} comes {w} {x}?", "What is the {u} {w} {x}?", "Which {u} is {w} {x}?")
    )
    question = way.format(w=word, x=names[index], u=unit)
    return ask(
        "lists", f"next:{question}", question, f"{names[(index + step) % len(names)]} comes {word} {names[index]}."
    )


def list_answer(rng: random.Random) -> Example:
    """Lists of things, counting, and what comes next."""
    return rng.choice((_named_list, _named_list, _counting, _next))(rng)


def _phrase(rng: random.Random, longest: int) -> str:
    pools = (words.OBJECTS, words.ANIMALS, words.COLOURS, words.FOODS, words.NAMES, words.CITIES)
    picked = [
        words.made_up(rng) if words.invented(rng) else rng.choice(rng.choice(pools))
        for _ in range(rng.randint(1, longest))
    ]
    if rng.random() < 0.2:
        picked.append(words.number(rng))
    return " ".join(picked)


def repeat(rng: random.Random, longest: int = 6) -> Example:
    """Saying a phrase of up to `longest` words back word for word."""
    phrase = _phrase(rng, longest)
    way = rng.choice(
        (
            "Repeat after me: {p}",
            "Say: {p}",
            "Repeat: {p}",
            "Say exactly this: {p}",
            'Repeat the words "{p}".',
            'Say "{p}".',
            "Please repeat this: {p}",
            "Echo: {p}",
            "Reply with exactly: {p}",
            "Reply with: {p}",
        )
    )
    return ask("repeating", f"repeat:{phrase}", way.format(p=phrase), phrase)
