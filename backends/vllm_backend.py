"""`VLLMClient`: a model behind the engine contract that vLLM's `AsyncLLM` runs, in processes of its own."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, aclosing
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from backends.base import EngineClosedError, EngineError, ModelUnavailableError, UnsupportedError
from backends.chat_formats import choose_format
from backends.constraints import check
from backends.features import refuse_undeclared, refuse_unknown
from backends.machine import available_memory
from backends.prompts import Prompt, Prompts
from backends.sampling_defaults import GENERATION_CONFIG_KEYS, resolve, sampling_defaults
from backends.types import (
    Capabilities,
    Embedding,
    EngineConfig,
    Event,
    GenerationRequest,
    ModelInfo,
    SamplingParams,
    StopParams,
    TokenPiece,
)
from backends.vllm.adapter_folder import adapter_folders
from backends.vllm.devices import Devices, device_problems
from backends.vllm.engine_args import engine_arguments, plan_memory
from backends.vllm.gguf_folder import CONVERTING_SHARE
from backends.vllm.job import Job
from backends.vllm.overheard import Overheard
from backends.vllm.source import Source, served_folder
from backends.worker.lifeline import end_group, guard_group

if TYPE_CHECKING:
    from backends.constraints.constraining import Constrainer, TokenMatcher
    from backends.vllm.generation import Generation
    from backends.vllm.starting import Started

log = logging.getLogger(__name__)

_WATCH_S = 0.1
_LAST_WORDS_S = 0.05
"""For what is in the log's pipe to be copied before the process ends."""
_SHUTDOWN_S = 1.0
"""What vLLM's processes get to end by themselves; the edge ends what is left of the process group."""


class VLLMClient:
    """Serves many requests at once from one model: `start` it, `stream` from it, `close` it."""

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._owned = AsyncExitStack()
        self._closed = False

    @property
    def capabilities(self) -> Capabilities:
        """What vLLM can do; adapters where the configuration has some."""
        return Capabilities(
            prefill_only=True, logprobs=True, constraints=True, adapters=bool(self._config.adapters), typical_p=False
        )

    async def start(self, progress: Callable[[float], None]) -> None:
        """Convert or download the model if it has to be, and bring vLLM up with it.

        Raises:
            ModelUnavailableError: the settings do not go with this machine, there is no such model, vLLM does not know
                its kind, or memory or disk do not suffice.
        """
        config, devices = self._config, Devices.found()
        if problems := list(device_problems(config.vllm, devices)):
            raise ModelUnavailableError("; ".join(problems))
        guard_group()
        source = await served_folder(config, progress)
        config = replace(config, adapters=await asyncio.to_thread(adapter_folders, config, source.folder))
        progress(CONVERTING_SHARE)
        plan = plan_memory(config, source, devices, available_memory())
        arguments = engine_arguments(config, source, plan, devices)
        # A thread that lives as long as the engine: its processes are bound to the thread that has started them.
        self._starting = self._owned.enter_context(ThreadPoolExecutor(1, "vllm"))
        loop = asyncio.get_running_loop()
        self._started: Started = await loop.run_in_executor(self._starting, partial(_bring_up, arguments))
        self._owned.push_async_callback(self._shut_down)
        await self._prepare(source, config.adapters)
        await self._generation.load_adapters()
        await self._warm_up()
        watching = asyncio.create_task(self._watch())
        self._owned.callback(watching.cancel)

    async def _prepare(self, source: Source, adapters: Mapping[str, str]) -> None:
        """What stands between requests and the engine: the vocabulary, the chat format, the generation."""
        from backends.vllm.generation import Generation
        from backends.vllm.vocab import FolderVocabulary

        config, llm = self._config, self._started.llm
        tokenizer = llm.get_tokenizer()
        self._vocab = FolderVocabulary(tokenizer, source.folder.end_tokens)
        template = tokenizer.chat_template
        chat_format = await choose_format(
            config.chat_format,
            self._vocab,
            file=config.chat_format_file,
            template=template.get("default") if isinstance(template, dict) else template,
        )
        self._owned.push_async_callback(chat_format.close)
        self.info = self._describe(source, chat_format.name)
        self._defaults = sampling_defaults(source.folder.generation_config, GENERATION_CONFIG_KEYS)
        self._tokenising = self._owned.enter_context(ThreadPoolExecutor(2, "tokenise"))
        self._compiling = self._owned.enter_context(ThreadPoolExecutor(1, "compile"))
        self._prompts = Prompts(self._vocab, chat_format, self.info.context_window, self._tokenising)
        self._generation: Generation = Generation(llm, self._vocab, adapters, self._died)

    def _describe(self, source: Source, chat_format: str) -> ModelInfo:
        from vllm import __version__

        settings, folder = self._started.llm.vllm_config, source.folder
        window = int(settings.model_config.max_model_len)
        return ModelInfo(
            name=self._config.alias,
            architecture=folder.architecture,
            context_window=window,
            trained_context=folder.trained_context or window,
            kv_cells=int(settings.cache_config.num_gpu_blocks or 0) * int(settings.cache_config.block_size),
            vocab_size=self._vocab.size,
            parameters=folder.parameters,
            size_bytes=folder.size_bytes,
            chat_format=chat_format,
            engine="vllm",
            engine_version=__version__,
        )

    async def _warm_up(self) -> None:
        """Ask for a little of everything that vLLM compiles when it is first asked for, so that no client waits."""
        ids = self._vocab.encode_prompt("Hello", special=False)
        stopping = StopParams(max_tokens=2, ignore_eos=True)
        for number, sampling in enumerate(
            (SamplingParams(temperature=0.0), SamplingParams(seed=1, top_p=0.9, top_k=5))
        ):
            request = GenerationRequest(
                id=f"warm-up-{number}", token_ids=tuple(ids), sampling=sampling, stopping=stopping, logprobs=1
            )
            async with aclosing(self.stream(request)) as events:
                async for _ in events:
                    pass
        self._generation.count.clear()

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Event]:
        """Generate; see `backends.base.Engine.stream`."""
        if self._closed:
            raise EngineClosedError("the engine is closed")
        self._check(request)
        job = await self._job(request, await self._prompts.encode(request))
        async with aclosing(self._generation.events(job)) as events:
            async for event in events:
                yield event

    def _check(self, request: GenerationRequest) -> None:
        refuse_undeclared(request, self.capabilities)
        refuse_unknown(request, adapters=self._config.adapters, vocab_size=self._vocab.size)

    async def _job(self, request: GenerationRequest, prompt: Prompt) -> Job:
        stopping, ids, window = request.stopping, prompt.ids, self.info.context_window
        room = window - len(ids)
        max_new = room if stopping.max_tokens is None else min(stopping.max_tokens, room)
        speculative = request.priority < 0 and not max_new  # the next letter may belong to the last token
        if len(ids) > 1 and (speculative or len(ids) == window):
            ids = ids[:-1]  # vLLM draws a token in any case, which needs room
        ends = self._vocab.end_of_generation
        constraint = check(request.constraint) if request.constraint is not None else None
        return Job(
            request=request,
            prompt=ids,
            sampling=resolve(request.sampling, self._defaults),
            stops=(*stopping.stop, *prompt.stops),
            end_tokens=(frozenset() if stopping.ignore_eos else ends) | frozenset(stopping.stop_token_ids),
            banned=ends if stopping.ignore_eos else frozenset(),
            max_new=max_new,
            echo=self._echo(request, ids) if request.echo else None,
            constraint=constraint,
            matcher=await self._matcher(request),
        )

    async def _matcher(self, request: GenerationRequest) -> TokenMatcher | None:
        """What follows a constrained answer here, and knows when nothing but its end may come."""
        if request.constraint is None:
            return None
        compile = partial(self._constrainer.compile, request.constraint)
        return await asyncio.get_running_loop().run_in_executor(self._compiling, compile)

    @cached_property
    def _constrainer(self) -> Constrainer:
        from backends.constraints.constraining import Constrainer  # its library is only loaded where it is needed

        return Constrainer(self._vocab)

    def _echo(self, request: GenerationRequest, ids: Sequence[int]) -> str:
        if request.prompt is not None:
            return request.prompt
        return self._vocab.decode(ids, special=not request.skip_special_tokens).decode(errors="replace")

    async def embed(self, inputs: Sequence[Sequence[int] | str], *, dimensions: int | None = None) -> list[Embedding]:
        """Not offered by a chat model."""
        del inputs, dimensions
        raise UnsupportedError(f"{self.info.name} is not an embedding model", param="model")

    async def tokenize(self, text: str, *, add_special: bool = False) -> list[TokenPiece]:
        """The tokens of a text; see `backends.base.Engine.tokenize`."""
        pieces = partial(self._vocab.token_pieces, text, add_special=add_special)
        return await asyncio.get_running_loop().run_in_executor(self._tokenising, pieces)

    async def detokenize(self, token_ids: Sequence[int]) -> str:
        """The text of the tokens; see `backends.base.Engine.detokenize`."""
        return self._vocab.decode(token_ids, special=True).decode(errors="replace")

    async def stats(self) -> dict[str, Any]:
        """Gauges and counters, and under `settings` what vLLM made of the configuration."""
        count, cells = self._generation.count, self.info.kv_cells
        busy = count["running"] or count["waiting"]
        counted = ("prompt_tokens_evaluated", "prompt_tokens_cached", "tokens_generated")
        return {
            "running": count["running"],
            "waiting": count["waiting"],
            "kv_cells": cells,
            "kv_cells_reserved": round(self._started.usage.cache_share * cells) if busy else 0,
            **{name: count[name] for name in counted},
            "settings": self._started.settings(self._config),
        }

    async def close(self) -> None:
        """End all requests and vLLM's processes; harmless when called twice."""
        self._closed = True
        await self._owned.aclose()

    async def _shut_down(self) -> None:
        await asyncio.get_running_loop().run_in_executor(
            self._starting, partial(self._started.llm.shutdown, timeout=_SHUTDOWN_S)
        )

    async def _watch(self) -> None:
        """See it when the engine core dies while nobody generates."""
        while not self._started.llm.errored:
            await asyncio.sleep(_WATCH_S)
        self._died()

    def _died(self) -> EngineError:
        """End this process: nothing here can go on without its engine core, and the edge starts a fresh worker.

        Returns only where it was closed on purpose.
        """
        if not self._closed:
            log.critical("vLLM's engine core has died")
            time.sleep(_LAST_WORDS_S)
            end_group()
        return EngineClosedError("the engine is closed")


def _bring_up(arguments: dict[str, Any]) -> Started:
    try:
        from backends.vllm.starting import Started
    except ImportError as error:
        raise ModelUnavailableError(
            f"vLLM is not installed for {sys.executable} ({error}): start with ./run.sh, which installs it, or set"
            " JARVIS_VLLM_PYTHON to an interpreter that has it"
        ) from None
    return Started(arguments, Overheard())
