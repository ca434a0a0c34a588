from itertools import product
from pathlib import Path
from typing import get_args

import pytest
from msgspec import structs

from backends.base import LoadableEngine, ModelUnavailableError
from backends.gguf_backend import GGUFClient
from backends.registry import CREATORS
from backends.types import Accepted, EngineConfig, EngineName, GenerationRequest, Task
from tests.backends.vllm.folders import write_folder

COMMON_STATS = {"running", "waiting", "kv_cells", "kv_cells_reserved", "prompt_tokens_evaluated", "tokens_generated"}


def config(engine: EngineName) -> EngineConfig:
    return EngineConfig(engine=engine, model="m", alias="my-model", cache_dir="")


def test_every_engine_has_a_creator_for_every_task() -> None:
    assert set(CREATORS) == set(product(get_args(EngineName), get_args(Task)))


def test_what_an_engine_is_not_made_for_is_said_with_what_is() -> None:
    with pytest.raises(ModelUnavailableError, match="JARVIS_EMBEDDING_MODEL names a GGUF file"):
        GGUFClient(structs.replace(config("vllm"), task="embed"))


async def test_an_engine_that_is_not_installed_says_what_installs_it(tmp_path: Path) -> None:
    client = GGUFClient(structs.replace(config("vllm"), model=str(write_folder(tmp_path))))
    with pytest.raises(ModelUnavailableError, match=r"vLLM is not installed for .*: start with \./run\.sh"):
        await client.start(lambda _fraction: None)
    await client.close()


async def test_everything_is_forwarded_to_the_chosen_engine() -> None:
    client: LoadableEngine = GGUFClient(config("stub"))
    await client.start(lambda _fraction: None)
    assert (client.info.name, client.capabilities.prefill_only) == ("my-model", True)
    events = [event async for event in client.stream(GenerationRequest(id="r", prompt="hi"))]
    assert events[0] == Accepted(1)
    pieces = await client.tokenize("two words", add_special=False)
    assert await client.detokenize([piece.id for piece in pieces]) == "two words"
    stats = await client.stats()
    assert stats.keys() >= COMMON_STATS
    assert (stats["running"], stats["prompt_tokens_evaluated"]) == (0, 1)
    await client.close()
