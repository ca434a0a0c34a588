"""One request's way through the engines: lease the expert's, generate, try once more after a crash.

Whatever generates comes through `LiveMindOrchestrator.stream`; a plain answer collects the same iterator.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from typing import Protocol

import msgspec

from app.experts.catalog import Catalog, Target
from app.experts.supervisor import ExpertStatus
from app.interleave import interleave
from backends.base import Engine, EngineCrashedError
from backends.types import Accepted, Embedding, Event, GenerationRequest, ModelInfo, TokenPiece


class Pool(Protocol):
    """What the edge needs of `app.experts.pool.EnginePool`, so that tests can lend engines of their own."""

    async def start(self) -> None:
        """Begin to load, and return."""
        ...

    def lease(self, expert_id: str) -> AbstractAsyncContextManager[Engine]:
        """The expert's engine, for the time of one request; loads, waits or refuses."""
        ...

    def status(self) -> Sequence[ExpertStatus]:
        """How each model is, now."""
        ...

    def peek(self, expert_id: str) -> Engine | None:
        """The expert's engine if it is ready, to be looked at; `None` if it is not."""
        ...

    async def close(self) -> None:
        """End all engines."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """What one HTTP request wants generated: `model` as the client wrote it, and one request per prompt.

    All requests have the same `n`; choice `c` of request `r` has the index `r * n + c` in the answer.
    """

    id: str
    model: str | None
    requests: tuple[GenerationRequest, ...]

    @property
    def choices(self) -> int:
        """How many choices the answer has."""
        return sum(request.n for request in self.requests)


class Started(msgspec.Struct, frozen=True):
    """The first item of a stream: the id of the model that answers. The engine has accepted a prompt."""

    model: str
    info: ModelInfo


Item = Started | Event


@dataclass(frozen=True, slots=True)
class EmbeddingJob:
    """What one HTTP request wants embedded: texts or token ids; `dimensions` is `None` for all that the model has."""

    model: str | None
    inputs: tuple[str | tuple[int, ...], ...]
    dimensions: int | None = None


@dataclass(frozen=True, slots=True)
class Embedded:
    """The vectors of a job's inputs, in order, and the id of the model that made them."""

    model: str
    embeddings: list[Embedding]


class LiveMindOrchestrator:
    """Leads each request to its expert's engine and the events back. `app.dispatch` says which expert that is."""

    def __init__(self, catalog: Catalog, pool: Pool) -> None:
        self._catalog = catalog
        self._pool = pool

    async def stream(self, job: Job) -> AsyncGenerator[Item]:
        """One `Started`, then the events of all the job's requests as they come, choices numbered through.

        An engine that crashes before its first event has done nothing visible: the job is tried once more, on the
        engine that the pool gives then.

        Raises:
            UnknownModelError: there is no such model.
            UnsupportedError: it is an embedding model.
            EngineError: what the pool and the engine raise.
        """
        target = self._catalog.locate(job.model, "generate")
        begun = False
        for may_retry in (True, False):
            try:
                async with aclosing(self._attempt(target, job)) as items:
                    async for item in items:
                        begun = True
                        yield item
                return
            except EngineCrashedError:
                if begun or not may_retry:
                    raise

    async def embed(self, job: EmbeddingJob) -> Embedded:
        """The vectors of the job's inputs; tried once more after a crash of the engine.

        Raises:
            UnknownModelError: there is no such model, or none for embeddings.
            UnsupportedError: the model makes no embeddings.
            EngineError: what the pool and the engine raise.
        """
        expert_id = self._catalog.locate(job.model, "embed").expert.id
        try:
            return Embedded(expert_id, await self._embeddings(expert_id, job))
        except EngineCrashedError:
            return Embedded(expert_id, await self._embeddings(expert_id, job))

    async def _embeddings(self, expert_id: str, job: EmbeddingJob) -> list[Embedding]:
        async with self._pool.lease(expert_id) as engine:
            return await engine.embed(job.inputs, dimensions=job.dimensions)

    async def tokenize(self, model: str | None, text: str, *, add_special: bool) -> list[TokenPiece]:
        """The tokens of a text, by the model's own tokeniser."""
        async with self._pool.lease(self._catalog.resolve(model).id) as engine:
            return await engine.tokenize(text, add_special=add_special)

    async def detokenize(self, model: str | None, token_ids: Sequence[int]) -> str:
        """The text of the tokens."""
        async with self._pool.lease(self._catalog.resolve(model).id) as engine:
            return await engine.detokenize(token_ids)

    async def _attempt(self, target: Target, job: Job) -> AsyncGenerator[Item]:
        async with self._pool.lease(target.expert.id) as engine:
            streams = [engine.stream(adapted(request, target.adapter)) for request in job.requests]
            started = False
            async with aclosing(interleave(streams)) as events:
                async for number, event in events:
                    if not started:
                        started = True
                        yield Started(target.id, engine.info)
                    yield renumbered(event, number * job.requests[number].n)


def adapted(request: GenerationRequest, adapter: str | None) -> GenerationRequest:
    """The request, to be answered with the adapter that the model's name asks for."""
    return request if adapter is None else msgspec.structs.replace(request, adapter=adapter)


def renumbered(event: Event, offset: int) -> Event:
    """The event with its choice's index in the whole answer."""
    if offset == 0 or isinstance(event, Accepted):
        return event
    return msgspec.structs.replace(event, index=event.index + offset)
