"""Short Python functions, named as the user wishes."""

import random

from .chat import Example, ask
from .words import ANIMALS, OBJECTS, made_up

# default name, parameters, body (after `return` unless it has lines of its own), what it does
_FUNCTIONS: tuple[tuple[str, str, str, str], ...] = (
    ("add", "a, b", "a + b", "adds two numbers"),
    ("subtract", "a, b", "a - b", "subtracts two numbers"),
    ("multiply", "a, b", "a * b", "multiplies two numbers"),
    ("divide", "a, b", "a / b", "divides two numbers"),
    ("square", "x", "x * x", "squares a number"),
    ("cube", "x", "x ** 3", "cubes a number"),
    ("double", "x", "2 * x", "doubles a number"),
    ("half", "x", "x / 2", "halves a number"),
    ("negate", "x", "-x", "negates a number"),
    ("is_even", "n", "n % 2 == 0", "checks whether a number is even"),
    ("is_odd", "n", "n % 2 == 1", "checks whether a number is odd"),
    ("is_positive", "n", "n > 0", "checks whether a number is positive"),
    ("maximum", "a, b", "a if a > b else b", "returns the larger of two numbers"),
    ("minimum", "a, b", "a if a < b else b", "returns the smaller of two numbers"),
    ("reverse", "text", "text[::-1]", "reverses a string"),
    ("shout", "text", "text.upper()", "turns a string into upper case"),
    ("whisper", "text", "text.lower()", "turns a string into lower case"),
    ("count_words", "text", "len(text.split())", "counts the words in a string"),
    ("length", "items", "len(items)", "returns the length of a list"),
    ("first", "items", "items[0]", "returns the first item of a list"),
    ("last", "items", "items[-1]", "returns the last item of a list"),
    ("total", "numbers", "sum(numbers)", "sums a list of numbers"),
    ("average", "numbers", "sum(numbers) / len(numbers)", "averages a list of numbers"),
    ("largest", "numbers", "max(numbers)", "finds the largest number in a list"),
    ("smallest", "numbers", "min(numbers)", "finds the smallest number in a list"),
    ("sort_list", "items", "sorted(items)", "sorts a list"),
    ("unique", "items", "list(set(items))", "removes duplicates from a list"),
    ("is_palindrome", "text", "text == text[::-1]", "checks whether a string is a palindrome"),
    ("contains", "items, item", "item in items", "checks whether a list contains an item"),
    ("join_words", "words", '" ".join(words)', "joins words with spaces"),
    ("evens", "numbers", "[n for n in numbers if n % 2 == 0]", "keeps the even numbers of a list"),
    ("squares", "n", "[i * i for i in range(n)]", "returns the first n squares"),
    ("area", "width, height", "width * height", "computes the area of a rectangle"),
    ("greet", "name", 'f"Hello, {name}!"', "greets a person by name"),
    ("hello", "", '"Hello, world!"', "returns a greeting to the world"),
    ("to_fahrenheit", "celsius", "celsius * 9 / 5 + 32", "converts Celsius to Fahrenheit"),
    ("factorial", "n", "    return 1 if n < 2 else n * factorial(n - 1)", "computes the factorial of a number"),
    (
        "fibonacci",
        "n",
        "    a, b = 0, 1\n    for _ in range(n):\n        a, b = b, a + b\n    return a",
        "computes the n-th Fibonacci number",
    ),
    (
        "is_prime",
        "n",
        "    if n < 2:\n        return False\n    return all(n % i for i in range(2, n))",
        "checks whether a number is prime",
    ),
    ("count_vowels", "text", 'sum(c in "aeiou" for c in text.lower())', "counts the vowels in a string"),
)

_PARAMETRIC = (
    ("add_{k}", "x", "x + {k}", "adds {k} to a number"),
    ("times_{k}", "x", "{k} * x", "multiplies a number by {k}"),
    ("first_{k}", "items", "items[:{k}]", "returns the first {k} items of a list"),
    ("last_{k}", "items", "items[-{k}:]", "returns the last {k} items of a list"),
    ("divisible_by_{k}", "n", "n % {k} == 0", "checks whether a number is divisible by {k}"),
)

_ASK = (
    "Write a Python function that {does}.",
    "Write a function that {does}.",
    "Give me a Python function that {does}.",
    "Show me Python code that {does}.",
    "I need a Python function that {does}.",
    "Can you write a Python function that {does}?",
    "Please write a short Python function that {does}.",
    "Python function that {does}",
    "How do I write a function that {does}?",
    "Code a function that {does}.",
)
_ASK_NAMED = (
    "Write a Python function {name} that {does}.",
    "Write a Python function named {name} that {does}.",
    "Write a function called {name} that {does}.",
    "Give me a Python function called {name} that {does}.",
    "I need a function named {name} that {does}.",
    "Please write {name}, a Python function that {does}.",
)


def _block(name: str, default: str, parameters: str, body: str) -> str:
    lines = body if body.startswith(" ") else f"    return {body}"
    if default == "factorial":  # the one that calls itself
        lines = lines.replace("factorial(", f"{name}(")
    return f"```python\ndef {name}({parameters}):\n{lines}\n```"


def code(rng: random.Random) -> Example:
    """A function asked for in some wording; the combination is the task, the wording, and the name if one is given."""
    if rng.random() < 0.2:
        k = str(rng.randint(2, 30))
        default, parameters, body, does = (part.format(k=k) for part in rng.choice(_PARAMETRIC))
    else:
        default, parameters, body, does = rng.choice(_FUNCTIONS)
    if rng.random() < 0.6:
        way = rng.randrange(len(_ASK))
        question, combo, name = _ASK[way].format(does=does), f"code:{does}:{way}", default
    else:
        name = rng.choice(
            (made_up(rng), f"{rng.choice(OBJECTS)}_{rng.choice(ANIMALS)}", f"my_{default}", f"do_{default}")
        )
        question = rng.choice(_ASK_NAMED).format(name=name, does=does)
        combo = f"code:{does}:{name}"
    return ask("code", combo, question, _block(name, default, parameters, body))
