"""The table of engines: a name from the configuration to the class that fulfils it.

Imports stand inside the creators, because importing an engine may load hundreds of megabytes of native code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from backends.base import LoadableEngine, ModelUnavailableError
from backends.types import EngineConfig, EngineName

Creator = Callable[[EngineConfig], LoadableEngine]


def create_engine(config: EngineConfig) -> LoadableEngine:
    """The engine that `config.engine` names, not loaded yet.

    Raises:
        ModelUnavailableError: the engine is not installed, or not part of this version.
    """
    try:
        return CREATORS[config.engine](config)
    except ImportError as error:
        raise ModelUnavailableError(f"the engine '{config.engine}' cannot be imported: {error}") from error


def _llama_cpp(config: EngineConfig) -> LoadableEngine:
    from backends.llama_cpp.engine import LlamaCppEngine

    return LlamaCppEngine(config)


def _vllm(_config: EngineConfig) -> LoadableEngine:
    raise ModelUnavailableError("the vLLM engine is not part of this version; choose llama_cpp")


def _stub(config: EngineConfig) -> LoadableEngine:
    from backends.stub_backend import StubEngine

    return StubEngine(config)


CREATORS: Mapping[EngineName, Creator] = MappingProxyType({"llama_cpp": _llama_cpp, "vllm": _vllm, "stub": _stub})
