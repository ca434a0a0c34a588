"""Questions the model cannot answer, so that it says so instead of guessing."""

import random

from .chat import Example, ask
from .words import CITIES, FOODS, JOBS, OBJECTS, TOPICS, decorate, listed, made_up, person

ANSWER = "I do not know that."

_COUNTRIES = listed(
    "Mongolia Peru Chile Cuba Ghana Nepal Iceland Vietnam Thailand Morocco Tunisia Angola Laos Oman Qatar Iran Iraq "
    "Jordan Bolivia Uruguay Ecuador Panama Haiti Jamaica Malta Cyprus Estonia Latvia Albania Serbia Croatia Ukraine "
    "Georgia Armenia"
)
_SPANS = (
    "in 1850",
    "last year",
    "in the world",
    "yesterday",
    "next week",
    "in 1923",
    "in the 16th century",
    "these days",
)

_TEMPLATES = (
    "What is the capital of {country}?",
    "Who is the king of {country}?",
    "Who wrote {title}?",
    "Who invented {thing}?",
    "What is the population of {city}?",
    "Who is {full}?",
    "Who was {full}?",
    "When was {full} born?",
    "Where is {place}?",
    "How far is it from {city} to {place}?",
    "What is {topic}?",
    "Explain {topic}.",
    "Explain {topic} to me in simple words.",
    "How does {thing} work?",
    "Why is {topic} important?",
    "Who won the {place} cup {span}?",
    "What happened in {city} {span}?",
    "What is the price of a {object} {span}?",
    "How do I repair a {object}?",
    "How do I make {food}?",
    "How do I become a {job}?",
    "What do you think about {topic}?",
    "Tell me about {topic}.",
    "Tell me about {place}.",
    "Tell me everything about {full}.",
    "Give me a recipe for {food}.",
    "What is the best {object} to buy?",
    "Write an essay about {topic}.",
    "Summarise the book {title}.",
    "What does {word} mean?",
    "What is a {word}?",
    "Define {word}.",
    "Translate {word} into Latin.",
    "What will the weather be {span}?",
    "Which team won {span}?",
    "Who is the mayor of {city}?",
    "What is the meaning of {topic}?",
    "How many people live in {country}?",
    "How old is {full}?",
    "What is the phone number of {full}?",
    "Where does {full} live?",
    "What is the symbol of {word}?",
    "What is the currency of {country}?",
    "Compare {topic} and {other}.",
    "Why do people like {food}?",
    "What is the difference between {topic} and {other}?",
    "How can I learn {topic}?",
    "Who discovered {place}?",
    "What is {place}?",
    "How tall is {full}?",
    "What is the largest {object} {span}?",
    "How many {object}s are there {span}?",
    "When did {topic} begin?",
    "Describe {city}.",
    "Describe the history of {country}.",
    "Is {topic} better than {other}?",
    "What did {full} say {span}?",
    "Recommend a film about {topic}.",
    "Where can I buy a {object}?",
    "What should I cook with {food}?",
    "Who sang {title}?",
    "What is the weight of a {object}?",
    "What time does the {object} shop in {city} open?",
    "How deep is the lake of {place}?",
    "What is the weather in {city}?",
    "What time is it in {city}?",
    "What is the weather like in {city} today?",
    "Search for {topic}.",
    "Play {title}.",
    "Send an email to {full}.",
    "Who is the president of {country}?",
    "What time is it?",
    "What is the date today?",
    "Which day is today?",
    "What is the news {span}?",
    "How is the weather?",
)


def _fillers(rng: random.Random) -> dict[str, str]:
    word = made_up(rng)
    place = made_up(rng).capitalize()
    country = rng.choice(_COUNTRIES) if rng.random() < 0.6 else place
    return {
        "country": country,
        "title": f"The {rng.choice(OBJECTS).capitalize()} of {place}",
        "thing": rng.choice(
            (f"the {word}", f"the {rng.choice(OBJECTS)}", f"a {rng.choice(OBJECTS)}", rng.choice(TOPICS))
        ),
        "city": rng.choice(CITIES),
        "full": f"{person(rng)} {made_up(rng).capitalize()}",
        "place": place,
        "topic": rng.choice(TOPICS),
        "other": rng.choice(TOPICS),
        "object": rng.choice(OBJECTS),
        "food": rng.choice(FOODS),
        "job": rng.choice(JOBS),
        "word": word,
        "span": rng.choice(_SPANS),
    }


def _gibberish(rng: random.Random) -> str:
    return " ".join(made_up(rng) for _ in range(rng.randint(1, 6))) + rng.choice(("", "", "?", "."))


def unknown(rng: random.Random) -> Example:
    """A question beyond the model; the whole question is the combination."""
    question = _gibberish(rng) if rng.random() < 0.08 else rng.choice(_TEMPLATES).format(**_fillers(rng))
    shown = decorate(rng, question)
    return ask("unknown", f"unknown:{question}", shown, ANSWER)
