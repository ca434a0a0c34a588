"""What goes wrong with vLLM is explained, costs the running requests at most, and leaves no process behind."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.backends.llama_cpp.lora_files import pair, write_adapter
from tests.backends.vllm.folders import write_folder
from tests.serving import serving
from tests.test_bundled_model import Stream
from tests.vllm.asking import CHAT, user
from tests.vllm.conftest import LOADING_S
from tests.vllm.processes import alive, descendants, end_of, kill, named

SIGTERM_S = 10.0
"""A server that is told to end while vLLM loads has ended after so long."""


def answer(url: str) -> str:
    """What the model says of France, however long it takes to come back."""
    body = {"messages": user("What is the capital of France?"), "temperature": 0}
    reply = httpx.post(url + CHAT, json=body, timeout=LOADING_S)
    assert reply.status_code == 200, reply.text
    return str(reply.json()["choices"][0]["message"]["content"])


async def test_a_killed_process_of_vllm_is_error_events_and_a_fresh_start(variables: dict[str, Any]) -> None:
    with serving(JARVIS_INFERENCE_ENGINE="vllm", patience_s=LOADING_S, **variables) as server:
        started = descendants(server.pid)
        for victim in ("VLLM::EngineCore", "VLLM::Worker"):
            doomed = descendants(server.pid)
            streams = [Stream(server, f"Hello, I am number {number}!") for number in range(8)]
            await asyncio.gather(*(stream.begin() for stream in streams))
            kill(named(server.pid, victim))
            for stream in streams:
                events = await stream.rest()
                assert json.loads(events[-1])["error"]["code"] == "engine_crashed"
                assert "[DONE]" not in events
            assert not end_of(doomed), "processes of the old engine"
            assert "Paris" in await asyncio.to_thread(answer, server.url)
        model, _static = httpx.get(f"{server.url}/stats").json()["experts"]
        assert (model["requests"], model["stats"]["running"], model["stats"]["waiting"]) == (0, 0, 0)
        started |= descendants(server.pid)
        assert server.stop() == 0
    assert not end_of(started)


def test_an_engine_that_dies_while_nobody_asks_is_started_again(variables: dict[str, Any]) -> None:
    with serving(JARVIS_INFERENCE_ENGINE="vllm", patience_s=LOADING_S, **variables) as server:
        first = named(server.pid, "VLLM::EngineCore")
        kill(first)
        assert not end_of({first: "VLLM::EngineCore"})
        server.wait_for("/health/ready", LOADING_S)
        assert "Paris" in answer(server.url)
        everything = descendants(server.pid)
        kill(server.pid)
        assert not end_of(everything), "a killed edge leaves nothing behind"


def test_sigterm_while_vllm_loads_ends_everything(variables: dict[str, Any]) -> None:
    with serving(JARVIS_INFERENCE_ENGINE="vllm", ready=False, **variables) as server:
        named(server.pid, "VLLM::EngineCore")
        started = descendants(server.pid)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=SIGTERM_S) == 0
        assert not end_of(started)


def test_an_engine_core_that_is_killed_while_it_loads_is_started_again(variables: dict[str, Any]) -> None:
    with serving(JARVIS_INFERENCE_ENGINE="vllm", ready=False, **variables) as server:
        kill(named(server.pid, "VLLM::EngineCore"))
        server.wait_for("/health/ready", LOADING_S)
        assert "was killed while it loaded the model" in server.log.read_text()
        assert "Paris" in answer(server.url)


UNKNOWN = {"model_type": "llama", "architectures": ["NobodyKnowsForCausalLM"], "max_position_embeddings": 512}


def broken_file(folder: Path) -> dict[str, str]:
    path = folder / "broken.gguf"
    path.write_bytes(b"not a model")
    return {"JARVIS_MODEL_NAME": str(path)}


def unknown_kind(folder: Path) -> dict[str, str]:
    return {"JARVIS_MODEL_NAME": str(write_folder(folder / "unknown", UNKNOWN))}


def misfit(folder: Path) -> dict[str, str]:
    """An adapter for a matrix of another shape."""
    path = write_adapter(folder / "misfit.gguf", {"blk.0.attn_v.weight": pair(1, rows=64)})
    return {"JARVIS_LORA_ADAPTERS": f"sql={path}"}


CANNOT_BE_SERVED = {
    "an adapter that does not fit": (misfit, "the LoRA adapter 'sql' cannot be used"),
    "a file that is no GGUF": (broken_file, "instead of b'GGUF'"),
    "no such file": (lambda folder: {"JARVIS_MODEL_NAME": str(folder / "none.gguf")}, "does not exist"),
    "an architecture that vLLM does not know": (unknown_kind, "NobodyKnowsForCausalLM"),
    "a hub without a network": (
        lambda _: {"JARVIS_MODEL_NAME": "nobody/nothing", "HF_HUB_OFFLINE": "1"},
        "cannot be downloaded",
    ),
    "more memory than there is": (
        lambda _: {"JARVIS_VLLM_CPU_KVCACHE_SPACE": "60000"},
        "of memory are free: set JARVIS_VLLM_DTYPE",
    ),
    "more devices than there are": (lambda _: {"JARVIS_VLLM_TENSOR_PARALLEL_SIZE": "512"}, "need 512 devices"),
    "an interpreter without vLLM": (lambda _: {"JARVIS_VLLM_PYTHON": "/nowhere/python"}, "/nowhere/python"),
    "a cache too small for one request": (
        lambda _: {"JARVIS_VLLM_CPU_KVCACHE_SPACE": "0.01", "VLLM_LOGGING_LEVEL": "INFO"},
        "KV cache",
    ),
}


@pytest.mark.parametrize("case", CANNOT_BE_SERVED)
def test_what_cannot_be_served_is_explained_and_the_server_stays(
    variables: dict[str, Any], tmp_path: Path, case: str
) -> None:
    change, reason = CANNOT_BE_SERVED[case]
    changed = variables | change(tmp_path)
    with serving(JARVIS_INFERENCE_ENGINE="vllm", ready=False, **changed) as server:
        reply = httpx.post(server.url + CHAT, json={"messages": user("Hi")}, timeout=LOADING_S)
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "model_unavailable"), reply.text
        assert reason in reply.json()["error"]["message"]
        assert reply.headers["x-should-retry"] == "false" and "retry-after" not in reply.headers
        assert httpx.get(f"{server.url}/health/live").status_code == 200
        assert not end_of({pid: words for pid, words in descendants(server.pid).items() if "VLLM" in words})
        assert not alive({pid: words for pid, words in descendants(server.pid).items() if "worker" in words})
