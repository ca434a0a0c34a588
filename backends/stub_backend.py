"""`StubEngine`: a deterministic engine without a model, scripted by the request itself.

Plain text comes back as it is; a JSON object in the last user message is a script (docs/stub-engine.md). Tests and
overhead benchmarks reach it over the same HTTP and worker path as a real model, so it is built to cost little: one
async generator per request, no task and no timer unless the script asks for a delay.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from itertools import zip_longest
from time import monotonic
from typing import Any

import msgspec

from backends.base import (
    CapacityError,
    ContextLengthError,
    EngineClosedError,
    EngineCrashedError,
    EngineError,
    InvalidRequestError,
    ModelLoadingError,
    ModelUnavailableError,
    UnsupportedError,
    error_classes,
)
from backends.features import refuse_undeclared
from backends.stub_logprobs import prompt_logprobs, token_logprob
from backends.stub_script import (
    VOCAB_SIZE,
    Choice,
    Script,
    compose,
    join,
    prompt_text,
    read_script,
    script_text,
    split,
    token_bytes,
    token_id,
)
from backends.types import (
    Accepted,
    Capabilities,
    Delta,
    Embedding,
    EngineConfig,
    Event,
    GenerationRequest,
    ModelInfo,
    Timings,
    TokenPiece,
    Usage,
)

_DEFAULT_CONTEXT = 8192
_TOKENS_PER_TURN = 16
"""Tokens without a delay that one request takes before the event loop serves the others."""
_PASSING = (CapacityError, ModelLoadingError, EngineCrashedError)
"""Errors that carry a time after which to try again."""


class StubOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`EngineConfig.options` of the stub: how loading goes. `load_crash` ends the process half way."""

    load_s: float = 0.0
    load_fail: str | None = None
    load_crash: bool = False


class StubEngine:
    """Fulfils `LoadableEngine`, and `SupervisedEngine` for tests that hold it in their own process.

    Serves any number of requests at once; `n_parallel` and the other sizes of the configuration mean nothing to it.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._closed = asyncio.Event()
        self._running = 0
        self._prompt_tokens = 0
        self._generated_tokens = 0

    async def start(self, progress: Callable[[float], None]) -> None:
        try:
            options = msgspec.convert(self._config.options, StubOptions)
        except msgspec.ValidationError as error:
            raise ModelUnavailableError(f"options of the stub engine: {error}") from error
        for step in (0.25, 0.5, 0.75, 1.0):
            await asyncio.sleep(options.load_s / 4)
            progress(step)
            if step == 0.5 and options.load_crash:
                os.kill(os.getpid(), signal.SIGKILL)
        if options.load_fail is not None:
            raise ModelUnavailableError(options.load_fail)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(prefill_only=True, logprobs=True, typical_p=True)

    @property
    def info(self) -> ModelInfo:
        window = self._config.context_window or _DEFAULT_CONTEXT
        return ModelInfo(
            name=self._config.alias,
            architecture="stub",
            context_window=window,
            trained_context=window,
            kv_cells=self._config.llama.kv_cells or window,
            vocab_size=VOCAB_SIZE,
            parameters=0,
            size_bytes=0,
            chat_format="stub",
            engine="stub",
            engine_version="1",
        )

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Event]:
        began = monotonic()
        script, prompt = self._read(request)
        budget = self._budget(request, prompt)
        choices = [compose(script, request, budget, index) for index in range(request.n)]
        self._running += 1
        self._prompt_tokens += len(prompt)
        try:
            yield Accepted(len(prompt))
            pace = _Pace(script)
            if request.echo:
                wanted = request.prompt_logprobs
                logprobs = () if wanted is None else prompt_logprobs(prompt, wanted)
                for index in range(request.n):
                    yield Delta(index, "".join(prompt), logprobs=logprobs)
            for number, step in enumerate(_steps(choices)):
                await self._misbehave(script, number)
                await pace.wait()
                self._generated_tokens += len(step)
                for delta in step:
                    yield delta if request.logprobs is None else _with_logprobs(delta, request.logprobs)
            await self._misbehave(script, max(choice.tokens for choice in choices))
            for delta in _endings(choices, len(prompt), pace.timings(began)):
                yield delta
        finally:
            self._running -= 1

    def _read(self, request: GenerationRequest) -> tuple[Script, list[str]]:
        """The script and the tokens of the prompt, if the request asks for nothing that the stub lacks."""
        if self._closed.is_set():
            raise EngineClosedError("the engine is closed")
        refuse_undeclared(request, self.capabilities)
        script = read_script(script_text(request))
        if script.error is not None and script.error not in error_classes():
            raise InvalidRequestError(f"error must be one of {', '.join(error_classes())}")
        if script.error is not None and script.fail_at is None:
            raise _scripted_error(script, "before the first event")
        return script, split(prompt_text(request))

    def _budget(self, request: GenerationRequest, prompt: Sequence[str]) -> int:
        """Tokens that each choice may take."""
        window, wanted = self.info.context_window, request.stopping.max_tokens
        if len(prompt) + (wanted != 0) > window:
            raise ContextLengthError(
                f"the prompt has {len(prompt)} tokens; the context window of this model is {window} tokens",
                param="messages" if request.messages is not None else "prompt",
            )
        room = window - len(prompt)
        return room if wanted is None else min(wanted, room)

    async def _misbehave(self, script: Script, number: int) -> None:
        """What the script wants to go wrong before token `number`."""
        if self._closed.is_set():
            raise EngineClosedError("the engine is closed")
        if script.crash_at == number:
            # The tokens before this one leave the process first.
            await asyncio.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
        if script.fail_at == number:
            raise _scripted_error(script, f"at token {number}")
        if script.hang_at == number:
            await self._closed.wait()
            raise EngineClosedError("the engine is closed")

    async def embed(self, inputs: Sequence[Sequence[int] | str], *, dimensions: int | None = None) -> list[Embedding]:
        del inputs, dimensions
        raise UnsupportedError(f"{self._config.alias} is not an embedding model", param="model")

    async def tokenize(self, text: str, *, add_special: bool = False) -> list[TokenPiece]:  # noqa: ARG002 - has none
        return [TokenPiece(token_id(piece), piece.encode()) for piece in split(text)]

    async def detokenize(self, token_ids: Sequence[int]) -> str:
        return join(token_ids)

    async def stats(self) -> dict[str, Any]:
        return {
            "running": self._running,
            "waiting": 0,
            "kv_cells": self.info.kv_cells,
            "kv_cells_reserved": 0,
            "prompt_tokens_evaluated": self._prompt_tokens,
            "tokens_generated": self._generated_tokens,
        }

    async def close(self) -> None:
        self._closed.set()

    @property
    def failure(self) -> EngineError | None:
        return EngineClosedError("the engine is closed") if self._closed.is_set() else None

    async def wait_closed(self) -> EngineError:
        await self._closed.wait()
        return EngineClosedError("the engine is closed")


class _Pace:
    """Holds tokens to the script's times; due times do not drift when the machine is late."""

    def __init__(self, script: Script) -> None:
        self._due = monotonic() + script.first_delay_ms / 1000
        self._first = script.first_delay_ms > 0
        self._delay = script.delay_ms / 1000
        self._tokens = 0
        self._began = monotonic()

    async def wait(self) -> None:
        """Return when the next token is due."""
        self._tokens += 1
        if self._delay or self._first:
            await asyncio.sleep(max(0.0, self._due - monotonic()))
            self._due += self._delay
            self._first = False
        elif self._tokens % _TOKENS_PER_TURN == 0:
            await asyncio.sleep(0)
        if self._tokens == 1:
            self._began = monotonic()

    def timings(self, began: float) -> Timings:
        """The times of a request that arrived at `began` and ends now."""
        return Timings(0.0, self._began - began, monotonic() - self._began)


def _steps(choices: Sequence[Choice]) -> Iterator[list[Delta]]:
    """One list per token position, with the deltas of all choices that are that long."""
    for step in zip_longest(*(choice.deltas(index) for index, choice in enumerate(choices))):
        yield [delta for delta in step if delta is not None]


def _with_logprobs(delta: Delta, top: int) -> Delta:
    logprobs = tuple(token_logprob(token_bytes(token).decode(), top) for token in delta.token_ids)
    return msgspec.structs.replace(delta, logprobs=logprobs)


def _endings(choices: Sequence[Choice], prompt_tokens: int, timings: Timings) -> Iterator[Delta]:
    for index, choice in enumerate(choices):
        usage = Usage(prompt_tokens, choice.tokens)
        yield Delta(index, finish_reason=choice.finish, usage=usage, timings=timings)


def _scripted_error(script: Script, where: str) -> EngineError:
    build = error_classes()[script.error or EngineError.kind]
    retry_after_s = 1.0 if issubclass(build, _PASSING) else None
    return build(f"the script failed {where}", retry_after_s=retry_after_s)
