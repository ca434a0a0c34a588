"""`POST /v1/embeddings`: texts, or their token ids, as vectors."""

from __future__ import annotations

import asyncio
import struct
from base64 import b64encode
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import NamedTuple

import msgspec
from starlette.requests import Request

from app.api.body import decode
from app.api.reply import Patience, Reply
from app.api.wire import EmbeddingBody
from app.orchestrator import EmbeddingJob, LiveMindOrchestrator
from app.state import state_of
from backends.base import InvalidRequestError
from backends.types import Embedding

DECODER = msgspec.json.Decoder(EmbeddingBody)
MAX_INPUTS = 2048
"""Inputs of one request, as on OpenAI's servers."""

Input = str | tuple[int, ...]
Format = Callable[[bytes], str | tuple[float, ...]]


class Vector(NamedTuple):
    """One item of the answer, with the id of the model that made it."""

    model: str
    embedding: Embedding


async def embeddings(request: Request) -> Reply[Vector]:
    """The vectors of all inputs; a client that leaves ends the work on them."""
    body = decode(await request.body(), DECODER)
    state = state_of(request)
    job = EmbeddingJob(body.model, tuple(split_inputs(body.input)), body.dimensions)
    listed = isinstance(body.input, list) and not isinstance(body.input[0], int)
    encoder = VectorEncoder(in_base64 if body.encoding_format == "base64" else in_numbers)
    ignored = ["user"] if body.user is not msgspec.UNSET else []
    patience = Patience(state.settings.server.header_wait_s)
    return Reply(vectors(state.orchestrator, job, listed=listed), encoder, patience, ignored)


async def vectors(orchestrator: LiveMindOrchestrator, job: EmbeddingJob, *, listed: bool) -> AsyncGenerator[Vector]:
    """The job's vectors, one by one, so that other requests get their turn while a large answer is encoded.

    `listed` says whether the client wrote a list of inputs, whose items errors name, or a single input.
    """
    try:
        done = await orchestrator.embed(job)
    except InvalidRequestError as error:
        raise error if listed else of_single_input(error) from None
    for embedding in done.embeddings:
        yield Vector(done.model, embedding)
        await asyncio.sleep(0)


class VectorEncoder:
    """Encodes the answer: items as they come, the whole body at the end."""

    media_type = b"application/json"
    streams = False

    def __init__(self, form: Format) -> None:
        self._form = form
        self._model = ""
        self._items: list[msgspec.Raw] = []
        self._tokens = 0

    def feed(self, item: Vector) -> bytes:
        """Take in one vector; there is nothing to send yet."""
        value = {"object": "embedding", "index": len(self._items), "embedding": self._form(item.embedding.vector)}
        self._items.append(msgspec.Raw(msgspec.json.encode(value)))
        self._tokens += item.embedding.tokens
        self._model = item.model
        return b""

    def flush(self) -> bytes:
        """The whole body."""
        usage = {"prompt_tokens": self._tokens, "total_tokens": self._tokens}
        return msgspec.json.encode({"object": "list", "data": self._items, "model": self._model, "usage": usage})


def of_single_input(error: InvalidRequestError) -> InvalidRequestError:
    """The error under the name that the client wrote: engines get lists and say `input[0]`, where it wrote `input`."""
    if error.param is None or not error.param.startswith("input[0]"):
        return error
    param = error.param.replace("input[0]", "input", 1)
    return type(error)(error.message.replace(error.param, param), param=param, retry_after_s=error.retry_after_s)


def in_base64(vector: bytes) -> str:
    """The float32 numbers in base64, least significant byte first, as OpenAI's clients ask for them."""
    return b64encode(vector).decode()


def in_numbers(vector: bytes) -> tuple[float, ...]:
    """The numbers, each exactly the float32 that it is."""
    return struct.unpack(f"<{len(vector) // 4}f", vector)


def split_inputs(given: str | list[str | int | list[int]]) -> list[Input]:
    """The inputs of a request.

    Raises:
        InvalidRequestError: none, too many, an empty one, or token ids beside texts; `param` is `input` or `input[3]`.
    """
    if isinstance(given, str):
        return [_checked(given, "input")]
    if not given:
        raise InvalidRequestError("'input' is empty", param="input")
    if all(isinstance(item, int) for item in given):
        return [tuple(given)]  # type: ignore[arg-type] # just checked
    if len(given) > MAX_INPUTS:
        raise InvalidRequestError(f"'input' has {len(given)} items; at most {MAX_INPUTS} are allowed", param="input")
    return [_checked(item, f"input[{number}]") for number, item in enumerate(given)]


def _checked(item: str | int | Sequence[int], param: str) -> Input:
    if isinstance(item, int):
        raise InvalidRequestError(f"'{param}' is a token id beside inputs that are none", param=param)
    if not item:
        raise InvalidRequestError(f"'{param}' is empty", param=param)
    return item if isinstance(item, str) else tuple(item)
