"""How many bytes one KV cell takes, from the header of a model file, before llama.cpp reserves the cache.

llama.cpp keeps, for every layer with attention, a row of keys and a row of values per cell; its own count is in
`llama_hparams` (n_embd_k_gqa, n_embd_v_gqa) and not in its C interface.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from backends.base import ModelUnavailableError
from backends.gguf_header import BLOCKS, GGUFHeader
from backends.types import KVCacheType

KV_CACHE_TYPES: dict[KVCacheType, int] = {
    "f32": 0,
    "f16": 1,
    "bf16": 30,
    "q8_0": 8,
    "q5_1": 7,
    "q5_0": 6,
    "q4_1": 3,
    "q4_0": 2,
    "iq4_nl": 20,
}
"""The numbers of enum ggml_type; the binding does not name all of them."""


@dataclass(frozen=True)
class CellShape:
    """Numbers in one KV cell, over all layers: `keys` and `values`, in heads of `key_head` and `value_head` numbers.

    Not `exact`: the architecture has layers whose cells the header does not describe in a known way.
    """

    keys: int
    values: int
    key_head: int
    value_head: int
    exact: bool = True

    def size_bytes(self, type_k: KVCacheType, type_v: KVCacheType) -> int:
        """Bytes of one cell."""
        return _size(self.keys, type_k) + _size(self.values, type_v)

    def check(self, type_k: KVCacheType, type_v: KVCacheType) -> None:
        """Raise `ModelUnavailableError` if a head is no whole number of blocks; llama.cpp may abort on those."""
        for part, head, kind in (("keys", self.key_head, type_k), ("values", self.value_head, type_v)):
            block, _ = BLOCKS[KV_CACHE_TYPES[kind]]
            if head % block:
                raise ModelUnavailableError(
                    f"the KV cache type {kind} stores blocks of {block} numbers, but a head of this model has {head}"
                    f" {part}; f16 fits every model"
                )


def cell_shape(header: GGUFHeader) -> CellShape:
    """What one cell holds; all zero for models without attention."""
    read = _Reading(header)
    heads = read.attention_heads()
    key_head, value_head = read.head("key"), read.head("value")
    latent = read.one("attention.key_length_mla") > 0  # values are computed from the cached keys
    return CellShape(
        keys=sum(heads) * key_head,
        values=0 if latent else sum(heads) * value_head,
        key_head=key_head,
        value_head=0 if latent else value_head,
        exact=read.exact,
    )


def _size(numbers: int, kind: KVCacheType) -> int:
    per_block, block_bytes = BLOCKS[KV_CACHE_TYPES[kind]]
    return -(-numbers // per_block) * block_bytes


class _Reading:
    """The attention of a header, under the keys of its architecture. Missing numbers are 0."""

    def __init__(self, header: GGUFHeader) -> None:
        self._header = header
        self._prefix = f"{header.metadata.get('general.architecture', '')}."
        self._layers = self.one("block_count")
        self.exact = True

    def one(self, key: str) -> int:
        value = self._header.metadata.get(self._prefix + key)
        return int(value) if isinstance(value, int | float) else 0

    def each(self, key: str) -> list[int] | None:
        """The number of every layer: from an array, or one that holds for all; `None` if the header has neither."""
        array = self._header.arrays.get(self._prefix + key)
        if array is not None:
            return [int(number) for number in array[: self._layers]]
        return [self.one(key)] * self._layers if self._prefix + key in self._header.metadata else None

    def attention_heads(self) -> list[int]:
        """Heads of keys and values of each layer that has a cache of its own."""
        heads = self.each("attention.head_count_kv") or self.each("attention.head_count") or []
        last = len(heads) - self.one("attention.shared_kv_layers") - self.one("nextn_predict_layers")
        pairs = zip(heads[: max(last, 0)], self._recurrent(), strict=False)
        return [count for count, recurrent in pairs if not recurrent]

    def head(self, part: str) -> int:
        """Numbers in one head of `part`; the larger where layers with a sliding window have heads of their own."""
        query_heads = next((count for count in self.each("attention.head_count") or () if count), 0)
        usual = self.one("embedding_length") // query_heads if query_heads else 0
        sliding = self.one(f"attention.{part}_length_swa")
        full = self.one(f"attention.{part}_length") or usual
        self.exact = self.exact and sliding in (0, full)
        return max(full, sliding)

    def _recurrent(self) -> Sequence[int]:
        """Which layers keep a state instead of cells; those with no heads of their own need no mention."""
        marked = self.each("attention.recurrent_layers")
        interval = self.one("full_attention_interval")
        if marked is not None:
            return marked
        return [interval and (layer + 1) % interval for layer in range(self._layers)]
