"""`python -m backends.llama_cpp.quantising_child JOB`: where llama.cpp quantises; not meant for people.

Speaks in lines of JSON on standard output, and ends when its standard input does.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import llama_cpp
import msgspec

from backends.byte_sizes import readable
from backends.llama_cpp import native_log
from backends.llama_cpp.number_formats import FILE_TYPES
from backends.llama_cpp.quantising import Done, Failed, Job, Progress

_MIB = 2**20
_TENSOR = re.compile(r"\[ *\d+/ *(?P<tensors>\d+)\] ")
_SIZE = re.compile(r"size = *(?P<before>[\d.]+) MiB")
_TOTAL = re.compile(r"quant size *= *(?P<after>[\d.]+) MiB")
_SUBSTITUTED = re.compile(r"(?P<count>\d+) of \d+ tensor\(s\) required fallback")


class _Refused(Exception):
    """The job cannot be done; the message says why."""


class Watcher(logging.Handler):
    """Makes numbers of what llama.cpp logs while it goes through the tensors.

    The place of a tensor and its size come as separate lines; the size, in MiB, when it is done.
    """

    def __init__(self, tensor_done: Callable[[Watcher], None]) -> None:
        super().__init__()
        self.tensors = self.tensors_done = self.substituted = 0
        self.bytes_done = self.bytes_written = 0
        self._tensor_done = tensor_done

    def emit(self, record: logging.LogRecord) -> None:
        """Take one line."""
        line = record.getMessage()
        if found := _TENSOR.match(line):
            self.tensors = int(found["tensors"])
        elif found := _SIZE.match(line):
            self.tensors_done += 1
            self.bytes_done += int(float(found["before"]) * _MIB)
            self._tensor_done(self)
        elif found := _TOTAL.search(line):
            self.bytes_written = int(float(found["after"]) * _MIB)
        elif found := _SUBSTITUTED.search(line):
            self.substituted = int(found["count"])


def main(job: Job) -> None:
    """Do the job and say how it went."""
    target = Path(job.target)
    threading.Thread(target=_end_with_parent, args=(target,), daemon=True).start()
    native_log.install("info")
    logging.getLogger("llama.cpp").propagate = False
    try:
        _say(_work(job))
    except _Refused as error:
        _say(Failed(str(error)))
    except BrokenPipeError:  # seen here before the thread has seen it
        _abandon(target)


def _work(job: Job) -> Done:
    try:
        Path(job.target).open("xb").close()
    except OSError as error:
        raise _Refused(f"nothing can be written to {Path(job.target).parent}: {error.strerror}") from None
    llama_cpp.llama_backend_init()
    total = _check_space(job)
    _say(total)
    return Done(_quantise(job, lambda now: _say(msgspec.structs.replace(total, **_counts(now)))).substituted)


def _end_with_parent(unfinished: Path) -> None:
    while os.read(0, 64):
        pass
    _abandon(unfinished)


def _abandon(unfinished: Path) -> NoReturn:
    """End this process, and what it has written: nobody waits for it any more."""
    unfinished.unlink(missing_ok=True)
    os._exit(1)


def _check_space(job: Job) -> Progress:
    """Let llama.cpp add up what it would write, and compare that with the room there is; returns the work to do."""
    planned = _quantise(job, lambda _: None, dry_run=True)
    needed = planned.bytes_written + job.header_bytes + _MIB
    if needed > job.free_bytes:
        raise _Refused(
            f"the result takes {readable(needed)}, and only {readable(job.free_bytes)} are free in"
            f" {Path(job.target).parent}: make room there, or choose another place"
        )
    return Progress(0, planned.tensors, 0, planned.bytes_done)


def _quantise(job: Job, tensor_done: Callable[[Watcher], None], *, dry_run: bool = False) -> Watcher:
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = FILE_TYPES[job.kind]
    params.nthread = job.threads
    params.allow_requantize = job.allow_requantize
    params.dry_run = dry_run
    watcher = Watcher(tensor_done)
    log = logging.getLogger("llama.cpp")
    log.addHandler(watcher)
    with native_log.collect_errors() as errors:
        failed = llama_cpp.llama_model_quantize(os.fsencode(job.source), os.fsencode(job.target), params)
    log.removeHandler(watcher)
    if failed:
        raise _Refused(_reason(job, native_log.reason(errors)))
    return watcher


def _reason(job: Job, reason: str) -> str:
    if "iostream" in reason:  # all that the C++ library says of a write that did not succeed
        reason = f"writing to {Path(job.target).parent} failed; is the disk full, or the size of files limited?"
    return f"llama.cpp cannot quantise {Path(job.source).name}: {reason}"


def _counts(now: Watcher) -> dict[str, int]:
    return {"tensors_done": now.tensors_done, "bytes_done": now.bytes_done}


def _say(word: Progress | Done | Failed) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(word) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(msgspec.json.decode(sys.argv[1], type=Job))
