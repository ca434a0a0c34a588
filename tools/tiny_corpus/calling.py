"""Calling tools, and answering from what they return."""

import random

from .chat import Example, Json, Turn, tool_call
from .facts import fact
from .smalltalk import smalltalk
from .toolset import TOOLS, Offer, Tool, fill, offer
from .unknown import unknown

_SYSTEMS = (
    "You are a helpful assistant.",
    "You are Jarvis, a helpful assistant.",
    "Use the tools when they help.",
    "You are a function calling AI model.",
)
_ERRORS = ("not found", "timeout", "service unavailable", "invalid input", "no data")
_MAX_TOOLS = 4
# Tools that no question without an answer could be meant for.
_ACTIONS = tuple(
    tool
    for tool in TOOLS
    if tool.names[0]
    in (
        "get_temperature",
        "set_timer",
        "turn_on_light",
        "convert_currency",
        "create_event",
        "lookup_user",
        "order_food",
        "calculate",
    )
)


def _offers(rng: random.Random, tools: tuple[Tool, ...] = TOOLS) -> list[Offer]:
    count = rng.choice((1, 1, 1, 2, 2, 3) if rng.random() < 0.9 else (_MAX_TOOLS,))
    offers = [offer(rng, tool) for tool in rng.sample(tools, count)]
    return offers if len({made.name for made in offers}) == count else _offers(rng, tools)


def _values(rng: random.Random, made: Offer) -> list[object]:
    return [argument.value(rng) for argument in made.tool.arguments]


def _arguments(made: Offer, values: list[object]) -> Json:
    return dict(zip(made.keys, values, strict=True))


def _result(rng: random.Random, made: Offer, values: list[object]) -> tuple[str, str]:
    """What a tool returns, and the assistant's words for it."""
    if rng.random() < 0.1:
        error = rng.choice(_ERRORS)
        return f'{{"error": "{error}"}}', f"Sorry, the tool failed: {error}."
    drawn = made.tool.result(rng)
    report = fill(made.tool.report, values, drawn)
    return fill(rng.choice(made.tool.results), values, drawn), report[0].upper() + report[1:]


def _head(rng: random.Random) -> list[Turn]:
    return [Turn("system", rng.choice(_SYSTEMS))] if rng.random() < 0.5 else []


def _combo(made: Offer, values: list[object]) -> str:
    return f"tool:{made.tool.names[0]}:{values}"


def _request(rng: random.Random, offers: list[Offer]) -> tuple[list[str], str, list[tuple[Offer, list[object]]]]:
    """A user's request and the calls it needs: mostly one, now and then two of the same tool."""
    made = rng.choice(offers)
    values = _values(rng, made)
    combos, calls = [_combo(made, values)], [(made, values)]
    said = fill(rng.choice(made.tool.says), values)
    if len(made.keys) == 1 and rng.random() < 0.15:
        second = _values(rng, made)
        joined = fill(rng.choice(made.tool.says), [f"{values[0]} and {second[0]}"])
        if second != values and " in " in joined:
            return [combos[0], _combo(made, second)], joined, [*calls, (made, second)]
    return combos, said, calls


def _call_text(calls: list[tuple[Offer, list[object]]]) -> str:
    return "\n".join(tool_call(made.name, _arguments(made, values)) for made, values in calls)


def _schemas(offers: list[Offer]) -> tuple[Json, ...]:
    return tuple(made.schema for made in offers)


def calling(rng: random.Random, rounds: int = 1) -> Example:
    """A request that needs a tool. With more rounds, earlier requests and their results come before it."""
    offers = _offers(rng)
    turns = _head(rng)
    combos: list[str] = []
    for index in range(rounds):
        made_combos, said, calls = _request(rng, offers)
        combos = made_combos + combos
        turns += [Turn("user", said), Turn("assistant", _call_text(calls))]
        if index + 1 < rounds and len(calls) == 1:
            returned, report = _result(rng, *calls[0])
            turns += [Turn("tool", returned), Turn("assistant", report)]
    return Example("tool calls", tuple(combos), tuple(turns), _schemas(offers))


def answering(rng: random.Random) -> Example:
    """The answer after a tool has returned something."""
    offers = _offers(rng)
    made = rng.choice(offers)
    values = _values(rng, made)
    returned, report = _result(rng, made, values)
    turns = [
        *_head(rng),
        Turn("user", fill(rng.choice(made.tool.says), values)),
        Turn("assistant", _call_text([(made, values)])),
        Turn("tool", returned),
        Turn("assistant", report),
    ]
    return Example(
        "tool results", (f"{_combo(made, values)}:{returned}", _combo(made, values)), tuple(turns), _schemas(offers)
    )


def no_call(rng: random.Random) -> Example:
    """Tools on offer, but the question needs none: the plain answer."""
    plain = rng.choice((fact, smalltalk, unknown))(rng)
    turns = (*_head(rng), *plain.turns)
    combos = (plain.combos[0], *plain.combos)
    return Example("no tool needed", combos, turns, _schemas(_offers(rng, _ACTIONS)))
