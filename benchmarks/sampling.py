"""What a draw costs: `python -m benchmarks.sampling [--draws N] [--json FILE]`.

Microseconds by setting and size of the vocabulary, of our sampler and of llama.cpp's own chain in the same order, turn
by turn on the same rows: those of a batch of eight sequences, filled with logits that are peaked as a model's are, or
as flat as at a high temperature. Medians of the turns.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from backends.llama_cpp import native_log
from backends.llama_cpp.context import Context, ContextOptions
from backends.llama_cpp.model import Model
from backends.llama_cpp.sampling import Sampler, Scratch
from backends.sampling_defaults import resolve, sampling_defaults
from backends.types import LlamaOptions, SamplingParams
from benchmarks.random_model import Shape, write

VOCABULARIES = (32_000, 151_936)
ROWS = 8
TURNS = 15
SETTINGS: dict[str, SamplingParams] = {
    "greedy": SamplingParams(temperature=0.0),
    "temperature 1": SamplingParams(temperature=1.0),
    "temperature 0.7": SamplingParams(temperature=0.7),
    "top_p 0.95": SamplingParams(temperature=1.0, top_p=0.95),
    "top_k 40": SamplingParams(temperature=1.0, top_k=40),
    "min_p 0.05": SamplingParams(temperature=1.0, min_p=0.05),
    "typical_p 0.95": SamplingParams(temperature=1.0, typical_p=0.95),
    "repetition_penalty 1.1": SamplingParams(temperature=1.0, repetition_penalty=1.1),
    "top_k 20, top_p 0.8, temperature 0.7": SamplingParams(temperature=0.7, top_k=20, top_p=0.8),
    "flat, top_p 0.95": SamplingParams(temperature=3.0, top_p=0.95),
}

Draw = Callable[[int], int]
"""The token for a row of the batch."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What a draw costs.")
    parser.add_argument("--draws", type=int, default=40, help="in each of the turns (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    arguments = parser.parse_args()
    if arguments.draws < 1:
        parser.error(f"--draws is {arguments.draws}; it must be at least 1")
    native_log.install("error")
    figures = {size: vocabulary(size, arguments.draws) for size in VOCABULARIES}
    print("\n".join(table(figures)))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))


def vocabulary(size: int, draws: int) -> dict[str, dict[str, float]]:
    """Figures of all settings for one size."""
    with evaluated(size) as context:
        rng, scratch = np.random.default_rng(0), Scratch(size)
        for row in range(ROWS):
            context.logits(row)[:] = peaked(size, rng)
        found = {}
        for name, given in SETTINGS.items():
            params = resolve(given, sampling_defaults({}))
            with native(params, context) as theirs:
                found[name] = side_by_side(own(params, context, scratch), theirs, draws)
        return found


def own(params: SamplingParams, context: Context, scratch: Scratch) -> Draw:
    """Our sampler for resolved parameters."""
    sampler = Sampler(params, scratch, choice=0)
    return lambda row: sampler.sample(context.logits(row))


@contextmanager
def evaluated(size: int) -> Iterator[Context]:
    """A context whose batch has been evaluated, with logits for `ROWS` rows."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        write(path, Shape(layers=1, width=64, vocabulary=size))
        model = Model(str(path), LlamaOptions(), progress=lambda _: None)
        context = Context(model, ContextOptions(cells=256, sequences=ROWS, n_batch=ROWS, n_threads=1))
        try:
            for sequence in range(ROWS):
                context.batch.add(sequence, 0, [size - 1], output=1)
            context.decode()
            yield context
        finally:
            context.close()
            model.close()


def peaked(size: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Logits as a model gives them: many of little weight, and a few that have most of it."""
    logits = rng.standard_normal(size) * 2.5
    few = rng.choice(size, 100, replace=False)
    logits[few] += rng.uniform(3, 12, few.size)
    return logits.astype(np.float32)


@contextmanager
def native(params: SamplingParams, context: Context) -> Iterator[Draw]:
    """llama.cpp's chain for resolved parameters."""
    chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    for sampler in stages(params, context.vocab_size):
        llama_cpp.llama_sampler_chain_add(chain, sampler)
    yield lambda row: int(llama_cpp.llama_sampler_sample(chain, context.handle, row))
    llama_cpp.llama_sampler_free(chain)


def stages(params: SamplingParams, size: int) -> Iterator[Any]:
    """The members of a chain, in the order of our sampler."""
    if params.repetition_penalty not in (None, 1.0):
        yield llama_cpp.llama_sampler_init_penalties(size, 32_768, params.repetition_penalty, 0.0, 0.0)
    if not params.temperature:
        yield llama_cpp.llama_sampler_init_greedy()
        return
    if params.temperature != 1.0:
        yield llama_cpp.llama_sampler_init_temp(params.temperature)
    if params.min_p:
        yield llama_cpp.llama_sampler_init_min_p(params.min_p, 1)
    if params.top_k:
        yield llama_cpp.llama_sampler_init_top_k(params.top_k)
    if params.typical_p not in (None, 1.0):
        yield llama_cpp.llama_sampler_init_typical(params.typical_p, 1)
    if params.top_p not in (None, 1.0):
        yield llama_cpp.llama_sampler_init_top_p(params.top_p, 1)
    yield llama_cpp.llama_sampler_init_dist(1)


def side_by_side(ours: Draw, theirs: Draw, draws: int) -> dict[str, float]:
    """Microseconds of one draw of each."""
    turns = [(timed(ours, draws), timed(theirs, draws)) for _ in range(TURNS)]
    one, other = (median(times) for times in zip(*turns, strict=True))
    return {"ours, µs": one, "llama.cpp, µs": other, "ratio": other / one}


def timed(draw: Draw, draws: int) -> float:
    """Microseconds of one of so many draws."""
    began = time.perf_counter()
    for number in range(draws):
        draw(number % ROWS)
    return (time.perf_counter() - began) / draws * 1e6


def table(figures: dict[int, dict[str, dict[str, float]]]) -> Iterator[str]:
    """One line for each setting and vocabulary."""
    yield f"{'vocabulary':>10}  {'setting':38}{'ours, µs':>10}{'llama.cpp, µs':>15}{'ratio':>8}"
    for size, by_setting in figures.items():
        for name, of in by_setting.items():
            one, other, ratio = of.values()
            yield f"{size:>10}  {name:38}{one:>10.0f}{other:>15.0f}{ratio:>7.1f}×"


if __name__ == "__main__":
    main()
