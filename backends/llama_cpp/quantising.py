"""Turns a GGUF model into one with fewer bits per weight.

llama.cpp does it, in a child process: its call cannot be interrupted, and a damaged model may make it abort. The child
writes to a file beside the target, which takes the target's name when it is whole and on disk.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from backends.base import ModelUnavailableError
from backends.llama_cpp.model_file import ModelFile
from backends.llama_cpp.number_formats import UnknownKindError, kind_named
from backends.machine import physical_cores

UNFINISHED = ".quantising-*.part"
"""How files are named that are still being written."""

_ROOT = Path(__file__).resolve().parents[2]
_CHILD = "backends.llama_cpp.quantising_child"
_KEPT_LINES = 5


class QuantisationError(Exception):
    """The model was not quantised, and nothing was left behind; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Quantisation:
    """What is wanted. `source` may be the first part of a split model; the target is always one file.

    `force` replaces an existing target. `allow_requantize` takes a source that has lost precision already. `threads`
    defaults to the physical cores, `free_bytes` to what the target's file system has left, `environment` (the child's)
    to this process's.
    """

    source: Path
    target: Path
    kind: str
    threads: int | None = None
    force: bool = False
    allow_requantize: bool = False
    free_bytes: int | None = None
    environment: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Quantised:
    """What was done. `substituted` tensors have rows that the kind does not divide, and got another kind."""

    before: ModelFile
    after: ModelFile
    substituted: int
    seconds: float


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """How far the work is: tensors, and bytes of the source that are done."""

    tensors_done: int
    tensors: int
    bytes_done: int
    bytes: int

    @property
    def fraction(self) -> float:
        """From 0 to 1."""
        return min(1.0, self.bytes_done / self.bytes) if self.bytes else 1.0


class Done(msgspec.Struct, frozen=True, tag="done"):
    """The child's last word when all went well."""

    substituted: int


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The child's last word when it did not."""

    reason: str


class Job(msgspec.Struct, frozen=True):
    """What the child is told; `target` must not exist."""

    source: str
    target: str
    kind: str
    threads: int
    allow_requantize: bool
    header_bytes: int
    free_bytes: int


_Word = Progress | Done | Failed


def quantise(wanted: Quantisation, progress: Callable[[Progress], None]) -> Quantised:
    """Quantise a model; `progress` is called on this thread. What it raises ends the work and is passed on.

    Raises:
        QuantisationError: the source or the target will not do, the disk is too small, or llama.cpp refused.
    """
    began = time.monotonic()
    try:
        kind = kind_named(wanted.kind)
        before = ModelFile.read(wanted.source)
    except (UnknownKindError, ModelUnavailableError) as error:
        raise QuantisationError(str(error)) from None
    _check_source(wanted, before, kind)
    _check_target(wanted, before)
    with _scratch_beside(wanted.target) as scratch:
        done = _in_child(_job(wanted, before, scratch), wanted.environment, progress)
        after = _completed(scratch, wanted.target)
    return Quantised(before, after, done.substituted, time.monotonic() - began)


def _check_source(wanted: Quantisation, source: ModelFile, kind: str) -> None:
    if source.kind == kind:
        raise QuantisationError(f"{wanted.source} is {kind} already")
    if source.quantised and not wanted.allow_requantize:
        raise QuantisationError(
            f"{wanted.source} is quantised already ({source.kind}), and another time costs more accuracy than its size"
            " is worth: take the F16, BF16 or F32 file of the model, or allow it with --allow-requantize"
        )


def _check_target(wanted: Quantisation, source: ModelFile) -> None:
    target = wanted.target
    if not target.parent.is_dir():
        raise QuantisationError(f"{target.parent}, where {target.name} should be written, is not a folder")
    if target.is_dir():
        raise QuantisationError(f"{target} is a directory; name the file to write")
    if not target.exists():
        return
    if any(target.samefile(part) for part in source.parts):
        raise QuantisationError(f"{target} is the source; name another file to write")
    if not wanted.force:
        raise QuantisationError(f"{target} exists already; --force replaces it")


@contextlib.contextmanager
def _scratch_beside(target: Path) -> Iterator[Path]:
    """A name for the child's file, in the target's folder; no such file is there afterwards."""
    scratch = target.with_name(UNFINISHED.replace("*", f"{os.getpid()}-{threading.get_ident()}"))
    try:
        yield scratch
    finally:
        scratch.unlink(missing_ok=True)


def _job(wanted: Quantisation, source: ModelFile, scratch: Path) -> Job:
    free = shutil.disk_usage(scratch.parent).free if wanted.free_bytes is None else wanted.free_bytes
    return Job(
        source=str(source.parts[0].absolute()),
        target=str(scratch.absolute()),
        kind=kind_named(wanted.kind),
        threads=wanted.threads or physical_cores(),
        allow_requantize=wanted.allow_requantize,
        header_bytes=source.header_bytes,
        free_bytes=free,
    )


def _in_child(job: Job, environment: Mapping[str, str] | None, progress: Callable[[Progress], None]) -> Done:
    """Run the job to its end; the child ends when this function does, and when this process does."""
    command = [sys.executable, "-m", _CHILD, msgspec.json.encode(job).decode()]
    word: _Word | None = None
    tail: deque[str] = deque(maxlen=_KEPT_LINES)
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,  # its end tells the child that nobody waits any more
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=_ROOT,
        env=environment,
        start_new_session=True,  # a signal to this group would end the child before it has cleaned up
    ) as child:
        try:
            for word in _words(child, tail):
                if isinstance(word, Progress):
                    progress(word)
            child.wait()
        finally:
            child.kill()
    if isinstance(word, Done) and child.returncode == 0:
        return word
    raise QuantisationError(word.reason if isinstance(word, Failed) else _last_words(child.returncode, tail))


def _words(child: subprocess.Popen[bytes], tail: deque[str]) -> Iterator[_Word]:
    """What the child says; lines that native code prints are kept in `tail`."""
    assert child.stdout is not None
    for line in child.stdout:
        try:
            yield msgspec.json.decode(line, type=_Word)
        except msgspec.MsgspecError:
            if text := line.decode(errors="replace").strip():
                tail.append(text)


def _last_words(code: int, tail: deque[str]) -> str:
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
    return "\n".join([f"the process that quantises {how}; its last words:", *(tail or ["(none)"])])


def _completed(scratch: Path, target: Path) -> ModelFile:
    """Give the finished file its name, once its bytes would survive a power failure."""
    try:
        with scratch.open("rb") as file:
            os.fsync(file.fileno())
        written = ModelFile.read(scratch)
        scratch.replace(target)
    except (OSError, ModelUnavailableError) as error:
        raise QuantisationError(f"{target} could not be completed: {error}") from None
    return ModelFile((target,), written.headers)
