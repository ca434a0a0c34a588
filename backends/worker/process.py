"""The worker as the edge's operating system sees it: a process group to start, listen to, and end for certain."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections import deque
from collections.abc import Iterator, Mapping
from io import FileIO
from pathlib import Path

from backends.base import EngineCrashedError, ModelUnavailableError

_ROOT = Path(__file__).resolve().parents[2]
_KEPT_LINES = 20
_MAX_LINE_BYTES = 4096
_READ_BYTES = 65536
_LAST_WORDS_S = 0.5
"""How long an ended process's output is waited for; a grandchild may hold the pipe open."""


class LineSplitter:
    """Turns bytes, cut anywhere, into lines of text; overlong ones are cut."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[str]:
        """Lines that `data` completes, without their ends; blank ones are left out."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _MAX_LINE_BYTES:
            lines, self._rest = [*lines, self._rest], b""
        for line in lines:
            if line.strip():
                yield line[:_MAX_LINE_BYTES].decode(errors="replace").rstrip()

    def flush(self) -> Iterator[str]:
        """The last line, if it had no end."""
        return self.feed(b"\n")


class _Output:
    """Copies what the worker prints into the edge's log and keeps the last lines, which explain a crash.

    Reads the pipe itself: a transport could only be had with an `await`, during which a launch may be cancelled.
    """

    def __init__(self, name: str, pipe: FileIO) -> None:
        self.tail: deque[str] = deque(maxlen=_KEPT_LINES)
        self.ended = asyncio.Event()
        self._log = logging.getLogger(f"jarvis.worker.{name}")
        self._lines = LineSplitter()
        self._pipe = pipe
        os.set_blocking(pipe.fileno(), False)
        asyncio.get_running_loop().add_reader(pipe, self._readable)

    def close(self) -> None:
        """Read no more; happens by itself when nobody can write any more."""
        if not self._pipe.closed:
            asyncio.get_running_loop().remove_reader(self._pipe)
            self._pipe.close()
            self._note(self._lines.flush())
            self.ended.set()

    def _readable(self) -> None:
        data = self._pipe.read(_READ_BYTES)
        if data:
            self._note(self._lines.feed(data))
        elif data is not None:
            self.close()

    def _note(self, lines: Iterator[str]) -> None:
        for line in lines:
            self.tail.append(line)
            # The worker's own records begin with their level; whatever native code prints has none.
            word, _, rest = line.partition(":")
            level = logging.getLevelNamesMapping().get(word)
            self._log.log(level or logging.INFO, "%s", rest if level else line)


class WorkerProcess:
    """A running worker, leader of its own session and process group."""

    def __init__(self, process: asyncio.subprocess.Process, output: _Output) -> None:
        self._process = process
        self._output = output
        self.pid = process.pid

    @classmethod
    async def spawn(cls, name: str, *, python: str, environment: Mapping[str, str], descriptor: int) -> WorkerProcess:
        """Start `python -m backends.worker` on the inherited socket `descriptor`, with that environment and no more.

        Raises:
            ModelUnavailableError: the interpreter does not exist or may not be run.
            EngineCrashedError: the system refuses another process for now.
        """
        command = [python, "-X", "faulthandler", "-m", "backends.worker", str(descriptor), str(os.getpid())]
        with contextlib.ExitStack() as undo:
            read_end, write_end = os.pipe()
            output = _Output(name, FileIO(read_end))
            undo.callback(output.close)
            with FileIO(write_end, "w") as writer:
                process = await _execute(command, environment, writer.fileno(), descriptor)
            undo.pop_all()
        return cls(process, output)

    async def wait(self) -> None:
        """Return when the worker itself has ended and is reaped."""
        await self._process.wait()

    async def stop(self, patience_s: float, grace_s: float) -> None:
        """Return when the whole group has ended: by itself, else by SIGTERM, else by SIGKILL."""
        if not await self._ended_within(patience_s):
            self._signal(signal.SIGTERM)
            if not await self._ended_within(grace_s):
                self._signal(signal.SIGKILL)
                await self._process.wait()
        # What the worker started and left behind.
        self._signal(signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._output.ended.wait(), _LAST_WORDS_S)
        self._output.close()

    @property
    def exit_reason(self) -> str:
        """How the process ended, for a sentence that begins with its name."""
        code = self._process.returncode
        if code is None:
            return "is running"
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"

    @property
    def last_lines(self) -> str:
        """The last lines that it printed."""
        return "\n".join(self._output.tail)

    async def _ended_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), seconds)
        return self._process.returncode is not None

    def _signal(self, number: signal.Signals) -> None:
        # On macOS a group of zombies answers EPERM.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


async def _execute(
    command: list[str], environment: Mapping[str, str], output: int, descriptor: int
) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(descriptor,),
            env=dict(environment),
            cwd=_ROOT,
            start_new_session=True,
        )
    except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
        raise ModelUnavailableError(f"cannot run the interpreter {command[0]}: {error.strerror}") from error
    except OSError as error:
        raise EngineCrashedError(f"cannot start a worker: {error.strerror}", retry_after_s=1.0) from error
