"""Sentence vectors of all-MiniLM-L6-v2 in NumPy, many texts at once, kept on disk: for baselines and word vectors.

The weights are those that `tests.minilm` finds or fetches. Vectors lie in the cache folder under the hash of their
text, so a second run of a benchmark computes nothing.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from tests.minilm import HEADS, LAYERS, VERSION, WIDTH, Floats, _gelu, cache_folder, token_ids, weights

MOST_TOKENS = 256
"""What the model was trained for; the rest of a text is cut off, as sentence-transformers does it."""
_EPSILON = 1e-12
_TOKENS_AT_ONCE = 4096
_SAVE_EVERY = 100


def embedded(texts: Sequence[str], folder: Path | None = None) -> Floats:
    """The vectors of texts, [texts, 384], each of norm 1; computed where the cache in `folder` has them not."""
    path = (folder or cache_folder()) / f"sentences-{VERSION}.npz"
    known = _read(path)
    keys = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32] for text in texts]
    missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
    for number, batch in enumerate(_batches(missing), 1):
        known.update(zip(batch, encoded(np.array(list(batch.values()))), strict=True))
        if number % _SAVE_EVERY == 0:
            _write(path, known)
    if missing:
        _write(path, known)
    return np.array([known[key] for key in keys], np.float32).reshape(len(texts), WIDTH)


def _batches(texts: dict[str, str]) -> Iterator[dict[str, list[int]]]:
    """Ids by key, those of one length together: so nothing is padded, and nothing has to be masked."""
    by_length: defaultdict[int, dict[str, list[int]]] = defaultdict(dict)
    for key, text in texts.items():
        ids = token_ids(text)
        cut = ids if len(ids) <= MOST_TOKENS else [*ids[: MOST_TOKENS - 1], ids[-1]]
        by_length[len(cut)][key] = cut
    for length, found in sorted(by_length.items()):
        items, size = list(found.items()), max(_TOKENS_AT_ONCE // length, 1)
        yield from (dict(items[begin : begin + size]) for begin in range(0, len(items), size))


def _read(path: Path) -> dict[str, Floats]:
    if not path.is_file():
        return {}
    with np.load(path) as found:
        return dict(zip(found["keys"].tolist(), found["vectors"], strict=True))


def _write(path: Path, known: dict[str, Floats]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft.npz")
    np.savez(draft, keys=np.array(list(known)), vectors=np.array(list(known.values()), np.float16))
    draft.replace(path)


def encoded(ids: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Floats:
    """Vectors of `ids[texts, tokens]`: BERT's encoder, the mean over all tokens, norm 1."""
    found = _aligned()
    embedding = "embeddings.{}_embeddings.weight".format
    x = found[embedding("word")][ids] + found[embedding("position")][: ids.shape[1]] + found[embedding("token_type")][0]
    x = _normed(x, "embeddings.LayerNorm")
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        query, key, value = (_heads(_linear(x, f"{name}.attention.self.{part}")) for part in ("query", "key", "value"))
        scores = query @ key.transpose(0, 1, 3, 2) / math.sqrt(query.shape[-1])
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        attended = (shares @ value).transpose(0, 2, 1, 3).reshape(x.shape)
        x = _normed(x + _linear(attended, f"{name}.attention.output.dense"), f"{name}.attention.output.LayerNorm")
        inner = _gelu(_linear(x, f"{name}.intermediate.dense"))
        x = _normed(x + _linear(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")
    mean = x.mean(1)
    return np.asarray(mean / np.linalg.norm(mean, axis=1, keepdims=True))


@cache
def _aligned() -> dict[str, Floats]:
    return {name: tensor.copy() for name, tensor in weights().items()}  # BLAS asks for alignment


def _linear(x: Floats, name: str) -> Floats:
    tensors = _aligned()
    flat = x.reshape(-1, x.shape[-1]) @ tensors[f"{name}.weight"].T  # one product instead of one per text
    return np.asarray(flat.reshape(*x.shape[:-1], -1) + tensors[f"{name}.bias"])


def _normed(x: Floats, name: str) -> Floats:
    x = x - x.mean(-1, keepdims=True)
    x = x / np.sqrt((x * x).mean(-1, keepdims=True) + _EPSILON)
    return np.asarray(x * _aligned()[f"{name}.weight"] + _aligned()[f"{name}.bias"])


def _heads(x: Floats) -> Floats:
    return x.reshape(*x.shape[:2], HEADS, -1).transpose(0, 2, 1, 3)
