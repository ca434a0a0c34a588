"""Quantised copies of models in full precision, made when a model is loaded for the first time and kept after that."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from backends.base import ModelUnavailableError
from backends.byte_sizes import readable
from backends.llama_cpp.model_file import ModelFile
from backends.llama_cpp.quantising import UNFINISHED, Progress, Quantisation, QuantisationError, Quantised, quantise
from backends.types import EngineConfig

Report = Callable[[float], None]

QUANTISING_SHARE = 0.9
"""The part of a load's progress that is the making of the copy, where one has to be made."""

_LOG_EVERY_S = 5.0
_LONGEST_NAME = 80

log = logging.getLogger(__name__)


def quantised_model(config: EngineConfig, report: Report) -> tuple[str, Report]:
    """The file to load for `config.model`, and where the rest of the load reports its fractions to.

    That is the model itself, unless `config.llama.quantization` asks for something smaller and its weights are in full
    precision; then it is a copy below `config.cache_dir`, made now if there is none, and once for all processes.

    Raises:
        ModelUnavailableError: the model is damaged, or cannot be quantised; the message says why.
    """
    kind = config.llama.quantization
    if kind is None or config.task != "generate":
        return config.model, report
    source = ModelFile.read(Path(config.model))
    if source.quantised or source.kind == kind:
        if source.kind != kind:
            log.warning("%s is %s already; JARVIS_QUANTIZATION=%s is not applied to it", source.name, source.kind, kind)
        return config.model, report
    copy = _place(config, source)
    try:
        made = not _complete(copy) and _make_once(config, source, copy, report)
    except OSError as error:
        message = f"JARVIS_CACHE_DIR={config.cache_dir} cannot hold the copy that JARVIS_QUANTIZATION asks for: {error}"
        raise ModelUnavailableError(message) from None
    if made:
        return str(copy), lambda fraction: report(QUANTISING_SHARE + (1 - QUANTISING_SHARE) * fraction)
    log.info("using the %s copy of %s: %s", kind, source.name, copy)
    return str(copy), report


def _place(config: EngineConfig, source: ModelFile) -> Path:
    """Where the copy belongs: a folder for the path of the model, a file name that changes with what is there."""
    path = hashlib.sha256(str(source.parts[0].absolute()).encode()).hexdigest()[:12]
    folder = Path(config.cache_dir, "quantized", f"{source.name[:_LONGEST_NAME]}-{path}")
    return folder / f"{config.llama.quantization}-{source.fingerprint()}.gguf"


def _complete(copy: Path) -> bool:
    if not copy.is_file():
        return False
    try:
        ModelFile.read(copy)
    except ModelUnavailableError as error:
        log.warning("the copy will be made again: %s", error.message)
        return False
    return True


def _make_once(config: EngineConfig, source: ModelFile, copy: Path, report: Report) -> bool:
    """Make the copy unless another process has; returns whether it was made here."""
    with _alone(copy.parent.parent):
        if _complete(copy):
            return False
        _make(config, source, copy, lambda fraction: report(QUANTISING_SHARE * fraction))
        return True


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[None]:
    """One process at a time quantises: each of them uses all cores, and what lies there unfinished is nobody's."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("waiting for another process that is quantising")
            fcntl.flock(file, fcntl.LOCK_EX)
        for unfinished in root.glob(f"*/{UNFINISHED}"):
            unfinished.unlink(missing_ok=True)
        yield


def _make(config: EngineConfig, source: ModelFile, copy: Path, report: Report) -> None:
    kind = str(config.llama.quantization)
    log.info("quantising %s (%s, %s) to %s, once", source.name, source.kind, readable(source.size_bytes), kind)
    copy.parent.mkdir(exist_ok=True)
    wanted = Quantisation(source=source.parts[0], target=copy, kind=kind, threads=config.llama.n_threads, force=True)
    try:
        done = quantise(wanted, _Reporter(report))
    except QuantisationError as error:
        raise ModelUnavailableError(f"JARVIS_QUANTIZATION={kind}: {error}") from None
    _log_result(done, config.context_window)
    for outdated in set(copy.parent.glob(f"{kind}-*.gguf")) - {copy}:
        outdated.unlink(missing_ok=True)


class _Reporter:
    """Passes progress on to the load, and to the log every few seconds."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._next_line = time.monotonic() + _LOG_EVERY_S

    def __call__(self, progress: Progress) -> None:
        self._report(progress.fraction)
        if time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _LOG_EVERY_S
            done = 100 * progress.fraction
            log.info("quantising: %.0f %%, %d of %d tensors", done, progress.tensors_done, progress.tensors)


def _log_result(done: Quantised, window: int | None) -> None:
    log.info(
        "quantised in %.1f s: file %s -> %s, memory for weights and one context %s -> %s",
        done.seconds,
        readable(done.before.size_bytes),
        readable(done.after.size_bytes),
        *(readable(model.memory_bytes(window)) for model in (done.before, done.after)),
    )
