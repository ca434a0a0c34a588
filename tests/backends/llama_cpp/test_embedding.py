"""The embedding engine on all-MiniLM-L6-v2: its vectors are the model's own, whoever else is asking."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from backends.base import (
    ContextLengthError,
    EngineClosedError,
    InvalidRequestError,
    ModelUnavailableError,
    UnsupportedError,
)
from backends.llama_cpp.embedding import LlamaCppEmbedder
from backends.types import Capabilities, Embedding, GenerationRequest
from tests import minilm
from tests.backends.llama_cpp.conftest import BUNDLED_MODEL, config
from tests.backends.llama_cpp.test_loading import write_bert

TEXTS = [
    "a",
    "Hello world",
    "The quick brown fox jumps over the lazy dog.",
    "Die schnelle braune Katze springt über den faulen Hund.",
    "Être ou ne pas être, telle est la question — naïve café.",
    "Привет, как дела?",
    "今天天气很好，我们去公园吧。",
    "日本語のテキストを埋め込みます。",
    "مرحبا بالعالم",
    "Line one\n\n\tline two   with  odd\u00a0spaces",
    "def f(x):\n    return x ** 2  # 😀",
    "word " * 60,
    "A longer text, which goes on for quite a while. " * 40,
]

pytestmark = pytest.mark.asyncio(loop_scope="module")

Vectors = NDArray[np.float32]


def numbers(embeddings: Sequence[Embedding]) -> Vectors:
    return np.stack([np.frombuffer(embedding.vector, "<f4") for embedding in embeddings])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def embedder() -> AsyncIterator[LlamaCppEmbedder]:
    engine = LlamaCppEmbedder(config(minilm.gguf_file(), task="embed", alias="minilm", n_threads=1))
    await engine.start(lambda _: None)
    yield engine
    await engine.close()


async def refusal(path: Path) -> str:
    engine = LlamaCppEmbedder(config(path, task="embed"))
    with pytest.raises(ModelUnavailableError) as caught:
        await engine.start(lambda _: None)
    await engine.close()
    return caught.value.message


async def test_the_reference_gives_the_similarity_that_sentence_transformers_published() -> None:
    # https://www.sbert.net, "Semantic Textual Similarity": 0.7553 for this pair and this model
    eats, bread = map(minilm.reference, ("A man is eating food.", "A man is eating a piece of bread."))
    assert float(eats @ bread) == pytest.approx(0.7553, abs=1e-4)


@pytest.mark.parametrize("text", TEXTS)
async def test_vectors_are_the_models_own(embedder: LlamaCppEmbedder, text: str) -> None:
    [embedding] = await embedder.embed([text])
    [vector] = numbers([embedding])
    assert vector @ minilm.reference(text) > 0.9999
    assert float(np.linalg.norm(vector)) == pytest.approx(1.0, abs=1e-6)
    assert embedding.tokens == len(minilm.token_ids(text))


async def test_a_batch_gives_what_each_text_gives_alone(embedder: LlamaCppEmbedder) -> None:
    alone = numbers([(await embedder.embed([text]))[0] for text in TEXTS])
    np.testing.assert_allclose(numbers(await embedder.embed(TEXTS)), alone, atol=1e-3)


async def test_token_ids_are_taken_as_they_are(embedder: LlamaCppEmbedder) -> None:
    ids = minilm.token_ids(TEXTS[3])
    bare, text = await embedder.embed([ids[1:-1], TEXTS[3]])
    assert bare.tokens == len(ids) - 2
    [vector] = numbers([bare])
    assert vector @ minilm.reference_of_ids(ids[1:-1]) > 0.9999
    np.testing.assert_allclose(numbers(await embedder.embed([ids])), numbers([text]), atol=1e-3)


async def test_control_tokens_in_a_text_are_text(embedder: LlamaCppEmbedder) -> None:
    pieces = await embedder.tokenize("one [SEP] two", add_special=True)
    assert [piece.raw for piece in pieces].count(b"[SEP]") == 1
    [embedding] = await embedder.embed(["one [SEP] two"])
    assert embedding.tokens == len(pieces)


async def test_inputs_of_one_call_share_batches(embedder: LlamaCppEmbedder) -> None:
    before = (await embedder.stats())["batches"]
    found = await embedder.embed(TEXTS[:3] * 20)
    full = 512 - max(embedding.tokens for embedding in found)  # a batch ends when the next input has no room
    batches = (await embedder.stats())["batches"] - before
    assert batches <= sum(embedding.tokens for embedding in found) // full + 1


async def test_a_hundred_callers_at_once_get_their_own(embedder: LlamaCppEmbedder) -> None:
    texts = [f"Caller {number} asks about {TEXTS[number % 8]}" for number in range(100)]
    before = (await embedder.stats())["inputs_embedded"]
    found = await asyncio.gather(*(embedder.embed([text]) for text in texts))
    assert (await embedder.stats())["inputs_embedded"] - before == 100
    for number in range(0, 100, 7):
        assert numbers(found[number])[0] @ minilm.reference(texts[number]) > 0.9999


async def test_aborted_calls_cost_nothing_further_and_harm_nobody(embedder: LlamaCppEmbedder) -> None:
    before = await embedder.stats()
    calls = [asyncio.create_task(embedder.embed([TEXTS[-1]] * 8)) for _ in range(40)]
    kept = asyncio.create_task(embedder.embed(TEXTS[:3]))
    await asyncio.sleep(0)
    for call in calls:
        call.cancel()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    np.testing.assert_allclose(numbers(await kept), [minilm.reference(text) for text in TEXTS[:3]], atol=2e-3)
    await embedder.embed(["the end"])  # whatever was running is over
    after = await embedder.stats()
    assert after["waiting"] == 0
    assert after["inputs_embedded"] - before["inputs_embedded"] < 40 * 8


async def test_fewer_dimensions_are_the_first_ones_with_norm_one(embedder: LlamaCppEmbedder) -> None:
    [whole] = numbers(await embedder.embed(["Hello world"]))
    [short] = numbers(await embedder.embed(["Hello world"], dimensions=64))
    assert short.shape == (64,)
    np.testing.assert_allclose(short, whole[:64] / np.linalg.norm(whole[:64]), atol=1e-6)
    assert numbers(await embedder.embed(["x"], dimensions=384)).shape == (1, 384)


@pytest.mark.parametrize("dimensions", [0, -1, 385])
async def test_dimensions_that_there_are_not_are_refused(embedder: LlamaCppEmbedder, dimensions: int) -> None:
    with pytest.raises(InvalidRequestError, match=f"{dimensions}.*384") as caught:
        await embedder.embed(["x"], dimensions=dimensions)
    assert caught.value.param == "dimensions"


@pytest.mark.parametrize(
    ("text", "size"),
    [("word " * 511, "513 tokens"), ("x" * 1_000_000, "1000000 characters"), ("ab " * 9_000, "27000 characters")],
)
async def test_a_text_that_is_too_long_is_refused_with_both_numbers(
    embedder: LlamaCppEmbedder, text: str, size: str
) -> None:
    with pytest.raises(ContextLengthError, match=rf"input\[1\].*{size}.*512") as caught:
        await embedder.embed(["fine", text])
    assert caught.value.param == "input[1]"


async def test_spaces_take_no_tokens_and_no_room(embedder: LlamaCppEmbedder) -> None:
    plain, spaced = await embedder.embed(["two words", "\n" * 500_000 + "two" + " " * 500_000 + "words"])
    assert (spaced.tokens, plain.tokens) == (4, 4)
    np.testing.assert_allclose(numbers([spaced]), numbers([plain]), atol=1e-3)


async def test_the_window_is_used_to_its_last_token(embedder: LlamaCppEmbedder) -> None:
    [longest] = await embedder.embed(["word " * 510])
    assert longest.tokens == 512
    assert numbers([longest])[0] @ minilm.reference("word " * 510) > 0.9999


@pytest.mark.parametrize("ids", [[], [5, 30_522], [-1], [2**31 - 1], [1] * 513])
async def test_token_ids_are_checked_before_anything_is_computed(embedder: LlamaCppEmbedder, ids: list[int]) -> None:
    before = (await embedder.stats())["batches"]
    with pytest.raises(InvalidRequestError) as caught:
        await embedder.embed([[101, 102], ids])
    assert caught.value.param == "input[1]"
    assert (await embedder.stats())["batches"] == before


async def test_no_inputs_have_no_vectors(embedder: LlamaCppEmbedder) -> None:
    assert await embedder.embed([]) == []


async def test_an_embedding_model_writes_nothing(embedder: LlamaCppEmbedder) -> None:
    assert embedder.capabilities == Capabilities(chat=False, embeddings=True)
    with pytest.raises(UnsupportedError) as caught:
        await anext(embedder.stream(GenerationRequest(id="r", prompt="Hi")))
    assert caught.value.param == "model"


async def test_what_is_known_of_the_model(embedder: LlamaCppEmbedder) -> None:
    info = embedder.info
    assert (info.name, info.architecture, info.engine) == ("minilm", "bert", "llama_cpp")
    assert (info.context_window, info.trained_context, info.kv_cells, info.vocab_size) == (512, 512, 0, 30_522)


async def test_the_settings_that_it_works_with_are_told(embedder: LlamaCppEmbedder) -> None:
    settings = (await embedder.stats())["settings"]
    assert settings == {"n_threads_batch": 1, "n_batch": 512, "pooling": "mean", "dimensions": 384}


async def test_text_survives_tokenising_and_back(embedder: LlamaCppEmbedder) -> None:
    pieces = await embedder.tokenize("embedding models")
    assert await embedder.detokenize([piece.id for piece in pieces]) == "embedding models"


async def test_a_closed_engine_ends_what_runs_and_refuses_what_comes() -> None:
    engine = LlamaCppEmbedder(config(BUNDLED_MODEL, task="embed", n_threads=1))
    await engine.start(lambda _: None)
    calls = [asyncio.create_task(engine.embed([TEXTS[-1]] * 20)) for _ in range(4)]
    while not (await engine.stats())["batches"]:
        await asyncio.sleep(0)
    await engine.close()
    await engine.close()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert any(isinstance(result, EngineClosedError) for result in results)
    with pytest.raises(EngineClosedError):
        await engine.embed(["late"])


async def test_a_window_may_be_shorter_than_the_models_but_not_longer(caplog: pytest.LogCaptureFixture) -> None:
    windows = []
    for wanted in (100, 100_000):
        engine = LlamaCppEmbedder(config(minilm.gguf_file(), task="embed", context_window=wanted, n_threads=1))
        await engine.start(lambda _: None)
        windows.append(engine.info.context_window)
        await engine.close()
    assert windows == [100, 512]
    assert "512 tokens instead of 100000: the model was trained on no more" in caplog.text


async def test_a_chat_model_can_be_used_and_is_marked_as_what_it_is(caplog: pytest.LogCaptureFixture) -> None:
    engine = LlamaCppEmbedder(config(BUNDLED_MODEL, task="embed", n_threads=1))
    await engine.start(lambda _: None)
    near, same, far = numbers(await engine.embed(["the sky is blue", "the sky is blue", "def f(x): return x"]))
    await engine.close()
    assert near @ same == pytest.approx(1.0, abs=1e-3)
    assert near @ far < 0.99
    assert "does not say how token vectors become one" in caplog.text


async def test_progress_reaches_the_end() -> None:
    heard: list[float] = []
    engine = LlamaCppEmbedder(config(minilm.gguf_file(), task="embed", n_threads=1))
    await engine.start(heard.append)
    await engine.close()
    assert heard == sorted(heard)
    assert heard[-1] == 1.0


async def test_a_missing_file_and_a_model_without_sense_are_refused(tmp_path: Path) -> None:
    assert await refusal(tmp_path / "none.gguf") == f"{tmp_path / 'none.gguf'} does not exist"
    write_bert(tmp_path / "zero.gguf")  # its vocabulary does not even have the [CLS] token that llama.cpp assumes
    assert "does not work" in await refusal(tmp_path / "zero.gguf")


async def test_weights_that_give_no_numbers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    weights = {
        name: np.full_like(tensor, np.nan) if name == "embeddings.LayerNorm.weight" else tensor
        for name, tensor in minilm.weights().items()
    }
    minilm.write_gguf(path, weights)
    assert "not numbers" in await refusal(path)
