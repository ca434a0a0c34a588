"""How trained weights become a file, and the file that ships."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("gguf")
pytest.importorskip("tokenizers")

import gguf
from numpy.typing import NDArray
from tokenizers import Tokenizer

from tools.eval_tiny_model import load
from tools.tiny_corpus import CHAT_TEMPLATE, Turn, prompt
from tools.tiny_corpus.bpe import EOT, IM_END, SPECIALS, encode, load_or_train, train_tokenizer
from tools.tiny_corpus.chat import Example, ask
from tools.tiny_corpus.gguf_file import Floats, Shape, hf_config, permuted, write_gguf
from tools.tiny_corpus.packing import batches

Doubles = NDArray[np.float64]

SHIPPED = Path(__file__).resolve().parents[2] / "models" / "tiny" / "jarvis-tiny-q8_0.gguf"
SMALL = Shape(640, 64, 96, 2, 2, 1, 32)
SIZE_LIMIT = 8_000_000


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(SMALL.vocab_size, seed=1, samples=300)


def random_weights(shape: Shape) -> dict[str, Floats]:
    rng = np.random.default_rng(0)
    width, wide = shape.hidden_size, shape.intermediate_size
    queries, keys = shape.num_attention_heads * shape.head_dim, shape.num_key_value_heads * shape.head_dim
    sizes: dict[str, tuple[int, ...]] = {"embed_tokens": (shape.vocab_size, width), "norm": (width,)}
    for layer in range(shape.num_hidden_layers):
        sizes |= {
            f"layers.{layer}.{name}": size
            for name, size in {
                "input_layernorm": (width,),
                "self_attn.q_proj": (queries, width),
                "self_attn.k_proj": (keys, width),
                "self_attn.v_proj": (keys, width),
                "self_attn.o_proj": (width, queries),
                "post_attention_layernorm": (width,),
                "mlp.gate_proj": (wide, width),
                "mlp.up_proj": (wide, width),
                "mlp.down_proj": (width, wide),
            }.items()
        }
    return {f"model.{name}.weight": rng.normal(0, 0.1, size).astype(np.float32) for name, size in sizes.items()}


def test_every_digit_is_a_token_of_its_own(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("is 47?").tokens[-4:] == ["Ġ", "4", "7", "?"]
    assert not [token for token in tokenizer.get_vocab() if len(token) > 1 and any(c in "0123456789" for c in token)]


def test_any_text_survives_the_tokenizer(tokenizer: Tokenizer) -> None:
    for text in ("don't  stop\n\n12345 é 日本語 🙂", "   three spaces", "\t tab"):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_the_specials_come_first(tokenizer: Tokenizer) -> None:
    assert [tokenizer.id_to_token(number) for number in range(3)] == list(SPECIALS)


def test_the_tokenizer_is_kept(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    kept = load_or_train(tmp_path / "tokenizer.json", SMALL.vocab_size, seed=1)
    assert kept.get_vocab() == tokenizer.get_vocab()


def test_learning_covers_the_answer_and_its_end(tokenizer: Tokenizer) -> None:
    ids, weights = encode(tokenizer, ask("facts", "", "Hello!", "Good day!"), sort_keys=False)
    learnt = [number for number, weight in zip(ids, weights, strict=True) if weight]
    assert learnt[-1] == IM_END and ids[-1] == EOT
    assert tokenizer.decode(learnt) == "Good day!"


def test_batches_keep_conversations_whole_and_apart(tokenizer: Tokenizer) -> None:
    source = batches(tokenizer, seed=1, tokens=4_096, short=512, long=2_048)
    for batch in (next(source) for _ in range(5)):
        assert batch.ids.shape == batch.owner.shape == batch.weight.shape
        assert batch.ids.size == 4_096
        for ids, owner in zip(batch.ids, batch.owner, strict=True):
            for number in range(1, owner.max() + 1):
                assert ids[owner == number][-1] == EOT


def test_permuted_rows_turn_in_pairs_as_the_halves_did() -> None:
    rng, dim = np.random.default_rng(0), 8
    weight, x = rng.normal(size=(2 * dim, 5)), rng.normal(size=5)
    angles = rng.normal(size=dim // 2)
    turned = permuted(weight.astype(np.float32), 2).astype(np.float64)

    def halves(vector: Doubles) -> Doubles:
        first, second = vector[: dim // 2], vector[dim // 2 :]
        cos, sin = np.cos(angles), np.sin(angles)
        return np.concatenate([first * cos - second * sin, second * cos + first * sin])

    def pairs(vector: Doubles) -> Doubles:
        even, odd = vector[::2], vector[1::2]
        cos, sin = np.cos(angles), np.sin(angles)
        return np.concatenate([even * cos - odd * sin, odd * cos + even * sin])

    for head in range(2):
        rows = slice(head * dim, (head + 1) * dim)
        np.testing.assert_allclose(pairs(turned[rows] @ x), halves(weight[rows] @ x), atol=1e-5)


def test_a_written_file_holds_the_weights_and_the_tokenizer(tokenizer: Tokenizer, tmp_path: Path) -> None:
    weights = random_weights(SMALL)
    path = tmp_path / "small.gguf"
    write_gguf(path, weights, SMALL, tokenizer)
    reader = gguf.GGUFReader(path)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    assert "output.weight" not in tensors and len(tensors) == 2 + 9 * SMALL.num_hidden_layers
    embedding = gguf.dequantize(tensors["token_embd.weight"].data, tensors["token_embd.weight"].tensor_type)
    np.testing.assert_allclose(embedding, weights["model.embed_tokens.weight"], atol=4e-3)
    np.testing.assert_array_equal(tensors["output_norm.weight"].data, weights["model.norm.weight"])
    assert reader.fields["tokenizer.ggml.eos_token_id"].contents() == IM_END
    assert reader.fields["tokenizer.chat_template"].contents() == CHAT_TEMPLATE


def test_the_hugging_face_settings_name_the_same_dimensions() -> None:
    settings = hf_config(SMALL)
    assert (settings["hidden_size"], settings["head_dim"], settings["tie_word_embeddings"]) == (64, 32, True)


def test_the_shipped_file_is_small_and_complete() -> None:
    assert SHIPPED.stat().st_size <= SIZE_LIMIT
    fields = gguf.GGUFReader(SHIPPED).fields
    assert fields["general.architecture"].contents() == "llama"
    assert fields["llama.context_length"].contents() >= 2_048
    assert fields["tokenizer.ggml.pre"].contents() == "gpt-2"
    assert fields["tokenizer.chat_template"].contents() == CHAT_TEMPLATE


def test_the_shipped_model_answers() -> None:
    pytest.importorskip("llama_cpp")
    answer = load(SHIPPED, threads=1)
    question = Example("small talk", (), (Turn("user", "Hello!"), Turn("assistant", "")))
    assert answer(prompt(question)) == "Hello! How can I help you?"
