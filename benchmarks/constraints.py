"""What a constraint costs: `python -m benchmarks.constraints [--model MODEL.gguf] [--answers N] [--json FILE]`.

Microseconds per token, of finding out which tokens may come (fill), of applying that to the logits (apply), and of
going on with the token that was drawn (accept), by constraint; and milliseconds to compile it. Answers are drawn from
random logits. The vocabulary is the model's; without one it is a real vocabulary of 152,000 tokens. With a model there
is also what share of a decode step of one sequence all of it is.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

import llama_cpp
import numpy as np

from backends import machine
from backends.constraints.constraining import Constrainer, TokenMatcher
from backends.constraints.token_mask import TokenMask
from backends.llama_cpp import native_log
from backends.llama_cpp.context import Context, ContextOptions
from backends.llama_cpp.model import Model
from backends.llama_cpp.vocab import Vocabulary
from backends.types import Constraint, LlamaOptions
from benchmarks.sdist import unpacked

CACHE = Path.home() / ".cache" / "jarvis"
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "kind": {"enum": ["private", "business"]},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 20}, "maxItems": 8},
        "when": {"type": "string", "format": "date-time"},
    },
    "required": ["name", "age", "kind", "tags", "when"],
    "additionalProperties": False,
}
CONSTRAINTS = {
    "a JSON object": Constraint("json_object"),
    "a JSON schema": Constraint("json_schema", json.dumps(SCHEMA)),
    "a regex": Constraint("regex", r"([a-z]+ ){3,40}[a-z]+\."),
    "a choice of 200": Constraint("choice", json.dumps([f"the choice with number {i}" for i in range(200)])),
    "a grammar": Constraint("gbnf", 'root ::= term ([-+*/] term)*\nterm ::= [0-9]+ | "(" root ")"'),
}
LONGEST = 200
"""Tokens of one answer."""
STEPS = 30
Figures = dict[str, float]


def measure(constrainer: Constrainer, constraint: Constraint, vocab: Vocabulary, answers: int) -> Figures:
    """Medians over all tokens of some answers; 99 of 100 masks take no longer than `mask p99`."""
    began = time.perf_counter()
    start = constrainer.compile(constraint)
    compiled = time.perf_counter() - began
    masks: list[float] = []
    accepts: list[float] = []
    for seed in range(answers):
        _draw(start.fork(), vocab, seed, masks, accepts)
    apply = _apply(vocab.size)
    return {
        "compile, ms": compiled * 1e3,
        "fill, µs": max(0.0, median(masks) - apply) * 1e6,
        "apply, µs": apply * 1e6,
        "mask p99, µs": float(np.quantile(masks, 0.99)) * 1e6,
        "accept, µs": median(accepts) * 1e6,
    }


def _draw(matcher: TokenMatcher, vocab: Vocabulary, seed: int, masks: list[float], accepts: list[float]) -> None:
    rng = np.random.default_rng(seed)
    ends = list(vocab.end_of_generation)
    for _ in range(LONGEST):
        logits = rng.standard_normal(vocab.size, np.float32)
        logits[ends] -= 2  # random answers would end soon
        began = time.perf_counter()
        matcher.mask(logits)
        masks.append(time.perf_counter() - began)
        token = int(logits.argmax())
        began = time.perf_counter()
        matcher.accept(token)
        accepts.append(time.perf_counter() - began)
        if matcher.complete:
            return


def _apply(size: int) -> float:
    mask, logits = TokenMask(size, size), np.zeros(size, np.float32)
    mask.bits[::3] = 0x5A
    times = []
    for _ in range(STEPS * 10):
        began = time.perf_counter()
        mask.apply(logits)
        times.append(time.perf_counter() - began)
    return median(times)


def decode_step(model: Model) -> float:
    """Seconds that one sequence takes for one token."""
    threads = machine.sensible_threads(model.size_bytes, machine.physical_cores())
    options = ContextOptions(cells=512, sequences=1, n_batch=64, n_threads=threads)
    with closing(Context(model, options)) as context:
        times = []
        for position in range(STEPS + 2):
            context.batch.clear()
            context.batch.add(0, position, [1], output=1)
            began = time.perf_counter()
            context.decode()
            times.append(time.perf_counter() - began)
    return median(times[2:])


def loaded(path: Path | None) -> Model | None:
    """The model, if there is one."""
    return Model(str(path), LlamaOptions(), progress=lambda _: None) if path else None


def vocabulary() -> tuple[Any, Vocabulary]:
    """A real vocabulary of 152,000 tokens, and the model without weights that owns it."""
    parameters = llama_cpp.llama_model_default_params()
    parameters.vocab_only = True
    path = unpacked(CACHE) / "vendor" / "llama.cpp" / "models" / "ggml-vocab-qwen2.gguf"
    owner = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
    return owner, Vocabulary(owner)


def with_share(figures: Figures, step: float | None) -> Figures:
    """The figures, with their share of a decode step where that is known."""
    if step is None:
        return figures
    spent = figures["fill, µs"] + figures["apply, µs"] + figures["accept, µs"]
    return figures | {"share of a step, %": spent / step / 1e4}


def table(rows: dict[str, Figures]) -> list[str]:
    """One line per constraint."""
    names = list(next(iter(rows.values())))
    lines = [f"{'':18}" + "".join(f"{name:>20}" for name in names)]
    return lines + [f"{row:18}" + "".join(f"{figures[name]:20.1f}" for name in names) for row, figures in rows.items()]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What a constraint costs.")
    parser.add_argument("--model", type=Path, help="a GGUF file (default: a vocabulary of 152,000 tokens, no weights)")
    parser.add_argument("--answers", type=int, default=20, help="per constraint (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    options = parser.parse_args(arguments)
    if options.answers < 1:
        parser.error(f"--answers is {options.answers}; it must be at least 1")
    native_log.install("error")
    model = loaded(options.model)
    owner, vocab = (model, model.vocab) if model else vocabulary()
    constrainer = Constrainer(vocab)
    began = time.perf_counter()
    constrainer.prepare()
    print(f"{vocab.size} tokens, prepared once in {time.perf_counter() - began:.1f} s")
    step = decode_step(model) if model else None
    if step is not None:
        print(f"a decode step of one sequence takes {step * 1e3:.1f} ms")
    rows = {
        name: with_share(measure(constrainer, constraint, vocab, options.answers), step)
        for name, constraint in CONSTRAINTS.items()
    }
    print("\n".join(table(rows)))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    del owner


if __name__ == "__main__":
    main()
