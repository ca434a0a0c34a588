"""Who is measured: our server as users get it, and its peers with the flags that serve them best.

All of them get the same model, the same number of threads, slots and tokens of context for each slot.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.client import post_request
from benchmarks.peers import Peers
from benchmarks.servers import SERVE, Launch, free_port

OURS = "jarvis"
EMPTY_CACHE = "jarvis, no prefix cache"
SPECULATING = "jarvis, ngram"
VARIANTS = (EMPTY_CACHE, SPECULATING)
"""Ours with other settings: measured in rows of their own, without a column in the table."""
LLAMA_SERVER = "llama-server"
UNIFIED = "llama-server -kvu"
PACKAGE_SERVER = "llama_cpp.server"
EXAMPLE_SERVER = "example server"
WINDOW = 8192
"""Tokens of context for each slot."""


@dataclass(frozen=True)
class Setup:
    """What all contenders have in common; `folder` is for what they write while they run."""

    model: Path
    threads: int
    slots: int
    folder: Path
    peers: Peers


@dataclass(frozen=True)
class Contender:
    """A server to measure.

    `prefill` makes the request that evaluates a prompt and generates nothing. One that `interrupts` cuts a running
    answer off when another request comes; what was generated until then counts.
    """

    name: str
    launch: Callable[[Setup], Launch]
    prefill: Callable[[str], bytes] | None = None
    interrupts: bool = False


def jarvis(setup: Setup, **variables: str) -> Launch:
    """Ours. llama.cpp's log is on, because it says how large the buffers are."""
    given = {
        "JARVIS_INFERENCE_ENGINE": "llama_cpp",
        "JARVIS_MODEL_NAME": str(setup.model),
        "JARVIS_PORT": "0",
        "JARVIS_N_PARALLEL": str(setup.slots),
        "LLAMA_LOG_LEVEL": "info",
    }
    return Launch(SERVE, "/health/ready", variables=given | variables)


def jarvis_without_cache(setup: Setup) -> Launch:
    """Ours, with a prefix cache that keeps nothing that is idle."""
    return jarvis(setup, JARVIS_PREFIX_CACHE_TOKENS="0")


def jarvis_speculating(setup: Setup) -> Launch:
    """Ours, with guesses of the next tokens from the text so far."""
    return jarvis(setup, JARVIS_SPECULATIVE="ngram")


def llama_server(setup: Setup, *flags: str) -> Launch:
    """llama.cpp's own server."""
    port, threads = free_port(), str(setup.threads)
    command = [str(setup.peers.llama_cpp() / "llama-server"), "-m", str(setup.model), "--port", str(port)]
    command += ["-np", str(setup.slots), "-c", str(setup.slots * WINDOW), "-cb", "-fa", "on", "-t", threads, "--no-ui"]
    return Launch([*command, *flags], "/health", _url(port))


def unified_llama_server(setup: Setup) -> Launch:
    """The same, with one KV cache for all slots."""
    return llama_server(setup, "-kvu")


def package_server(setup: Setup) -> Launch:
    """The server that llama-cpp-python brings along: one request at a time, a new one interrupts the running one."""
    port, threads = free_port(), str(setup.threads)
    command = [str(setup.peers.python()), "-m", "llama_cpp.server", "--model", str(setup.model), "--port", str(port)]
    command += ["--n_ctx", str(WINDOW), "--n_threads", threads, "--n_threads_batch", threads, "--logits_all", "false"]
    command += ["--flash_attn", "true", "--use_mlock", "false", "--verbose", "false", "--host", "127.0.0.1"]
    return Launch(command, "/v1/models", _url(port))


def example_server(setup: Setup) -> Launch:
    """The batching server among that package's examples."""
    port = free_port()
    model = {
        "alias": "default",
        "path": str(setup.model),
        "n_ctx": setup.slots * WINDOW,
        "n_seq_max": setup.slots,
        "n_batch": 512,
        "n_ubatch": 512,
        "threads": setup.threads,
        "threads_batch": setup.threads,
        "kv_unified": True,
        "flash_attn": True,
    }
    config = setup.folder / "example-server.json"
    config.write_text(json.dumps({"server": {"host": "127.0.0.1", "port": port}, "model": model}))
    command = [str(setup.peers.python()), str(setup.peers.example_server()), "-C", str(config)]
    # It imports multimodal code that our lean wheel leaves out, and does not use it for text.
    return Launch(command, "/healthz", _url(port), {"MTMD_CPP_LIB": str(setup.peers.llama_cpp())})


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _prefill(prompt: str) -> bytes:
    return post_request("/v1/completions", {"model": "default", "prompt": prompt, "max_tokens": 0})


def _llama_server_prefill(prompt: str) -> bytes:
    fields: dict[str, Any] = {"prompt": prompt, "n_predict": 0, "cache_prompt": True}
    return post_request("/completion", fields)


CONTENDERS: Mapping[str, Contender] = {
    contender.name: contender
    for contender in (
        Contender(OURS, jarvis, _prefill),
        Contender(EMPTY_CACHE, jarvis_without_cache, _prefill),
        Contender(SPECULATING, jarvis_speculating, _prefill),
        Contender(LLAMA_SERVER, llama_server, _llama_server_prefill),
        Contender(UNIFIED, unified_llama_server, _llama_server_prefill),
        Contender(PACKAGE_SERVER, package_server, interrupts=True),
        Contender(EXAMPLE_SERVER, example_server),
    )
}
CHOICES: Mapping[str, tuple[str, ...]] = {
    "llama-server": (LLAMA_SERVER, UNIFIED),
    "llama_cpp.server": (PACKAGE_SERVER,),
    "example": (EXAMPLE_SERVER,),
}
"""What `--servers` may name, with the contenders that it stands for; ours always takes part."""
