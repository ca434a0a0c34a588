"""Models that are no GGUF files: a Hugging Face folder, and a name on a hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from tests.serving import Server, serving
from tests.vllm.asking import CHAT, ask, user
from tests.vllm.conftest import LOADING_S
from tests.vllm.hub import NAME, TOKEN, hub

QUESTION = {"messages": user("What is the capital of France?"), "temperature": 0}


def converted(variables: dict[str, Any]) -> Path:
    """The folder that the GGUF file has become."""
    (folder,) = Path(variables["JARVIS_CACHE_DIR"], "vllm", "models").glob("*-float32")
    return folder


def test_a_folder_is_served_as_it_is(vllm: Server, variables: dict[str, Any]) -> None:
    given = variables | {"JARVIS_MODEL_NAME": str(converted(variables)), "JARVIS_VLLM_DTYPE": "float32"}
    with serving(JARVIS_INFERENCE_ENGINE="vllm", patience_s=LOADING_S, **given) as server:
        assert ask(server, CHAT, QUESTION) == ask(vllm, CHAT, QUESTION)


def test_a_name_is_downloaded_with_the_users_token_and_then_served_without_a_network(
    vllm: Server, variables: dict[str, Any], tmp_path: Path
) -> None:
    given = variables | {
        "JARVIS_MODEL_NAME": NAME,
        "JARVIS_VLLM_DTYPE": "float32",
        "HF_HOME": str(tmp_path),
        "HF_HUB_DISABLE_XET": "1",
    }
    with hub(converted(variables)) as address:
        online = given | {"HF_ENDPOINT": address}
        with serving(JARVIS_INFERENCE_ENGINE="vllm", ready=False, **online) as server:
            refused = httpx.post(server.url + CHAT, json=QUESTION, timeout=LOADING_S)
            assert refused.status_code == 503
            assert "HF_TOKEN" in refused.json()["error"]["message"]
        with serving(JARVIS_INFERENCE_ENGINE="vllm", patience_s=LOADING_S, HF_TOKEN=TOKEN, **online) as server:
            assert ask(server, CHAT, QUESTION) == ask(vllm, CHAT, QUESTION)
            assert TOKEN not in server.log.read_text()
    with serving(JARVIS_INFERENCE_ENGINE="vllm", patience_s=LOADING_S, HF_HUB_OFFLINE="1", **given) as server:
        assert ask(server, CHAT, QUESTION) == ask(vllm, CHAT, QUESTION)
