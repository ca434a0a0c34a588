"""Where a model comes from: a folder, a GGUF file that becomes one, or a name on the Hugging Face hub."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from backends.base import ModelUnavailableError
from backends.gguf_header import check_gguf
from backends.types import EngineConfig
from backends.vllm.folder import ModelFolder
from backends.vllm.gguf_folder import CONVERTING_SHARE, converted_dtype, converted_folder

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "*.py", "*.tiktoken")

log = logging.getLogger(__name__)


class Source(NamedTuple):
    """A folder that vLLM can load, and the number format to compute in (`auto`: the folder's own)."""

    folder: ModelFolder
    dtype: str


async def served_folder(config: EngineConfig, report: Callable[[float], None]) -> Source:
    """The folder for `config.model`: as it is, converted, or downloaded.

    Raises:
        ModelUnavailableError: there is no such model, or it cannot be had.
    """
    path, dtype = Path(config.model), str(config.vllm.dtype)
    if path.is_dir():
        folder = ModelFolder(path)
    elif path.suffix == ".gguf" or path.exists():
        dtype = converted_dtype(check_gguf(config.model), dtype)
        found = await converted_folder(
            config.model, config.cache_dir, dtype, lambda fraction: report(CONVERTING_SHARE * fraction)
        )
        folder = ModelFolder(found)
    elif _HUB_NAME.fullmatch(config.model):
        folder = ModelFolder(await asyncio.to_thread(_download, config.model))
    else:
        raise ModelUnavailableError(f"{path} does not exist")
    folder.check()
    return Source(folder, dtype)


def _download(name: str) -> Path:
    """Fetch a model from the hub into its own cache, or find it there; bars show how far it is."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    log.info("looking for %s on the Hugging Face hub", name)
    try:
        return Path(snapshot_download(name, allow_patterns=list(_FILES)))
    except OfflineModeIsEnabled:
        reason = "offline mode is on (HF_HUB_OFFLINE), and it is not in the cache"
    except LocalEntryNotFoundError:
        reason = "it is not in the cache, and the hub cannot be reached (HF_ENDPOINT says where it is)"
    except HfHubHTTPError as error:
        reason = f"the hub refuses it ({error}); a gated or private model needs HF_TOKEN"
    except (OSError, ValueError) as error:
        reason = str(error)
    raise ModelUnavailableError(
        f"there is no file or folder '{name}', and it cannot be downloaded as a model of the Hugging Face hub: {reason}"
    )
