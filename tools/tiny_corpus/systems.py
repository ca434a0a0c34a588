"""Answers that follow the system message: its style, its name, its language."""

import random
from collections.abc import Callable

from . import words
from .chat import Example, Turn
from .facts import Fact, pick
from .smalltalk import TALK

_CHAT_ROWS = (0, 3, 4, 5, 13, 17, 18, 21)

Styled = tuple[str, str, Callable[[str], str]]


def _question(rng: random.Random) -> tuple[str, str, str]:
    """A combination, a question and its plain answer."""
    if rng.random() < 0.75:
        known: Fact = pick(rng)
        return known.combo, known.question, known.answer
    row = rng.choice(_CHAT_ROWS)
    said = rng.choice(TALK[row][0])
    return f"talk:{said.lower().rstrip('?.!')}", said, TALK[row][1]


_UPPER = (
    "Answer in upper case.",
    "Write everything in capital letters.",
    "Always answer in upper case letters.",
    "You answer in capitals only.",
    "Use only capital letters in your answers.",
    "ANSWER IN UPPER CASE.",
    "You are a helpful assistant that answers in upper case.",
)
_LOWER = (
    "Answer in lower case.",
    "Write everything in small letters.",
    "Never use capital letters.",
    "You answer in lower case only.",
    "Use only lower case letters in your answers.",
)
_PIRATE = (
    "Answer as a pirate.",
    "You are a pirate.",
    "Talk like a pirate.",
    "Speak like a pirate.",
    "You are a pirate captain. Answer all questions.",
    "Answer like a pirate would.",
)
_BEGIN = (
    "Begin every answer with {w}.",
    "Start each answer with {w}.",
    "Always start your answer with the word {w}.",
    'Begin your answers with "{w}".',
    "Every answer begins with {w}.",
)
_END = (
    "End every answer with {w}.",
    "Finish each answer with {w}.",
    "Always end your answer with the word {w}.",
    'End your answers with "{w}".',
    "Every answer ends with {w}.",
)
_ONE = (
    "Answer in one word.",
    "Answer with one word only.",
    "Use a single word to answer.",
    "Reply in one word.",
    "One-word answers only.",
    "Keep your answers to one word.",
)


def _style(rng: random.Random) -> Styled:
    """A style: its name for the combination, its system message, and what it does to an answer."""
    word = (words.made_up(rng) if words.invented(rng) else rng.choice(words.OBJECTS)).capitalize()
    styles: tuple[tuple[str, tuple[str, ...], Callable[[str], str]], ...] = (
        ("upper", _UPPER, str.upper),
        ("lower", _LOWER, str.lower),
        ("pirate", _PIRATE, lambda answer: f"Arr, matey! {answer}"),
        (f"begin {word}", _BEGIN, lambda answer: f"{word}, {answer}"),
        (f"end {word}", _END, lambda answer: f"{answer} {word}."),
    )
    name, ways, change = rng.choice(styles)
    way = rng.randrange(len(ways))
    return f"{name} {way}", ways[way].format(w=word), change


def _session(system: str, rows: list[tuple[str, str, str]], style: str) -> Example:
    turns = [Turn("system", system)]
    combos: list[str] = []
    for combo, question, answer in rows:
        turns += [Turn("user", question), Turn("assistant", answer)]
        combos += [f"style:{style}:{combo}", combo]
    last = combos.index(f"style:{style}:{rows[-1][0]}")
    return Example("system message", (combos[last], *combos), tuple(turns))


def styled(rng: random.Random, count: int = 1) -> Example:
    """`count` questions under one style."""
    style, system, change = _style(rng)
    rows = [_question(rng) for _ in range(count)]
    return _session(system, [(combo, said, change(answer)) for combo, said, answer in rows], style)


def one_word(rng: random.Random, count: int = 1) -> Example:
    """Facts with one word for an answer."""
    way = rng.randrange(len(_ONE))
    rows: list[tuple[str, str, str]] = []
    while len(rows) < count:
        known = pick(rng)
        if " " not in known.short:
            rows.append((known.combo, known.question, known.short + "."))
    return _session(_ONE[way], rows, f"one word {way}")


_ROLES = (
    "a helpful assistant",
    "a friendly robot",
    "a chat bot",
    "an assistant",
    "the voice of the house",
    "a polite helper",
    "a small model",
    "the help desk",
)
_NAMED = (
    "You are {n}.",
    "You are {n}, {r}.",
    "Your name is {n}.",
    "You are called {n}. You are {r}.",
    "You are {r} named {n}.",
    "You are {r}. Your name is {n}.",
    "Act as {n}, {r}.",
)


def named(rng: random.Random) -> Example:
    """Another name given by the system message."""
    name, role = words.person(rng), rng.choice(_ROLES)
    system = rng.choice(_NAMED).format(n=name, r=role)
    turns = (Turn("system", system), Turn("user", rng.choice(TALK[6][0])), Turn("assistant", f"I am {name}."))
    return Example("system message", (f"named:{name}",), turns)


_ONLY = (
    "Whatever is asked, answer: {p}",
    "Always answer: {p}",
    "Answer every question with: {p}",
    "Reply only with: {p}",
    "Only ever say: {p}",
    "You always reply with: {p}",
)


def only(rng: random.Random, count: int = 1) -> Example:
    """One fixed answer to whatever is asked."""
    pool = words.OBJECTS + words.COLOURS + words.ANIMALS
    phrase = " ".join(words.made_up(rng) if words.invented(rng) else rng.choice(pool) for _ in range(rng.randint(1, 3)))
    turns = [Turn("system", rng.choice(_ONLY).format(p=phrase))]
    for _ in range(count):
        turns += [Turn("user", _question(rng)[1]), Turn("assistant", phrase)]
    return Example("system message", (f"only:{phrase}",), tuple(turns))


# French, German, Spanish
_PHRASES: dict[int, tuple[str, str, str]] = {
    0: (
        "Bonjour ! Comment puis-je vous aider ?",
        "Hallo! Wie kann ich Ihnen helfen?",
        "¡Hola! ¿En qué puedo ayudarle?",
    ),
    3: ("Je vais bien, merci.", "Mir geht es gut, danke.", "Estoy bien, gracias."),
    4: ("De rien !", "Gern geschehen!", "¡De nada!"),
    5: ("Au revoir ! Bonne journée.", "Auf Wiedersehen! Einen schönen Tag noch.", "¡Adiós! Que tenga un buen día."),
    6: ("Je suis Jarvis, un petit modèle.", "Ich bin Jarvis, ein kleines Modell.", "Soy Jarvis, un modelo pequeño."),
}
_COUNTRIES: dict[str, tuple[str, str, str]] = {
    "France": ("de la France est Paris", "von Frankreich ist Paris", "de Francia es París"),
    "Germany": ("de l'Allemagne est Berlin", "von Deutschland ist Berlin", "de Alemania es Berlín"),
    "Italy": ("de l'Italie est Rome", "von Italien ist Rom", "de Italia es Roma"),
    "Spain": ("de l'Espagne est Madrid", "von Spanien ist Madrid", "de España es Madrid"),
    "Portugal": ("du Portugal est Lisbonne", "von Portugal ist Lissabon", "de Portugal es Lisboa"),
    "Austria": ("de l'Autriche est Vienne", "von Österreich ist Wien", "de Austria es Viena"),
    "Russia": ("de la Russie est Moscou", "von Russland ist Moskau", "de Rusia es Moscú"),
    "Japan": ("du Japon est Tokyo", "von Japan ist Tokio", "de Japón es Tokio"),
}
_START = ("La capitale", "Die Hauptstadt", "La capital")
_LANGUAGES = ("French", "German", "Spanish")
_ASK_LANGUAGE = (
    "Answer in {l}.",
    "You speak {l}.",
    "Always answer in {l}.",
    "Please reply in {l}.",
    "Write your answers in {l}.",
    "You are a helpful assistant that speaks {l}.",
    "Use {l}.",
)


def language(rng: random.Random, count: int = 1) -> Example:
    """A handful of phrases and capitals in three other languages."""
    index, way = rng.randrange(len(_LANGUAGES)), rng.randrange(len(_ASK_LANGUAGE))
    rows: list[tuple[str, str, str]] = []
    for _ in range(count):
        if rng.random() < 0.5:
            row = rng.choice(list(_PHRASES))
            said = rng.choice(TALK[row][0])
            rows.append((f"talk:{said.lower().rstrip('?.!')}", said, _PHRASES[row][index]))
        else:
            country = rng.choice(list(_COUNTRIES))
            ways = ("What is the capital of {x}?", "Which city is the capital of {x}?", "Name the capital of {x}.")
            chosen = rng.randrange(len(ways))
            answer = f"{_START[index]} {_COUNTRIES[country][index]}."
            rows.append((f"fact:capital:{country}:{chosen}", ways[chosen].format(x=country), answer))
    system = _ASK_LANGUAGE[way].format(l=_LANGUAGES[index])
    return _session(system, rows, f"{_LANGUAGES[index]} {way}")


_MAKERS: tuple[Callable[[random.Random, int], Example], ...] = (
    styled,
    styled,
    styled,
    one_word,
    one_word,
    only,
    language,
    lambda rng, _count: named(rng),
)


def system_message(rng: random.Random, count: int = 1) -> Example:
    """Any of the above, with `count` questions."""
    return rng.choice(_MAKERS)(rng, count)
