"""LoRA adapters: the same GGUF files, the same answers, on either engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.backends.llama_cpp.lora_files import LAYERS, pair, strong_adapter, write_adapter
from tests.serving import Server, serving
from tests.vllm.asking import CHAT, ask, user
from tests.vllm.conftest import LOADING_S

QUESTIONS = ("Hello!", "What is the capital of France?", "Who are you?")


def every_matrix(folder: Path) -> Path:
    """Changes all that a layer multiplies with; of the bundled model's shapes."""
    shapes = {"attn_q": (256, 256), "attn_k": (128, 256), "attn_v": (128, 256), "attn_output": (256, 256),
              "ffn_gate": (512, 256), "ffn_up": (512, 256), "ffn_down": (256, 512)}  # fmt: skip
    pairs = {
        f"blk.{layer}.{matrix}.weight": pair(7 * layer + number, *shape, strength=0.05)
        for layer in range(LAYERS)
        for number, (matrix, shape) in enumerate(shapes.items())
    }
    return write_adapter(folder / "every.gguf", pairs)


@pytest.fixture(scope="module")
def servers(variables: dict[str, Any], folder: Path) -> Iterator[list[Server]]:
    adapters = {"strong": strong_adapter(folder), "other": strong_adapter(folder, 1), "every": every_matrix(folder)}
    given = variables | {"JARVIS_LORA_ADAPTERS": ",".join(f"{name}={path}" for name, path in adapters.items())}
    with (
        serving(JARVIS_INFERENCE_ENGINE="llama_cpp", **given) as llama_cpp,
        serving(JARVIS_INFERENCE_ENGINE="vllm", patience_s=LOADING_S, **given) as vllm,
    ):
        yield [llama_cpp, vllm]


@pytest.mark.parametrize("adapter", ["strong", "other", "every"])
@pytest.mark.parametrize("question", QUESTIONS)
def test_answers_with_an_adapter_are_the_same(servers: list[Server], adapter: str, question: str) -> None:
    body = {"messages": user(question), "temperature": 0, "max_tokens": 32, "ignore_eos": True}
    expected, found = (ask(server, CHAT, body | {"model": f"parity:{adapter}"}) for server in servers)
    assert found == expected
    assert found.body["choices"] != ask(servers[1], CHAT, body).body["choices"], "the adapter changes something"


def test_the_same_adapters_are_listed_and_others_refused_alike(servers: list[Server]) -> None:
    ids = [[model["id"] for model in httpx.get(f"{server.url}/v1/models").json()["data"]] for server in servers]
    assert ids[0] == ids[1] == ["parity", "parity:strong", "parity:other", "parity:every", "jarvis-static"]
    refused = [ask(server, CHAT, {"messages": user("Hi"), "model": "parity:none"}) for server in servers]
    assert refused[0] == refused[1] and refused[0].status == 404
