"""Grammars in llama.cpp's notation, GBNF, rewritten in Lark's.

A rule that does not lead back to itself becomes a terminal, one automaton, which is what makes masks fast; the others
stay rules. A terminal takes all the characters that it can: `[a-z]+` leaves no letter to what follows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from backends.constraints.closure import Closure
from backends.constraints.definitions import START, Definition, inside_out
from backends.constraints.gbnf_parser import ENDLESS, Alternatives, Item, Rule, parse
from backends.constraints.limits import LIMITS
from backends.constraints.places import quoted, refusal

_ROOT = "root"


def lark_of(text: str, place: str) -> str:
    """The grammar in Lark's notation.

    Raises:
        InvalidRequestError: it is too large, is not GBNF, or describes nothing that comes to an end.
    """
    rules = parse(text, place)
    if _ROOT not in rules:
        raise refusal(place, f"has no rule {_ROOT!r}, which a grammar begins with")
    definitions = [_definition(rule) for rule in rules.values()]
    for definition in definitions:
        for name, _ in definition.references:
            if name not in rules:
                raise refusal(place, f"(line {definition.line}) has no rule {quoted(name)}")
    order = [rules[definition.name] for definition in inside_out(definitions, place, _ROOT)]
    _check_endings(order, place)
    terminals = _terminals(order, {definition.name: definition for definition in definitions})
    names = _names(rules, terminals)
    lines = [f"{names[rule.name]}: {_written(rule.alternatives, names)}" for rule in rules.values()]
    if _ROOT in terminals:
        lines.insert(0, f"{START}: {names[_ROOT]}")
    return "\n".join(lines) + "\n"


def _definition(rule: Rule) -> Definition:
    definition = Definition(rule.name, rule.line, is_rule=False)
    _measure(rule.alternatives, definition)
    return definition


def _measure(alternatives: Alternatives, definition: Definition) -> None:
    for sequence in alternatives:
        definition.divide()
        for item in sequence:
            if item.alternatives is not None:
                definition.open()
                _measure(item.alternatives, definition)
                definition.close()
            elif item.name:
                definition.refer(item.name)
            else:
                definition.add(item.size)
            definition.repeat(max(item.least, item.most))


def _check_endings(order: Sequence[Rule], place: str) -> None:
    """Refuse a rule of which no text ever comes to an end."""
    closure = Closure()
    ends = {rule.name: closure.statement(needs=1) for rule in order}
    for rule in order:
        _say_when_it_ends(ends[rule.name], rule.alternatives, closure, ends)
    closure.close()
    for rule in order:
        if not closure.holds(ends[rule.name]):
            raise refusal(place, f"(line {rule.line}) never comes to an end in {quoted(rule.name)}")


def _say_when_it_ends(whole: int, alternatives: Alternatives, closure: Closure, ends: Mapping[str, int]) -> None:
    """`whole` is what holds when one of the alternatives comes to an end."""
    for sequence in alternatives:
        needed = [item for item in sequence if item.least and (item.name or item.alternatives is not None)]
        all_of_it = closure.statement(needs=len(needed))
        closure.ground(all_of_it, whole)
        for item in needed:
            if item.alternatives is None:
                closure.ground(ends[item.name], all_of_it)
            else:
                inner = closure.statement(needs=1)
                closure.ground(inner, all_of_it)
                _say_when_it_ends(inner, item.alternatives, closure, ends)


def _terminals(order: Sequence[Rule], definitions: Mapping[str, Definition]) -> set[str]:
    """The rules that consist of terminals only. One that is in the midst of itself is not among them yet."""
    sizes: dict[str, int] = {}
    for rule in order:
        definition = definitions[rule.name]
        if all(name in sizes for name, _ in definition.references):
            size = definition.size(sizes)
            if size <= LIMITS.regex_size:
                sizes[rule.name] = size
    return set(sizes)


def _names(rules: Mapping[str, Rule], terminals: set[str]) -> dict[str, str]:
    """A name in Lark for each rule: lower case for rules, upper case for terminals."""
    names: dict[str, str] = {}
    used = {START}
    for rule in rules:
        plain = re.sub(r"[^a-z0-9]+", "_", rule.lower()).strip("_")
        name = plain = plain if plain[:1].isalpha() else f"r_{plain}"
        number = 2
        while name in used:
            name, number = f"{plain}_{number}", number + 1
        used.add(name)
        names[rule] = name.upper() if rule in terminals else name
    if _ROOT not in terminals:
        names[_ROOT] = START
    return names


def _written(alternatives: Alternatives, names: Mapping[str, str]) -> str:
    return " | ".join(
        " ".join(_written_item(item, names) for item in sequence) if sequence else '""' for sequence in alternatives
    )


def _written_item(item: Item, names: Mapping[str, str]) -> str:
    if item.most == 0:
        return '""'
    if item.alternatives is not None:
        text = f"({_written(item.alternatives, names)})"
    else:
        text = names[item.name] if item.name else item.lark
    return text + _written_count(item.least, item.most)


def _written_count(least: int, most: int) -> str:
    if most == ENDLESS:
        return {0: "*", 1: "+"}.get(least, f"{{{least},}}")
    if least == most:
        return "" if most == 1 else f"{{{most}}}"
    return "?" if most == 1 else f"{{{least},{most}}}"
