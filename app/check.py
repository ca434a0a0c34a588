"""What can be known to be wrong before anything is loaded: the files that the settings name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import kernels
from app.embedding.file import read as read_embedder
from app.experts.catalog import Catalog
from app.hashed_file import DamagedFileError
from app.routers import own_routes
from app.routing.weights_file import DamagedWeightsError, read
from app.settings import Settings, SettingsError
from backends.base import ModelUnavailableError
from backends.chat_formats.custom import load_layout
from backends.gguf_header import check_gguf
from backends.lora_file import check_adapter
from backends.vllm.devices import Devices, device_problems
from backends.vllm.folder import ModelFolder, adapter_rank


def select_kernels(settings: Settings) -> None:
    """Choose the level of the kernels, for the whole process.

    Raises:
        SettingsError: this machine does not have it.
    """
    try:
        kernels.select(settings.kernels.level)
    except kernels.UnavailableLevelError as error:
        raise SettingsError([f"JARVIS_KERNELS='{settings.kernels.level}': {error}"]) from None


def check_router() -> None:
    """See that the router's weights are as they were written.

    Raises:
        SettingsError: they are not.
    """
    try:
        read()
    except DamagedWeightsError as error:
        raise SettingsError([f"The router's weights: {error}"]) from None


def check_routes(settings: Settings) -> None:
    """See that the user's routes can be used.

    Raises:
        SettingsError: they cannot.
    """
    own_routes(settings, Catalog.from_settings(settings))


def check_embedder(settings: Settings) -> None:
    """See that the embedding that ships is as it was written, where it serves.

    Raises:
        SettingsError: it is not.
    """
    if settings.embedding.name is None:
        try:
            read_embedder()
        except DamagedFileError as error:
            raise SettingsError([f"The static embedding: {error}"]) from None


def problems(settings: Settings) -> Iterator[str]:
    """One line per file that is missing or is not what it should be, and per setting that the machine cannot follow."""
    of_settings = (partial(one, settings) for one in (select_kernels, check_embedder, check_routes))
    checks: tuple[Callable[[], None], ...] = (check_router, *of_settings)
    for check in checks:
        try:
            check()
        except SettingsError as error:
            yield from error.problems
    yield from _problems_of_files(settings)


def _problems_of_files(settings: Settings) -> Iterator[str]:
    model = settings.model
    if model.engine != "stub":
        yield from _model_problems(settings)
    if settings.embedding.name is not None and model.engine != "stub":
        try:
            check_gguf(settings.embedding.name)
        except ModelUnavailableError as error:
            yield f"JARVIS_EMBEDDING_MODEL: {error}"
    if model.chat_format_file:
        try:
            load_layout(model.chat_format_file)
        except ModelUnavailableError as error:
            yield f"JARVIS_CHAT_FORMAT_FILE: {error}"


def _model_problems(settings: Settings) -> Iterator[str]:
    """Of the model that writes, and of its adapters."""
    model = settings.model
    if model.engine == "vllm":
        yield from device_problems(settings.engine_config().vllm, Devices.found())
    header = None
    try:
        if model.engine == "llama_cpp" or model.name.endswith(".gguf"):
            header = check_gguf(model.name)
        elif Path(model.name).is_dir():
            ModelFolder(Path(model.name)).check()
    except ModelUnavailableError as error:
        yield f"JARVIS_MODEL_NAME: {error}"
    for name, path in model.adapters.items():
        try:
            if model.engine == "llama_cpp" or path.endswith(".gguf"):
                check_adapter(path, header)
            else:
                adapter_rank(path)
        except ModelUnavailableError as error:
            yield f"JARVIS_LORA_ADAPTERS: {name}: {error}"
