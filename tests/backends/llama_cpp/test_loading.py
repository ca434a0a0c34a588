"""A model that cannot be served says which file it is and what is wrong with it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import gguf
import numpy as np
import pytest

import kernels
from backends.base import EngineClosedError, ModelUnavailableError
from backends.llama_cpp.engine import LlamaCppEngine
from backends.types import Accepted, GenerationRequest
from tests.backends.llama_cpp.conftest import BUNDLED_MODEL, complete, config, greedy


async def test_the_kernels_run_at_the_level_that_the_engine_is_told() -> None:
    engine = LlamaCppEngine(config(kernels="numpy"))
    await engine.start(lambda _: None)
    await engine.close()
    assert kernels.active()["logsumexp_topk"] == {"level": "numpy", "reason": "it was asked for"}
    kernels.select()


async def refusal(path: Path, **changes: object) -> str:
    engine = LlamaCppEngine(config(path, **changes))
    with pytest.raises(ModelUnavailableError) as caught:
        await engine.start(lambda _: None)
    await engine.close()
    return caught.value.message


def write_bert(path: Path) -> None:
    """The smallest BERT that llama.cpp loads: one layer, 32 wide, all weights zero."""
    width, tokens = 32, ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcd"]
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_context_length(64)
    writer.add_embedding_length(width)
    writer.add_block_count(1)
    writer.add_feed_forward_length(width)
    writer.add_head_count(1)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_tokenizer_model("bert")
    writer.add_token_type_count(2)
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL] * 4 + [gguf.TokenType.NORMAL] * 4)
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (len(tokens), width), "token_types.weight": (2, width)}
    shapes["position_embd.weight"] = (64, width)
    for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_up", "ffn_down"):
        shapes |= {f"blk.0.{name}.weight": (width, width), f"blk.0.{name}.bias": (width,)}
    for name in ("token_embd_norm", "blk.0.attn_output_norm", "blk.0.layer_output_norm"):
        shapes |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    for name, shape in shapes.items():
        writer.add_tensor(name, np.zeros(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


async def test_a_missing_file(tmp_path: Path) -> None:
    assert await refusal(tmp_path / "none.gguf") == f"{tmp_path / 'none.gguf'} does not exist"


async def test_a_truncated_file(tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(BUNDLED_MODEL.read_bytes()[:-100_000])
    assert "cut short" in await refusal(path)


async def test_an_unknown_architecture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "strange.gguf"
    writer = gguf.GGUFWriter(path, "nonesuch")
    writer.add_tensor("weights", np.ones((4, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    message = await refusal(path)
    assert "strange.gguf" in message
    assert "nonesuch" in message


async def test_an_embedding_model_is_not_served_as_one_that_writes(tmp_path: Path) -> None:
    path = tmp_path / "embedding.gguf"
    write_bert(path)
    assert "'bert' does not continue texts" in await refusal(path)


async def test_an_unknown_chat_format_lists_the_known_ones() -> None:
    message = await refusal(BUNDLED_MODEL, chat_format="chatmil")
    assert "chatmil" in message
    assert "chatml" in message
    assert "mistral" in message


async def test_progress_reaches_the_end() -> None:
    engine = LlamaCppEngine(config())
    heard: list[float] = []
    await engine.start(heard.append)
    await engine.close()
    await engine.close()
    assert heard == sorted(heard)
    assert heard[-1] == 1.0


async def test_windows_and_cells_follow_the_configuration() -> None:
    engine = LlamaCppEngine(config(context_window=256, n_parallel=3))
    await engine.start(lambda _: None)
    assert (engine.info.context_window, engine.info.kv_cells) == (256, 768)
    await engine.close()


async def test_a_closed_engine_ends_what_runs_and_refuses_what_comes() -> None:
    engine = LlamaCppEngine(config())
    await engine.start(lambda _: None)
    running = engine.stream(greedy("Hello", max_tokens=2000, ignore_eos=True))
    assert isinstance(await anext(running), Accepted)
    await engine.close()
    with pytest.raises(EngineClosedError):
        async for _ in running:
            pass
    late = GenerationRequest(id="late", token_ids=(1,))
    with pytest.raises(EngineClosedError):
        await asyncio.wait_for(complete(engine, late), 10)


async def test_a_cache_that_holds_no_whole_window_is_made_larger_and_said_so(caplog: pytest.LogCaptureFixture) -> None:
    engine = LlamaCppEngine(config(kv_cells=64, context_window=512))
    await engine.start(lambda _: None)
    assert engine.info.kv_cells == 512
    assert "64 KV cells are fewer than the context window; there will be 512" in caplog.text
    await engine.close()
