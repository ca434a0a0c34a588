"""`LlamaCppEngine`: one GGUF model behind the engine contract."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import llama_cpp
from msgspec import structs

import kernels
from backends import machine
from backends.base import ContextLengthError, EngineError, InvalidRequestError, UnsupportedError
from backends.chat_formats import choose_format
from backends.features import refuse_undeclared, refuse_unknown
from backends.gguf_header import check_gguf
from backends.llama_cpp import native_log
from backends.llama_cpp.adapters import Adapters
from backends.llama_cpp.cells import CacheShape, KVCells
from backends.llama_cpp.context import Context, ContextOptions
from backends.llama_cpp.drawing import Drawing
from backends.llama_cpp.effective import effective_settings, trained_reach
from backends.llama_cpp.job import Job
from backends.llama_cpp.kv_size import cell_shape
from backends.llama_cpp.model import Model
from backends.llama_cpp.native_thread import NativeThread
from backends.llama_cpp.ngram import NgramDrafter
from backends.llama_cpp.plan import new_tokens_allowed
from backends.llama_cpp.quantised_copies import quantised_model
from backends.llama_cpp.scheduler import Parcel, Scheduler
from backends.llama_cpp.warmup import warm_up
from backends.prompts import Prompt, Prompts
from backends.sampling_defaults import resolve, sampling_defaults
from backends.types import (
    LONGEST_DEFAULT_WINDOW,
    Capabilities,
    Embedding,
    EngineConfig,
    Event,
    GenerationRequest,
    ModelInfo,
    TokenPiece,
)

if TYPE_CHECKING:
    from backends.constraints.constraining import Constrainer, TokenMatcher

log = logging.getLogger(__name__)

RESTING_SEQUENCES = 32
"""Prompts and answers of the past that the KV cache can tell apart, besides those that run."""


class LlamaCppEngine:
    """Serves many requests at once from one model: `start` it, `stream` from it, `close` it."""

    capabilities = Capabilities(prefill_only=True, logprobs=True, constraints=True, typical_p=True)

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._owned = AsyncExitStack()

    async def start(self, progress: Callable[[float], None]) -> None:
        """Load the model; `progress` hears fractions from 0 to 1 on the event loop.

        Raises:
            ModelUnavailableError: the file is missing, damaged, of an unknown kind, or does not fit.
        """
        loop = asyncio.get_running_loop()

        def report(fraction: float) -> None:
            loop.call_soon_threadsafe(progress, fraction)

        def deliver(parcels: list[Parcel]) -> None:
            loop.call_soon_threadsafe(_hand_out, parcels)

        config = self._config
        native = NativeThread("llama.cpp")
        self._owned.callback(native.end)
        await asyncio.wrap_future(native.submit(partial(self._load, report)))
        vocab = self._model.vocab
        chat_format = await choose_format(
            config.chat_format, vocab, file=config.chat_format_file, template=self._model.chat_template
        )
        self._owned.push_async_callback(chat_format.close)
        self.info = self._describe(chat_format.name)
        # Its end waits for its threads, so nothing reads a vocabulary that is freed.
        self._tokenising = self._owned.enter_context(ThreadPoolExecutor(2, "tokenise"))
        self._compiling = self._owned.enter_context(ThreadPoolExecutor(1, "compile"))
        self._prompts = Prompts(vocab, chat_format, self.info.context_window, self._tokenising)
        self._scheduler = Scheduler(
            self._context,
            KVCells(self._cache_shape, self._context),
            Drawing(self._context, vocab),
            prepare=warm_up,
            deliver=deliver,
        )
        self.effective_settings = {
            **effective_settings(self._model, self._context, config.llama),
            "prefix_cache_tokens": self._cache_shape.keep,
            "speculative": "ngram" if self._speculates else "off",
            "adapters": list(self._adapters.names),
            "quantization": config.llama.quantization if self._quantised else None,
        }
        self._owned.push_async_callback(asyncio.to_thread, self._scheduler.close)
        await asyncio.to_thread(self._scheduler.start, native)

    def _load(self, report: Callable[[float], None]) -> None:
        config = self._config
        native_log.install(config.engine_log_level)
        llama_cpp.llama_backend_init()
        kernels.select(config.kernels)
        model, report = quantised_model(config, report)
        self._quantised = model != config.model
        header = check_gguf(model)
        self._cell = cell_shape(header)
        self._model = Model(model, config.llama, progress=report)
        self._owned.callback(self._model.close)
        self._adapters = Adapters(self._model, config.adapters, header)
        self._owned.callback(self._adapters.close)
        self.capabilities = structs.replace(self.capabilities, adapters=bool(config.adapters))
        self._defaults = sampling_defaults(self._model.metadata)
        self._context = Context(self._model, self._context_options(), self._adapters)
        self._owned.callback(self._context.close)

    def _context_options(self) -> ContextOptions:
        llama = self._config.llama
        type_k, type_v = llama.cache_types
        return ContextOptions(
            cells=self._size_cache(),
            sequences=llama.n_parallel + (RESTING_SEQUENCES if self._model.prefixes_can_be_shared else 0),
            n_batch=max(llama.n_batch, llama.n_parallel),
            n_threads=llama.n_threads or machine.sensible_threads(self._model.size_bytes, machine.physical_cores()),
            n_threads_batch=llama.n_threads_batch,
            flash_attn=llama.flash_attn,
            type_k=type_k,
            type_v=type_v,
            rope_scaling=llama.rope_scaling,
            rope_freq_base=llama.rope_freq_base,
            rope_freq_scale=llama.rope_freq_scale,
            yarn_orig_ctx=llama.yarn_orig_ctx,
        )

    def _size_cache(self) -> int:
        """KV cells for all requests together; sets the tokens of context that each may use."""
        llama = self._config.llama
        trained = trained_reach(self._model, llama)
        window = self._config.context_window or min(trained, LONGEST_DEFAULT_WINDOW)
        if window > trained:
            log.warning("the context window of %d tokens is longer than the model's %d", window, trained)
        if self._cell.exact:
            self._cell.check(*llama.cache_types)
        else:
            log.info("the size of the KV cache is an estimate for the architecture '%s'", self._model.architecture)
        windows = machine.windows_that_fit(
            llama.n_parallel, window * self._cell.size_bytes(*llama.cache_types), machine.available_memory()
        )
        self._window = window
        cells = llama.kv_cells or window * windows
        if cells < window:
            log.warning("%d KV cells are fewer than the context window; there will be %d", cells, window)
        return max(cells, window)

    @cached_property
    def _cache_shape(self) -> CacheShape:
        llama, context = self._config.llama, self._context
        keep = llama.prefix_cache_tokens
        if keep is None:
            keep = machine.prefix_tokens(self._cell.size_bytes(*llama.cache_types), machine.available_memory())
        sequences = context.sequences if keep else llama.n_parallel
        idle = machine.idle_cells(gpu=llama_cpp.llama_supports_gpu_offload())
        return CacheShape(context.cells, sequences, llama.n_parallel, keep, idle)

    @cached_property
    def _speculates(self) -> bool:
        """Whether choices draft; a wrong draft must be cut off again, which not every model's memory allows."""
        if self._config.llama.speculative == "off":
            return False
        if not self._model.prefixes_can_be_shared:
            log.warning("JARVIS_SPECULATIVE has no effect: this model's memory cannot forget a wrong draft")
        return self._model.prefixes_can_be_shared

    def _describe(self, chat_format: str) -> ModelInfo:
        model = self._model
        return ModelInfo(
            name=self._config.alias,
            architecture=model.architecture,
            context_window=self._window,
            trained_context=model.trained_context,
            kv_cells=self._context.cells,
            vocab_size=model.vocab.size,
            parameters=model.parameters,
            size_bytes=model.size_bytes,
            chat_format=chat_format,
            engine="llama_cpp",
            engine_version=llama_cpp.__version__,
        )

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Event]:
        """Generate; see `backends.base.Engine.stream`."""
        self._check(request)
        job = self._job(request, await self._prompts.encode(request), await self._matcher(request))
        if self._speculates and job.max_new:
            index = partial(NgramDrafter, job.prompt)
            job.drafter = await asyncio.get_running_loop().run_in_executor(self._tokenising, index)
        self._scheduler.submit(job)
        try:
            while (event := await _next_event(job)) is not None:
                yield event
        finally:
            self._scheduler.abort(job)

    def _check(self, request: GenerationRequest) -> None:
        refuse_undeclared(request, self.capabilities)
        if request.n > self._config.llama.n_parallel:
            raise InvalidRequestError(
                f"n is {request.n}, but this server generates at most {self._config.llama.n_parallel} choices at once"
                " (JARVIS_N_PARALLEL)",
                param="n",
            )
        refuse_unknown(request, adapters=self._adapters.names, vocab_size=self._model.vocab.size)

    async def _matcher(self, request: GenerationRequest) -> TokenMatcher | None:
        if request.constraint is None:
            return None
        compile = partial(self._constrainer.compile, request.constraint)
        return await asyncio.get_running_loop().run_in_executor(self._compiling, compile)

    @cached_property
    def _constrainer(self) -> Constrainer:
        from backends.constraints.constraining import Constrainer  # its library is only loaded where it is needed

        return Constrainer(self._model.vocab)

    def _job(self, request: GenerationRequest, prompt: Prompt, matcher: TokenMatcher | None) -> Job:
        stopping = request.stopping
        max_new = new_tokens_allowed(
            stopping.max_tokens,
            len(prompt.ids),
            request.n,
            window=self.info.context_window,
            cells=self.info.kv_cells,
        )
        if max_new < min(1, stopping.max_tokens if stopping.max_tokens is not None else 1):
            raise ContextLengthError(
                f"{request.n} choices after a prompt of {len(prompt.ids)} tokens do not fit"
                f" the {self.info.kv_cells} KV cells",
                param="n",
            )
        ids = prompt.ids
        if request.priority < 0 and not max_new and len(ids) > 1:
            ids = ids[:-1]  # of a text that is still being typed: the next letter may belong to its last token
        natural = frozenset() if stopping.ignore_eos else self._model.vocab.end_of_generation
        return Job(
            request=request,
            prompt=ids,
            sampling=resolve(request.sampling, self._defaults),
            stops=(*stopping.stop, *prompt.stops),
            end_tokens=natural | frozenset(stopping.stop_token_ids),
            max_new=max_new,
            echo=self._echo(request, ids) if request.echo else None,
            matcher=matcher,
        )

    def _echo(self, request: GenerationRequest, ids: Sequence[int]) -> str:
        if request.prompt is not None:
            return request.prompt
        return self._model.vocab.decode(ids, special=not request.skip_special_tokens).decode(errors="replace")

    async def embed(self, inputs: Sequence[Sequence[int] | str], *, dimensions: int | None = None) -> list[Embedding]:
        """Not offered by a chat model."""
        del inputs, dimensions
        raise UnsupportedError(f"{self.info.name} is not an embedding model", param="model")

    async def tokenize(self, text: str, *, add_special: bool = False) -> list[TokenPiece]:
        """The tokens of a text; see `backends.base.Engine.tokenize`."""
        pieces = partial(self._model.vocab.token_pieces, text, add_special=add_special)
        return await asyncio.get_running_loop().run_in_executor(self._tokenising, pieces)

    async def detokenize(self, token_ids: Sequence[int]) -> str:
        """The text of the tokens; see `backends.base.Engine.detokenize`."""
        return self._model.vocab.decode(token_ids, special=True).decode(errors="replace")

    async def stats(self) -> dict[str, Any]:
        """Gauges and counters of the scheduler, and under `settings` what llama.cpp made of the configuration."""
        return {**self._scheduler.stats(), "settings": self.effective_settings}

    async def close(self) -> None:
        """End all requests and free the model; harmless when called twice."""
        await self._owned.aclose()


async def _next_event(job: Job) -> Event | None:
    event = await job.events.get()
    if isinstance(event, EngineError):
        raise event
    return event


def _hand_out(parcels: list[Parcel]) -> None:
    for job, event in parcels:
        job.events.put_nowait(event)
