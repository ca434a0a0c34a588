"""LoRA adapters behind the engine: each request gets its own, whoever runs beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backends.base import ModelUnavailableError, UnsupportedError
from backends.llama_cpp.engine import LlamaCppEngine
from backends.types import Delta, GenerationRequest
from tests.backends.llama_cpp.conftest import BUNDLED_MODEL, complete, config, greedy
from tests.backends.llama_cpp.lora_files import QUERIES, idle_adapter, pair, strong_adapter, write_adapter
from tests.backends.llama_cpp.test_adapters import PROMPT, reference_tokens

CLEAR = 0.1
"""Distance between the two best log-probabilities from which on the batch's shape does not decide which is best: with
strong adapters, quantised weights and a float16 cache it moves them by up to half of that."""
FEWEST = 4
"""Tokens that an answer must have before two of them are about as probable, to say anything."""


def ask(adapter: str | None, prompt: str = PROMPT.decode()) -> GenerationRequest:
    return msgspec.structs.replace(greedy(prompt, max_tokens=16, ignore_eos=True), adapter=adapter)


@asynccontextmanager
async def serving(adapters: dict[str, Path], **changes: Any) -> AsyncIterator[LlamaCppEngine]:
    paths = {name: str(path) for name, path in adapters.items()}
    engine = LlamaCppEngine(config(adapters=paths, **changes))
    await engine.start(lambda _: None)
    yield engine
    await engine.close()


async def clear_tokens(engine: LlamaCppEngine, adapter: str | None) -> list[int]:
    """The greedy tokens as far as each is the most probable by a distance that no batch's shape bridges."""
    request = msgspec.structs.replace(ask(adapter), logprobs=2)
    tokens: list[int] = []
    async for event in engine.stream(request):
        for entry in event.logprobs or () if isinstance(event, Delta) else ():
            (_, best, _), (_, second, _) = entry.top
            if best - second < CLEAR:
                return tokens
            tokens.append(entry.token_id)
    return tokens


async def test_an_adapter_answers_as_it_does_in_llama_cpp_itself(tmp_path: Path) -> None:
    path = strong_adapter(tmp_path)
    _, expected = reference_tokens(path)
    async with serving({"strong": path}) as engine:
        assert engine.capabilities.adapters
        assert (await engine.stats())["settings"]["adapters"] == ["strong"]
        assert (await complete(engine, ask("strong"))).token_ids == expected
        assert (await complete(engine, ask(None))).token_ids != expected


async def test_requests_with_different_adapters_run_beside_each_other_unharmed(tmp_path: Path) -> None:
    strong = {f"strong {seed}": strong_adapter(tmp_path, seed) for seed in range(1, 7)}
    async with serving({**strong, "idle": idle_adapter(tmp_path)}) as engine:
        alone = {name: await clear_tokens(engine, name) for name in (None, *strong, "idle")}
        # How soon two tokens are about as probable depends on the processor: two adapters that say enough will do.
        clear = [name for name in strong if len(alone[name]) >= FEWEST][:2]
        names = (None, *clear, "idle")
        together = await asyncio.gather(*(complete(engine, ask(name)) for name in (*names, *names)))
    assert len(clear) == 2
    assert len(alone[None]) >= FEWEST
    for name, answer in zip((*names, *names), together, strict=True):
        assert answer.token_ids[: len(alone[name])] == alone[name], name
    assert alone["idle"] == alone[None]
    assert len({tuple(alone[name]) for name in (None, *clear)}) == 3


async def test_an_unknown_adapter_is_refused_by_name(tmp_path: Path) -> None:
    async with serving({"idle": idle_adapter(tmp_path)}) as engine:
        with pytest.raises(UnsupportedError, match="no adapter 'other'; it has idle") as caught:
            await complete(engine, ask("other"))
    assert caught.value.param == "model"


async def test_without_adapters_none_is_offered(engine: LlamaCppEngine) -> None:
    assert not engine.capabilities.adapters
    with pytest.raises(UnsupportedError):
        await complete(engine, ask("any"))


async def test_an_adapter_that_does_not_fit_keeps_the_model_from_being_served(tmp_path: Path) -> None:
    path = write_adapter(tmp_path / "other.gguf", {QUERIES.format(0): pair(0, 128, 128)})
    engine = LlamaCppEngine(config(BUNDLED_MODEL, adapters={"other": str(path)}))
    with pytest.raises(ModelUnavailableError, match=f"the LoRA adapter 'other' cannot be used: .*{path}.*shape"):
        await engine.start(lambda _: None)
    await engine.close()
