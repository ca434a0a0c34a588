"""Several asynchronous streams read as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TypeVar

T = TypeVar("T")


async def interleave(streams: Sequence[AsyncGenerator[T]]) -> AsyncGenerator[tuple[int, T]]:
    """The items of all streams as they come, each with its stream's number.

    The first failure ends all of them; closing this iterator closes all of them.
    """
    if len(streams) == 1:  # the usual case needs no tasks
        async with aclosing(streams[0]) as stream:
            async for item in stream:
                yield 0, item
        return
    reading: dict[asyncio.Task[T], int] = {}
    try:
        for number, stream in enumerate(streams):
            reading[asyncio.create_task(_next(stream))] = number
        while reading:
            done, _ = await asyncio.wait(reading, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                number = reading.pop(task)
                if isinstance(task.exception(), StopAsyncIteration):
                    continue
                yield number, task.result()
                reading[asyncio.create_task(_next(streams[number]))] = number
    finally:
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
        await asyncio.gather(*(stream.aclose() for stream in streams), return_exceptions=True)


async def _next(stream: AsyncGenerator[T]) -> T:
    return await anext(stream)
