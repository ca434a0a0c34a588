"""The worker's end of the process that renders templates: starts it, bounds its time, replaces it when it fails."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from backends.base import EngineClosedError, ModelUnavailableError
from backends.chat_formats.renderer import HEADER, OUTPUT_LIMIT, Job, Load, Rendered

TIME_LIMIT_S = 2.0
_START_LIMIT_S = 30.0
_FRAME_LIMIT = 16 * OUTPUT_LIMIT
_SCRIPT = str(Path(__file__).with_name("renderer.py"))

_T = TypeVar("_T")


class _ChildGone(Exception):
    """The renderer did not answer as agreed."""


class TemplateSandbox:
    """Renders one template in a child process. Requests take turns; a failed child is replaced at once."""

    def __init__(self, load: Load, *, time_limit_s: float = TIME_LIMIT_S) -> None:
        self._load = load
        self._time_limit_s = time_limit_s
        self._child: Process | None = None
        self._turn = asyncio.Lock()
        self._closed = False

    @property
    def process_id(self) -> int | None:
        """The child's, while there is one."""
        return None if self._child is None or self._child.returncode is not None else self._child.pid

    async def start(self) -> None:
        """Start the child and let it compile the template.

        Raises:
            ModelUnavailableError: the template does not compile, or not within the limits.
        """
        async with self._turn:
            await self._ensure_child()

    async def render(self, variables: list[dict[str, Any]]) -> list[Rendered]:
        """One answer per set of variables. What breaks the child is an answer too: `fault="limit"`."""
        async with self._turn:
            child = await self._ensure_child()
            answer = await _ask(child, Job(variables), list[Rendered], self._time_limit_s)
            await self._ensure_child()
        return [answer] * len(variables) if isinstance(answer, Rendered) else answer

    async def close(self) -> None:
        """End the child."""
        self._closed = True
        if self._child is not None:
            await _end(self._child)

    async def _ensure_child(self) -> Process:
        if self._closed:
            raise EngineClosedError("the model is being unloaded")
        if self._child is None or self._child.returncode is not None:
            self._child = await _spawn(self._load, self._time_limit_s)
        return self._child


async def _spawn(load: Load, time_limit_s: float) -> Process:
    """A child that has compiled the template. It gets no environment: there is nothing in it for a template."""
    child = await asyncio.create_subprocess_exec(sys.executable, "-IB", _SCRIPT, stdin=PIPE, stdout=PIPE, env={})
    ready = await _ask(child, None, Rendered, _START_LIMIT_S)
    compiled = ready if ready.fault else await _ask(child, load, Rendered, time_limit_s)
    if compiled.fault:
        await _end(child)
        raise ModelUnavailableError(f"the model's chat template cannot be used: compiling it {describe(compiled)}")
    return child


async def _ask(child: Process, message: object, kind: type[_T], limit_s: float) -> _T | Rendered:
    """The child's answer. Whatever prevents it costs the child its life, also the cancellation of a request."""
    answered = False
    try:
        async with asyncio.timeout(limit_s):
            answer = await _exchange(child, message, kind)
        answered = True
        return answer
    except TimeoutError:
        return Rendered(fault="limit", reason=f"takes longer than {limit_s:g} s")
    except _ChildGone:
        return Rendered(fault="limit", reason="ended its process")
    finally:
        if not answered:
            await _end(child)


async def _exchange(child: Process, message: object, kind: type[_T]) -> _T:
    assert child.stdin is not None and child.stdout is not None
    try:
        if message is not None:
            body = msgspec.msgpack.encode(message)
            child.stdin.write(HEADER.pack(len(body)) + body)
            await child.stdin.drain()
        [size] = HEADER.unpack(await child.stdout.readexactly(HEADER.size))
        if size > _FRAME_LIMIT:
            raise _ChildGone
        return msgspec.msgpack.decode(await child.stdout.readexactly(size), type=kind)
    except (ConnectionError, asyncio.IncompleteReadError, msgspec.DecodeError) as error:
        raise _ChildGone from error


async def _end(child: Process) -> None:
    if child.returncode is None:
        child.kill()
    await child.wait()


def describe(rendered: Rendered) -> str:
    """A fault as the end of a sentence that begins with "the chat template"."""
    return rendered.reason if rendered.fault == "limit" else f"fails: {rendered.reason}"
