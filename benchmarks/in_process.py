"""The engine in this very process: how much of a step is not spent inside `llama_decode`.

    python -m benchmarks.in_process MODEL.gguf

Eight sequences decode with the default sampling; the engine's own counters are read between two moments in which all
eight run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path

from backends.llama_cpp.engine import LlamaCppEngine
from backends.types import Delta, EngineConfig, GenerationRequest, StopParams
from benchmarks.contenders import WINDOW
from benchmarks.figures import Figures
from benchmarks.prompts import Prompts, prompts_for

SEQUENCES, PROMPT, ANSWER = 8, 120, 96
SETTLED = 8
"""Pieces of text after which a sequence counts as running."""


class MissingCounterError(Exception):
    """The engine does not count what is needed."""


def share_outside(before: Figures, after: Figures) -> float:
    """Per cent of the steps' time between two readings that was spent outside `llama_decode`.

    Raises:
        MissingCounterError: a reading lacks `busy_s` or `decode_s`.
    """
    for name in ("busy_s", "decode_s"):
        if name not in before or name not in after:
            raise MissingCounterError(f"the engine's stats have no {name}")
    busy = after["busy_s"] - before["busy_s"]
    return 100 * (1 - (after["decode_s"] - before["decode_s"]) / busy)


async def measure(model: Path, prompts: Prompts) -> Figures:
    """The share of a step outside `llama_decode`, in per cent. Raises `MissingCounterError`."""
    engine = LlamaCppEngine(
        EngineConfig(engine="llama_cpp", model=str(model), alias="bench", cache_dir="", context_window=WINDOW // 8)
    )
    await engine.start(lambda _: None)
    try:
        counts = [0] * SEQUENCES
        async with asyncio.TaskGroup() as group:
            for number in range(SEQUENCES):
                group.create_task(_generate(engine, prompts, number, counts))
            await _until(lambda: min(counts) >= SETTLED)
            before = await engine.stats()
            await _until(lambda: max(counts) >= ANSWER - SETTLED)
            after = await engine.stats()
        return {"outside llama_decode": share_outside(before, after)}
    finally:
        await engine.close()


async def _generate(engine: LlamaCppEngine, prompts: Prompts, number: int, counts: list[int]) -> None:
    stopping = StopParams(max_tokens=ANSWER, ignore_eos=True)
    prompt = prompts.text(PROMPT, "in process", number)
    async for event in engine.stream(GenerationRequest(id=str(number), prompt=prompt, stopping=stopping)):
        counts[number] += isinstance(event, Delta)
    counts[number] = ANSWER


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    model = parser.parse_args().model
    try:
        print(json.dumps(asyncio.run(measure(model, prompts_for(model)))))
    except MissingCounterError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
