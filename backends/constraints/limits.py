"""How large a constraint may be: one table, so that what native code gets to see is bounded in every direction."""

from __future__ import annotations

from typing import NamedTuple


class Limits(NamedTuple):
    """Caps of what a request may ask for. Lengths are in bytes of UTF-8 unless they say otherwise.

    The deepest and most expensive combinations within them were tried on the native compiler: they stay inside a
    thread's stack of 2 MB and do not hold up a decode step.
    """

    schema_bytes: int = 131_072
    schema_depth: int = 60
    schema_descent: int = 200
    """Schemas within schemas, counted through references, on the way to the innermost one."""
    schemas: int = 4_000
    properties: int = 500
    """Named properties of one object."""
    pattern_properties: int = 16
    either_or_properties: int = 32
    """Optional properties of an object that also bounds their number."""
    values: int = 5_000
    """Values of all `enum` and `const` together, with what is inside them."""
    value_depth: int = 16
    nested_values: int = 256
    """Arrays and objects in one `enum`."""
    text_characters: int = 4_096
    """Characters of one constant text or property name."""
    length: int = 100_000
    """`minLength`, `maxLength`, `minItems`, `maxItems`, and counts of repetitions in grammars."""
    divisor: int = 10_000
    """Least common multiple of the digits of all `multipleOf`."""

    regex_characters: int = 4_096
    regex_depth: int = 32
    regex_size: int = 10_000
    """Characters that a regex stands for when its counted repetitions are written out."""

    choices: int = 2_000
    choice_bytes: int = 65_536

    grammar_bytes: int = 65_536
    grammar_depth: int = 24
    grammar_descent: int = 400
    """Brackets within brackets, counted through rules, on the way to the innermost one."""
    grammar_rules: int = 1_000
    grammar_tokens: int = 30_000


LIMITS = Limits()

LARGEST_NUMBER = 2**53
"""Numbers beyond it are not exact in a JSON reader that uses floats, nor in the native compiler."""
SMALLEST_NUMBER = 1e-15
"""Numbers nearer to zero would be written with more zeros than is sensible."""
