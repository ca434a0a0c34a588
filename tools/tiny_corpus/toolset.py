"""The tools that training talks about: their many names, their arguments, what users say, and what tools answer."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from . import words
from .chat import Json


@dataclass(frozen=True)
class Argument:
    """One argument: the names it goes by, its JSON type, and its values."""

    names: tuple[str, ...]
    kind: str
    value: Callable[[random.Random], object]
    about: str


@dataclass(frozen=True)
class Tool:
    """A tool. `{0}`, `{1}` in `says`, `results` and `reports` stand for its arguments.

    `results` are JSON objects as the tool returns them, `reports` the assistant's words for each; in both, `{r}` stands
    for a value drawn by `result`.
    """

    names: tuple[str, ...]
    about: tuple[str, ...]
    arguments: tuple[Argument, ...]
    says: tuple[str, ...]
    result: Callable[[random.Random], object]
    results: tuple[str, ...]
    report: str


def _integer(low: int, high: int) -> Callable[[random.Random], object]:
    return lambda rng: rng.randint(low, high)


def _phrase(rng: random.Random) -> object:
    pools = (words.OBJECTS, words.FOODS, words.ANIMALS, words.TOPICS)
    return " ".join(
        words.made_up(rng) if words.invented(rng) else rng.choice(rng.choice(pools)) for _ in range(rng.randint(1, 3))
    )


def _sum(rng: random.Random) -> object:
    return f"{words.number(rng)} {rng.choice('+-*/')} {words.number(rng)}"


def _clock(rng: random.Random) -> object:
    return f"{rng.randrange(24):02}:{rng.randrange(60):02}"


def _code(rng: random.Random) -> object:
    return "".join(rng.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(rng.randint(3, 4)))


def _of(pool: list[str]) -> Callable[[random.Random], object]:
    return lambda rng: words.made_up(rng) if words.invented(rng) else rng.choice(pool)


def _mail(rng: random.Random) -> object:
    return f"{words.person(rng).lower()}@{words.made_up(rng)}.{rng.choice(('com', 'org', 'net'))}"


_CITY = Argument(("city", "location", "place", "town"), "string", words.city, "The city")
_WORDS = words.listed("sunny cloudy rainy windy foggy snowy clear stormy")
_CODES = words.listed("USD EUR GBP JPY CHF CAD SEK PLN")
_TONGUES = words.listed("French German Spanish Italian Latin Greek Polish Dutch Swedish")

TOOLS = (
    Tool(
        ("get_weather", "get_current_weather", "weather", "fetch_weather", "weather_now"),
        ("Get the weather in a city", "Get the current weather", "Look up the weather of a place"),
        (_CITY,),
        (
            "What is the weather in {0}?",
            "How is the weather in {0}?",
            "What's the weather like in {0}?",
            "Is it raining in {0}?",
            "Tell me the weather in {0}.",
            "Weather in {0}?",
            "What is the weather like in {0} today?",
            "Is it cold in {0}?",
        ),
        lambda rng: f"{rng.randint(-10, 35)} degrees and {rng.choice(_WORDS)}",
        ('{"weather": "{r}"}', "{r}", '{"city": "{0}", "weather": "{r}"}', '{"result": "{r}"}'),
        "It is {r} in {0}.",
    ),
    Tool(
        ("get_temperature", "temperature", "read_temperature"),
        ("Get the temperature in a city", "Temperature of a place"),
        (_CITY,),
        (
            "What is the temperature in {0}?",
            "How warm is it in {0}?",
            "Tell me the temperature in {0}.",
            "How cold is it in {0}?",
        ),
        _integer(-10, 35),
        ('{"temperature": {r}}', "{r}", '{"city": "{0}", "temperature": {r}}', '{"temp": {r}, "unit": "C"}'),
        "The temperature in {0} is {r} degrees.",
    ),
    Tool(
        ("get_time", "get_current_time", "time_in", "clock"),
        ("Get the time in a city", "Get the local time of a place"),
        (_CITY,),
        ("What time is it in {0}?", "Tell me the time in {0}.", "What is the time in {0}?", "How late is it in {0}?"),
        _clock,
        ('{"time": "{r}"}', "{r}", '{"city": "{0}", "time": "{r}"}'),
        "The time in {0} is {r}.",
    ),
    Tool(
        ("calculate", "calculator", "evaluate", "compute", "math"),
        ("Evaluate an arithmetic expression", "Do a calculation"),
        (Argument(("expression", "formula", "input"), "string", _sum, "The expression"),),
        ("Calculate {0}.", "What is {0}?", "Compute {0}.", "How much is {0}?", "Please work out {0}."),
        lambda rng: words.number(rng),
        ('{"result": {r}}', "{r}", '{"value": {r}}'),
        "The result is {r}.",
    ),
    Tool(
        ("search", "web_search", "search_web", "find"),
        ("Search the web", "Look something up on the web"),
        (Argument(("query", "q", "text"), "string", _phrase, "What to search for"),),
        (
            "Search for {0}.",
            "Search the web for {0}.",
            "Find {0} on the web.",
            "Look up {0}.",
            "Please search for {0}.",
        ),
        _phrase,
        ('{"result": "{r}"}', "{r}", '{"top": "{r}"}'),
        "I found this: {r}.",
    ),
    Tool(
        ("send_email", "email", "send_mail", "write_email"),
        ("Send an email", "Write an email to somebody"),
        (
            Argument(("to", "recipient", "address"), "string", _mail, "The address"),
            Argument(("subject", "title"), "string", _phrase, "The subject"),
        ),
        ("Send an email to {0} about {1}.", "Email {0} about {1}.", "Write an email to {0} with the subject {1}."),
        lambda rng: rng.choice(("sent", "ok", "done")),
        ('{"status": "{r}"}', "{r}"),
        "The email to {0} is on its way.",
    ),
    Tool(
        ("set_timer", "start_timer", "timer"),
        ("Set a timer", "Start a timer"),
        (Argument(("minutes", "duration", "length"), "integer", _integer(1, 120), "Minutes"),),
        (
            "Set a timer for {0} minutes.",
            "Start a timer of {0} minutes.",
            "Timer for {0} minutes, please.",
            "Remind me in {0} minutes.",
        ),
        lambda rng: rng.choice(("ok", "started", "set")),
        ('{"status": "{r}"}', "{r}"),
        "The timer is set for {0} minutes.",
    ),
    Tool(
        ("play_music", "play_song", "play", "start_music"),
        ("Play music", "Play a song"),
        (Argument(("song", "title", "name"), "string", _phrase, "The song"),),
        ("Play {0}.", "Play the song {0}.", "I want to hear {0}.", "Please play {0}."),
        lambda rng: rng.choice(("playing", "ok")),
        ('{"status": "{r}"}', "{r}"),
        "Now playing {0}.",
    ),
    Tool(
        ("translate", "translate_text", "translator"),
        ("Translate a text", "Translate words into another language"),
        (
            Argument(("text", "input", "words"), "string", _phrase, "The text"),
            Argument(("language", "target", "to"), "string", _of(_TONGUES), "The language"),
        ),
        ("Translate {0} into {1}.", "Translate {0} to {1}.", "How do you say {0} in {1}?", "What is {0} in {1}?"),
        lambda rng: words.made_up(rng),
        ('{"translation": "{r}"}', "{r}", '{"text": "{r}"}'),
        "In {1} that is {r}.",
    ),
    Tool(
        ("get_stock_price", "stock_price", "get_price", "quote"),
        ("Get the price of a stock", "Look up a share price"),
        (Argument(("symbol", "ticker", "stock"), "string", _code, "The symbol"),),
        (
            "What is the price of {0}?",
            "What is the stock price of {0}?",
            "How much is a share of {0}?",
            "Get the price of {0}.",
        ),
        _integer(1, 999),
        ('{"price": {r}}', "{r}", '{"symbol": "{0}", "price": {r}}'),
        "The price of {0} is {r}.",
    ),
    Tool(
        ("turn_on_light", "light_on", "switch_on", "lights"),
        ("Turn on the light in a room", "Switch on a lamp"),
        (Argument(("room", "place", "where"), "string", lambda rng: rng.choice(words.ROOMS), "The room"),),
        (
            "Turn on the light in the {0}.",
            "Switch on the {0} light.",
            "Light in the {0}, please.",
            "Turn the {0} light on.",
        ),
        lambda rng: rng.choice(("on", "ok", "done")),
        ('{"status": "{r}"}', "{r}"),
        "The light in the {0} is on.",
    ),
    Tool(
        ("convert_currency", "convert", "exchange"),
        ("Convert an amount of money", "Convert between currencies"),
        (
            Argument(("amount", "value", "sum"), "integer", _integer(1, 999), "The amount"),
            Argument(("from", "source", "from_currency"), "string", lambda rng: rng.choice(_CODES), "From"),
            Argument(("to", "target", "to_currency"), "string", lambda rng: rng.choice(_CODES), "To"),
        ),
        ("Convert {0} {1} to {2}.", "How much is {0} {1} in {2}?", "Change {0} {1} into {2}."),
        _integer(1, 2000),
        ('{"result": {r}}', "{r}", '{"amount": {r}, "currency": "{2}"}'),
        "{0} {1} is {r} {2}.",
    ),
    Tool(
        ("create_event", "add_event", "add_to_calendar", "schedule"),
        ("Add an event to the calendar", "Plan an event"),
        (
            Argument(("title", "name", "event"), "string", _phrase, "The title"),
            Argument(("day", "date", "when"), "string", lambda rng: rng.choice(words.WEEKDAYS), "The day"),
        ),
        (
            "Add {0} to my calendar on {1}.",
            "Plan {0} for {1}.",
            "Schedule {0} on {1}.",
            "Put {0} on {1} in my calendar.",
        ),
        lambda rng: rng.choice(("created", "ok", "done")),
        ('{"status": "{r}"}', "{r}"),
        "{0} is in your calendar on {1}.",
    ),
    Tool(
        ("lookup_user", "find_user", "get_user", "user_info"),
        ("Look up a user", "Find a user by name"),
        (Argument(("name", "user", "username"), "string", words.person, "The name"),),
        ("Look up the user {0}.", "Who is the user {0}?", "Find the user {0}.", "Show me the user {0}."),
        words.city,
        ('{"city": "{r}"}', '{"name": "{0}", "city": "{r}"}'),
        "{0} lives in {r}.",
    ),
    Tool(
        ("order_food", "order", "place_order"),
        ("Order food", "Place an order"),
        (
            Argument(("dish", "item", "food"), "string", _of(words.FOODS), "The dish"),
            Argument(("count", "quantity", "number"), "integer", _integer(1, 20), "How many"),
        ),
        (
            "Order {1} portions of {0}.",
            "Order {1} times {0}.",
            "I want to order {1} {0}.",
            "Get me {1} portions of {0}.",
        ),
        lambda rng: rng.choice(("ordered", "ok")),
        ('{"status": "{r}"}', "{r}"),
        "I ordered {1} portions of {0}.",
    ),
)


@dataclass(frozen=True)
class Offer:
    """A tool under the names it is offered by in one conversation."""

    tool: Tool
    name: str
    keys: tuple[str, ...]
    schema: Json


def offer(rng: random.Random, tool: Tool) -> Offer:
    """Choose the names and write the JSON schema, in one of the shapes that clients send."""
    name = rng.choice(tool.names) if rng.random() < 0.85 else f"{rng.choice(words.OBJECTS)}_{rng.choice(tool.names)}"
    keys = tuple(rng.choice(argument.names) for argument in tool.arguments)
    properties: Json = {}
    for key, argument in zip(keys, tool.arguments, strict=True):
        properties[key] = {"type": argument.kind}
        if rng.random() < 0.4:
            properties[key]["description"] = argument.about
    parameters: Json = {"type": "object", "properties": properties}
    if rng.random() < 0.8:
        parameters["required"] = list(keys)
    about = rng.choice(tool.about) + rng.choice(("", "."))
    function: Json = {"name": name, "description": about, "parameters": parameters}
    return Offer(tool, name, keys, {"type": "function", "function": function})


def fill(template: str, values: list[object], result: object = "") -> str:
    """Put arguments and result into a template that may hold JSON braces of its own."""
    for index, value in enumerate(values):
        template = template.replace("{" + str(index) + "}", str(value))
    return template.replace("{r}", str(result))
