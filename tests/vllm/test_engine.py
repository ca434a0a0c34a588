"""What vLLM does behind our contract beyond giving the same answers: batching, caching, aborting, seeds, conversion."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx

from tests.serving import PATIENCE_S, Server
from tests.test_bundled_model import Stream
from tests.vllm.asking import CHAT, COMPLETIONS, ask, user
from tests.vllm.processes import computed_s, descendants

BLOCK = 128
"""Tokens that vLLM's prefix cache keeps or drops together on a CPU."""


def stats(server: Server) -> dict[str, Any]:
    expert, _static = httpx.get(f"{server.url}/stats").json()["experts"]
    return dict(expert["stats"])


def cached(server: Server, body: dict[str, Any]) -> int:
    answer = httpx.post(server.url + COMPLETIONS, json=body, timeout=PATIENCE_S).json()
    return int(answer["usage"]["prompt_tokens_details"]["cached_tokens"])


def test_a_seed_repeats_an_answer_and_other_seeds_give_others(vllm: Server) -> None:
    def texts(**fields: Any) -> list[str]:
        body = {"messages": user("Tell me something."), "temperature": 1.5, "max_tokens": 24, **fields}
        return [choice["message"]["content"] for choice in ask(vllm, CHAT, body).body["choices"]]

    assert texts(seed=7) == texts(seed=7)
    assert len({texts(seed=seed)[0] for seed in range(6)}) > 1
    assert len(set(texts(seed=7, n=6))) > 1
    assert len({texts()[0] for _ in range(6)}) > 1


def test_what_vllm_lacks_is_refused_by_name(vllm: Server, llama_cpp: Server) -> None:
    body = {"messages": user("Hi"), "typical_p": 0.5, "max_tokens": 1}
    refused = ask(vllm, CHAT, body)
    assert (refused.status, refused.body["error"]["param"]) == (400, "typical_p")
    assert ask(llama_cpp, CHAT, body).status == 200
    assert ask(vllm, CHAT, body | {"typical_p": 1.0}).status == 200


def test_whole_blocks_of_a_prefilled_prompt_are_cached_for_the_same_salt_only(vllm: Server) -> None:
    prompt = [3 + number % 2000 for number in range(2 * BLOCK + 40)]
    body = {"prompt": prompt, "max_tokens": 4, "temperature": 0}
    assert cached(vllm, body | {"max_tokens": 0}) == 0
    assert cached(vllm, body) == 2 * BLOCK
    assert cached(vllm, body | {"cache_salt": "other"}) == 0
    assert cached(vllm, body | {"echo": True, "logprobs": 1}) == 0, "every logit of the prompt is wanted"


def test_a_prompt_that_fills_the_window_can_be_prefilled(vllm: Server) -> None:
    prompt = [3 + number % 2000 for number in range(2048)]
    assert ask(vllm, COMPLETIONS, {"prompt": prompt, "max_tokens": 0}).status == 200
    assert (
        ask(vllm, COMPLETIONS, {"prompt": prompt, "max_tokens": 1}).body["error"]["code"] == "context_length_exceeded"
    )


async def until(server: Server, **gauges: int) -> dict[str, Any]:
    """Ask for the engine's gauges until they are as wanted; the test fails if they never are."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = await asyncio.to_thread(stats, server)
            if all(found[name] == value for name, value in gauges.items()):
                return found


async def read(stream: Stream) -> None:
    """Read a stream to its end."""
    await stream.begin()
    await stream.rest()


async def test_eight_streams_run_at_once_and_end_when_their_clients_leave(vllm: Server) -> None:
    streams = [Stream(vllm, f"Hello, I am number {number}!") for number in range(8)]
    reading = [asyncio.create_task(read(stream)) for stream in streams]  # who does not read is cut off after a while
    await until(vllm, running=8, waiting=0)
    for task in reading:
        task.cancel()
    await asyncio.gather(*reading, return_exceptions=True)
    for stream in streams:
        await stream.leave()
    settled = await until(vllm, running=0, waiting=0, kv_cells_reserved=0)
    assert settled["tokens_generated"] < 8 * 1900, "they were aborted"
    await asyncio.sleep(0.5)
    assert stats(vllm)["tokens_generated"] == settled["tokens_generated"], "nothing is generated for nobody"


def test_nothing_computes_between_two_requests(vllm: Server) -> None:
    """vLLM's own processes look for the next message without a pause, which can keep all others from running."""
    processes = descendants(vllm.pid)
    ask(vllm, CHAT, {"messages": user("Hi"), "max_tokens": 8})
    before, began = computed_s(processes), time.monotonic()
    time.sleep(0.5)
    assert computed_s(processes) - before < 0.5 * (time.monotonic() - began)


async def test_eight_answers_at_once_equal_each_alone(vllm: Server) -> None:
    bodies = [{"messages": user(f"What is {n} + {n}?"), "temperature": 0, "max_tokens": 24} for n in range(8)]
    alone = [ask(vllm, CHAT, body) for body in bodies]
    together = await asyncio.gather(*(asyncio.to_thread(ask, vllm, CHAT, body) for body in bodies))
    assert list(together) == alone


def test_the_gguf_file_was_converted_once_into_the_cache(vllm: Server, variables: dict[str, Any]) -> None:
    assert stats(vllm)["settings"]["dtype"] == "float32"
    (folder,) = Path(variables["JARVIS_CACHE_DIR"], "vllm", "models").glob("*-float32")
    assert {"config.json", "tokenizer.json", "model.safetensors", "generation_config.json", "chat_template.jinja"} <= {
        file.name for file in folder.iterdir()
    }
    assert [path.name for path in folder.parent.iterdir() if path.name.startswith(".converting")] == []
