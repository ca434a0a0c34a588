"""The contract that every engine fulfils, and the errors that it may raise.

An engine is whatever turns a `GenerationRequest` into events: llama.cpp or vLLM in a child process, a remote server,
the scripted stub. Nothing above `backends/` knows which one it holds.

Errors, and who can do something about them::

    EngineError
    ├── InvalidRequestError          the client: change the request (400)
    │   ├── ContextLengthError       the prompt does not fit the context window
    │   └── UnsupportedError         this engine or model lacks a feature that was asked for
    ├── CapacityError                time: the queue is full, retry later (503, Retry-After)
    ├── ModelLoadingError            time: the model is still being loaded (503, Retry-After)
    ├── ModelUnavailableError        the operator: the model cannot be served (503, no Retry-After)
    ├── EngineCrashedError           nobody: the engine died; it is being restarted (503, Retry-After)
    ├── EngineTimeoutError           nobody: the engine stopped answering (504)
    └── EngineClosedError            the server is shutting down (503)
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, ClassVar, Protocol

from backends.types import Capabilities, Embedding, Event, GenerationRequest, ModelInfo, TokenPiece


class EngineError(Exception):
    """Root of everything an engine raises. `message` is written for the reader of an HTTP error body."""

    kind: ClassVar[str] = "engine_error"

    def __init__(self, message: str, *, param: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s


class InvalidRequestError(EngineError):
    """The request can never succeed as it stands; `param` names the field."""

    kind = "invalid_request"


class ContextLengthError(InvalidRequestError):
    """Prompt and context window do not fit; the message carries both numbers."""

    kind = "context_length_exceeded"


class UnsupportedError(InvalidRequestError):
    """A feature that this engine or model does not have."""

    kind = "unsupported"


class CapacityError(EngineError):
    """The queue in front of the engine is full."""

    kind = "capacity"


class ModelLoadingError(EngineError):
    """The model is not ready within the time that a request waits for it."""

    kind = "model_loading"


class ModelUnavailableError(EngineError):
    """The model cannot be loaded until somebody changes the file or the configuration."""

    kind = "model_unavailable"


class EngineCrashedError(EngineError):
    """The engine process ended while it held the request."""

    kind = "engine_crashed"


class EngineTimeoutError(EngineError):
    """The engine held the request and gave no sign of life for too long."""

    kind = "engine_timeout"


class EngineClosedError(EngineError):
    """The engine was closed on purpose."""

    kind = "engine_closed"


def error_classes(root: type[EngineError] = EngineError) -> dict[str, type[EngineError]]:
    """`root` and its descendants by their `kind`: how an error is rebuilt that came from another process."""
    table = {root.kind: root}
    for child in root.__subclasses__():
        table |= error_classes(child)
    return table


class Engine(Protocol):
    """One loaded model. All methods belong to one event loop."""

    @property
    def capabilities(self) -> Capabilities:
        """What this engine can do; constant once it is loaded."""
        ...

    @property
    def info(self) -> ModelInfo:
        """What is known of the loaded model; constant once it is loaded."""
        ...

    def stream(self, request: GenerationRequest) -> AsyncGenerator[Event]:
        """Generate: one `Accepted`, then `Delta`s until every choice has its finish reason.

        Closing the iterator (`aclose`, or cancelling the task that reads it) aborts the generation within one token.

        Raises:
            InvalidRequestError: before the first event, if the request cannot be served.
            EngineError: at any point, if the engine fails.
        """
        ...

    async def embed(self, inputs: Sequence[Sequence[int] | str], *, dimensions: int | None = None) -> list[Embedding]:
        """One vector per text or list of token ids, in order; token ids are taken as given, no BOS or EOS added.

        `dimensions` cuts the vectors to that many numbers and brings them back to norm 1. Cancelling drops what is not
        computed yet.

        Raises:
            UnsupportedError: `capabilities.embeddings` is false.
            InvalidRequestError: an input is empty or has ids that the model lacks (`param` is `input[3]`), or there are
                fewer dimensions.
            ContextLengthError: an input is longer than the context window.
        """
        ...

    async def tokenize(self, text: str, *, add_special: bool = False) -> list[TokenPiece]:
        """The tokens of a text; control strings in it stay text. `add_special` adds the model's own BOS and EOS."""
        ...

    async def detokenize(self, token_ids: Sequence[int]) -> str:
        """The text of the tokens, U+FFFD for bytes that are not UTF-8. Raises `InvalidRequestError` on unknown ids."""
        ...

    async def stats(self) -> dict[str, Any]:
        """Gauges and counters of this moment.

        Every engine has `running` and `waiting` (requests), `kv_cells` and `kv_cells_reserved`,
        `prompt_tokens_evaluated` and `tokens_generated` (since the start); further names are its own.
        """
        ...

    async def close(self) -> None:
        """Abort what runs and release the model; harmless when called twice."""
        ...


class LoadableEngine(Engine, Protocol):
    """An engine in the process that runs it: constructed from an `EngineConfig`, then loaded once."""

    async def start(self, progress: Callable[[float], None]) -> None:
        """Load the model; `info` and `capabilities` are valid afterwards.

        `progress` takes the fraction loaded so far, 0 to 1, and may be called from any thread.

        Raises:
            ModelUnavailableError: the model cannot be loaded as things are.
        """
        ...


class SupervisedEngine(Engine, Protocol):
    """An engine whose end somebody waits for: a worker process, as its owner at the edge sees it."""

    @property
    def failure(self) -> EngineError | None:
        """Why the engine cannot be used any more; known before any of its streams is told."""
        ...

    async def wait_closed(self) -> EngineError:
        """Return when the engine is gone, with the reason (`EngineClosedError` when it was asked to go)."""
        ...
