"""The table of engines: a name and a task from the configuration to the class that fulfils them.

Imports stand inside the creators, because importing an engine may load hundreds of megabytes of native code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from backends.base import LoadableEngine, ModelUnavailableError
from backends.types import EngineConfig, Maker, Task

Creator = Callable[[EngineConfig], LoadableEngine]


def create_engine(config: EngineConfig) -> LoadableEngine:
    """The engine that `config.engine` names, for `config.task`, not loaded yet.

    Raises:
        ModelUnavailableError: the engine is not installed, or not part of this version.
    """
    try:
        return CREATORS[config.engine, config.task](config)
    except ImportError as error:
        raise ModelUnavailableError(f"the engine '{config.engine}' cannot be imported: {error}") from error


def _llama_cpp(config: EngineConfig) -> LoadableEngine:
    from backends.llama_cpp.engine import LlamaCppEngine

    return LlamaCppEngine(config)


def _llama_cpp_embedder(config: EngineConfig) -> LoadableEngine:
    from backends.llama_cpp.embedding import LlamaCppEmbedder

    return LlamaCppEmbedder(config)


def _vllm(config: EngineConfig) -> LoadableEngine:
    from backends.vllm_backend import VLLMClient

    return VLLMClient(config)


def _vllm_embedder(_config: EngineConfig) -> LoadableEngine:
    raise ModelUnavailableError("embedding models are run by llama_cpp: JARVIS_EMBEDDING_MODEL names a GGUF file")


def _stub(config: EngineConfig) -> LoadableEngine:
    from backends.stub_backend import StubEngine

    return StubEngine(config)


def _stub_embedder(config: EngineConfig) -> LoadableEngine:
    from backends.stub_embedder import StubEmbedder

    return StubEmbedder(config)


CREATORS: Mapping[tuple[Maker, Task], Creator] = MappingProxyType(
    {
        ("llama_cpp", "generate"): _llama_cpp,
        ("llama_cpp", "embed"): _llama_cpp_embedder,
        ("vllm", "generate"): _vllm,
        ("vllm", "embed"): _vllm_embedder,
        ("stub", "generate"): _stub,
        ("stub", "embed"): _stub_embedder,
    }
)
