"""The bundled model, loaded once for all tests of this room."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from backends.llama_cpp.engine import LlamaCppEngine
from backends.types import (
    Accepted,
    Delta,
    EngineConfig,
    FinishReason,
    GenerationRequest,
    LlamaOptions,
    Message,
    Role,
    SamplingParams,
    StopParams,
    TextPart,
    Usage,
)
from tests.backends.llama_cpp.random_models import Kind, write_random_model

BUNDLED_MODEL = Path(__file__).parents[3] / "models" / "tiny" / "jarvis-tiny-q8_0.gguf"


def config(model: Path = BUNDLED_MODEL, **changes: object) -> EngineConfig:
    """The configuration of one model; `changes` are fields of `LlamaOptions` or of `EngineConfig` itself."""
    own = {name: value for name, value in changes.items() if name in EngineConfig.__struct_fields__}
    llama = LlamaOptions(**{name: value for name, value in changes.items() if name not in own})  # type: ignore[arg-type]
    base = EngineConfig(engine="llama_cpp", model=str(model), alias="tiny", cache_dir="", llama=llama)
    return msgspec.structs.replace(base, **own)


def greedy(prompt: str, **stopping: object) -> GenerationRequest:
    """A completion request that always takes the most probable token; at most 24 tokens unless said otherwise."""
    limits = {"max_tokens": 24, **stopping}
    return GenerationRequest(
        id="test", prompt=prompt, sampling=SamplingParams(temperature=0.0), stopping=msgspec.convert(limits, StopParams)
    )


def chat(*texts: str, **changes: object) -> GenerationRequest:
    """A greedy chat request from alternating user and assistant texts."""
    roles: tuple[Role, Role] = ("user", "assistant")
    messages = tuple(Message(roles[i % 2], (TextPart(text),)) for i, text in enumerate(texts))
    base = GenerationRequest(
        id="test", messages=messages, sampling=SamplingParams(temperature=0.0), stopping=StopParams(max_tokens=48)
    )
    return msgspec.structs.replace(base, **changes)


@dataclass
class Answer:
    """One choice, collected."""

    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    usage: Usage | None = None


async def collect(engine: LlamaCppEngine, request: GenerationRequest) -> list[Answer]:
    answers = [Answer() for _ in range(request.n)]
    async for event in engine.stream(request):
        if isinstance(event, Accepted):
            continue
        assert isinstance(event, Delta)
        answer = answers[event.index]
        assert answer.finish_reason is None, "a delta after the last one"
        answer.text += event.text
        answer.token_ids += event.token_ids
        answer.finish_reason, answer.usage = event.finish_reason, event.usage
    assert all(answer.finish_reason for answer in answers)
    return answers


async def complete(engine: LlamaCppEngine, request: GenerationRequest) -> Answer:
    return (await collect(engine, request))[0]


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def engine() -> AsyncIterator[LlamaCppEngine]:
    engine = LlamaCppEngine(config())
    await engine.start(lambda _: None)
    yield engine
    await engine.close()


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Kind], Path]:
    """The file of a random model, written when a test first asks for its kind."""
    folder = tmp_path_factory.mktemp("random-models")

    def path(kind: Kind) -> Path:
        file = folder / f"{kind}.gguf"
        if not file.exists():
            write_random_model(file, kind)
        return file

    return path
