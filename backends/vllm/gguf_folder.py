"""GGUF files as Hugging Face folders: converted when a file is first served, and kept under the hash of its content."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import logging
import math
import re
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path

import msgspec

from backends.base import ModelUnavailableError
from backends.byte_sizes import readable
from backends.gguf_header import GGUFHeader, check_gguf
from backends.machine import available_memory
from backends.vllm.converting import ConversionJob, ConversionResult

CONVERTING_SHARE = 0.8
"""The part of a load's progress that is the conversion, where one has to be made."""

NUMBER_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
SMALL_BYTES = 1_000_000_000
"""A model whose weights take no more than this in float32 gets that format when nothing else is asked for.

A larger one is bound by reading its weights, which takes twice as long in float32 as in bfloat16."""

_ROOT = Path(__file__).resolve().parents[2]
_UNFINISHED = ".converting-"
_PHASES = (("de-quantizing", 0.0, 0.5), ("Loading weights", 0.5, 0.2), ("Writing", 0.7, 0.3))
"""Words of the progress bars, where each begins and how much of the whole it is."""
_BAR = re.compile(r"([\w .-]+):\s*(\d+)%\|")
_LOG_EVERY_S = 5.0
_KEPT_BYTES = 4000
_BAR_WIDTH = 20
_ROOM_BESIDE = 50_000_000  # tokeniser and small files

log = logging.getLogger(__name__)

Report = Callable[[float], None]


def converted_dtype(header: GGUFHeader, wanted: str) -> str:
    """The number format that the weights get: what is wanted, else float32 for small models and bfloat16 for others."""
    if wanted != "auto":
        return wanted
    return "float32" if 4 * _weights(header) <= SMALL_BYTES else "bfloat16"


async def converted_folder(path: str, cache_dir: str, dtype: str, report: Report) -> Path:
    """The folder of a GGUF file below `cache_dir`, with weights in `dtype`; made now if there is none.

    `report` hears fractions of the conversion. Cancelling ends it and leaves nothing behind.

    Raises:
        ModelUnavailableError: the file is damaged, cannot be converted, or disk or memory do not suffice.
    """
    source, header = Path(path), check_gguf(path)
    if header.metadata.get("split.count", 1) != 1:
        raise ModelUnavailableError(f"{path} is one of several parts: join them with llama.cpp's llama-gguf-split")
    root = Path(cache_dir, "vllm", "models")
    folder = root / f"{source.name.removesuffix('.gguf')[:80]}-{await asyncio.to_thread(_content, source)}-{dtype}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        async with _alone(root):
            if not folder.is_dir():
                await _convert(source, header, folder, dtype, report)
    except OSError as error:
        raise ModelUnavailableError(f"JARVIS_CACHE_DIR={cache_dir} cannot hold the converted model: {error}") from None
    log.info("%s is served from %s", source.name, folder)
    return folder


def room_needed(header: GGUFHeader, dtype: str) -> int:
    """Bytes of disk, and about as many of memory, that a conversion takes."""
    return _weights(header) * NUMBER_BYTES[dtype] + _ROOM_BESIDE


def check_room(needed: int, *, disk: int, memory: int | None, where: Path) -> None:
    """Refuse a conversion that would fill the disk or the memory.

    Raises:
        ModelUnavailableError: with what is needed and what there is.
    """
    for kind, free in ((f"of disk in {where}", disk), ("of memory", memory)):
        if free is not None and free < needed:
            raise ModelUnavailableError(
                f"vLLM needs the model with its weights unpacked, which takes {readable(needed)} {kind}, and only"
                f" {readable(free)} are free: make room, set JARVIS_VLLM_DTYPE=bfloat16 if it is float32 now, or serve"
                " the file with JARVIS_INFERENCE_ENGINE=llama_cpp"
            )


async def _convert(source: Path, header: GGUFHeader, folder: Path, dtype: str, report: Report) -> None:
    needed, disk, memory = room_needed(header, dtype), shutil.disk_usage(folder.parent).free, available_memory()
    log.info(
        "converting %s (%s) for vLLM, once: %s in %s; %s of disk and %s of memory are free",
        source.name,
        readable(source.stat().st_size),
        readable(needed),
        dtype,
        readable(disk),
        readable(memory) if memory is not None else "an unknown amount",
    )
    check_room(needed, disk=disk, memory=memory, where=folder.parent)
    began = time.monotonic()
    unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=folder.parent))
    try:
        result = await _in_child(ConversionJob(str(source.absolute()), str(unfinished), dtype), report)
        if result.reason:
            raise ModelUnavailableError(f"{source} cannot be converted for vLLM: {result.reason}")
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    if result.warning:
        log.warning("%s: %s", source.name, result.warning)
    log.info("converted in %.1f s", time.monotonic() - began)


async def _in_child(job: ConversionJob, report: Report) -> ConversionResult:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "backends.vllm.converting", msgspec.json.encode(job).decode()),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=_ROOT,
    )
    assert child.stdout is not None and child.stderr is not None
    try:
        output, words = await asyncio.gather(child.stdout.read(), _watch(child.stderr, report))
        status = await child.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
    if status == 0:
        return msgspec.json.decode(output.splitlines()[-1], type=ConversionResult)
    if status == -9:
        return ConversionResult("the conversion was killed, most likely because memory ran out")
    return ConversionResult(f"the conversion ended with status {status}: {words}")


async def _watch(bars: asyncio.StreamReader, report: Report) -> str:
    """Make progress of the bars until they end; returns the last line that was none."""
    kept, words, next_line = "", "it said nothing", time.monotonic() + _LOG_EVERY_S
    while data := await bars.read(_KEPT_BYTES):
        *lines, kept = re.split(r"[\r\n]+", kept + data.decode(errors="replace"))
        for line in lines:
            if (fraction := bar_fraction(line)) is not None:
                report(fraction)
                if time.monotonic() >= next_line:
                    next_line = time.monotonic() + _LOG_EVERY_S
                    log.info("converting: %s", progress_bar(fraction))
            elif line.strip() and "%|" not in line:
                words = line.strip()
        kept = kept[-_KEPT_BYTES:]
    return words


def bar_fraction(line: str) -> float | None:
    """How far the whole conversion is, from a progress bar of one of its phases; `None` for any other line."""
    found = _BAR.search(line)
    if found is None:
        return None
    for word, begin, share in _PHASES:
        if word in found[1]:
            return begin + share * int(found[2]) / 100
    return None


def progress_bar(fraction: float) -> str:
    """`[##########----------] 50 %`."""
    done = round(fraction * _BAR_WIDTH)
    return f"[{'#' * done}{'-' * (_BAR_WIDTH - done)}] {100 * fraction:.0f} %"


@contextlib.asynccontextmanager
async def _alone(root: Path) -> AsyncGenerator[None]:
    """One process at a time converts: each takes much memory, and what lies there unfinished is nobody's."""
    with (root / ".lock").open("w") as file:
        while not _locked(file.fileno()):
            log.info("waiting for another process that is converting a model")
            await asyncio.sleep(1.0)
        for unfinished in root.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        yield


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _content(path: Path) -> str:
    """16 hexadecimal digits that say what is in the file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _weights(header: GGUFHeader) -> int:
    return sum(_lengths(header))


def _lengths(header: GGUFHeader) -> Iterator[int]:
    for tensor in header.layout.values():
        yield math.prod(tensor.shape)
