"""Tiny GGUF models with random weights, one for each kind of memory that llama.cpp has.

They say nothing sensible, but all of a prompt bears on what they say, so that a wrong state shows within a few tokens.
Weights are float32 and, in tests, so is the KV cache, without flash attention: the logits of one text in differently
shaped batches then differ by far less than the two best of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import gguf
import numpy as np
from numpy.typing import NDArray

Kind = Literal["plain", "sliding", "recurrent", "hybrid"]
"""Attention over everything; every other layer over a window; a state; a state and attention."""
KINDS: tuple[Kind, ...] = get_args(Kind)

Floats = NDArray[np.float32]
Tensors = dict[str, Floats]

WINDOW = 64
"""Tokens that a local layer of the sliding model attends to."""
CONTEXT = 2048
"""Tokens of context that the models say they were trained on."""

_BUNDLED = Path(__file__).parents[3] / "models" / "tiny" / "jarvis-tiny-q8_0.gguf"
_WIDTH, _FEED_FORWARD, _HEADS, _HEAD = 64, 128, 4, 16
_INNER, _STATE, _CONVOLUTION, _TIME_STEP_RANK = 2 * _WIDTH, 16, 4, 8
_SHARPNESS = 2.0  # standard deviation of attention scores: few tokens get most of the attention, but not one


class _Dice:
    """Random tensors from a fixed seed."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def matrix(self, rows: int, columns: int, scale: float = 1.0) -> Floats:
        """A projection, shape (out, in); what it makes of unit normal inputs has the standard deviation `scale`."""
        return self._random.normal(0, scale / columns**0.5, (rows, columns)).astype(np.float32)

    def rows(self, rows: int, columns: int) -> Floats:
        """Unit normal numbers."""
        return self._random.normal(0, 1, (rows, columns)).astype(np.float32)

    def between(self, low: float, high: float, *shape: int) -> Floats:
        """Numbers spread evenly on a logarithmic scale."""
        return np.exp(self._random.uniform(np.log(low), np.log(high), shape)).astype(np.float32)


@dataclass(frozen=True)
class _Recipe:
    """An architecture's metadata (below `<architecture>.`, but for the shared ones) and the tensors of its layers."""

    architecture: str
    metadata: Mapping[str, int | list[int] | list[bool]]
    layers: tuple[Callable[[_Dice], Tensors], ...]
    embedding: float = 1.0


def _ones(*names: str, size: int = _WIDTH) -> Tensors:
    return {name: np.ones(size, np.float32) for name in names}


def _attention(dice: _Dice, *, sharp: float = _SHARPNESS) -> Tensors:
    """Projections whose scores have the standard deviation `sharp`, where nothing normalises queries and keys."""
    width = _HEADS * _HEAD
    return _ones("attn_norm.weight") | {
        "attn_q.weight": dice.matrix(width, _WIDTH, sharp),
        "attn_k.weight": dice.matrix(width, _WIDTH),
        "attn_v.weight": dice.matrix(width, _WIDTH),
        "attn_output.weight": dice.matrix(_WIDTH, width, 2.0),
    }


def _feed_forward(dice: _Dice) -> Tensors:
    return _ones("ffn_norm.weight") | {
        "ffn_gate.weight": dice.matrix(_FEED_FORWARD, _WIDTH),
        "ffn_up.weight": dice.matrix(_FEED_FORWARD, _WIDTH),
        "ffn_down.weight": dice.matrix(_WIDTH, _FEED_FORWARD),
    }


def _state_space(dice: _Dice) -> Tensors:
    """A Mamba block whose states fade over a few to a few hundred tokens."""
    return _ones("attn_norm.weight") | {
        "ssm_in.weight": dice.matrix(2 * _INNER, _WIDTH, 2.0),
        "ssm_conv1d.weight": dice.matrix(_INNER, _CONVOLUTION, 2.0),
        "ssm_conv1d.bias": np.zeros(_INNER, np.float32),
        "ssm_x.weight": dice.matrix(_TIME_STEP_RANK + 2 * _STATE, _INNER, 2.0),
        "ssm_dt.weight": dice.matrix(_INNER, _TIME_STEP_RANK),
        "ssm_dt.bias": np.zeros(_INNER, np.float32),
        "ssm_a": -dice.between(0.002, 0.2, _INNER, _STATE),
        "ssm_d": np.zeros(_INNER, np.float32),
        "ssm_out.weight": dice.matrix(_WIDTH, _INNER),
    }


def _plain_layer(dice: _Dice) -> Tensors:
    return _attention(dice) | _feed_forward(dice)


def _gemma_layer(dice: _Dice) -> Tensors:
    """Gemma 3 normalises queries, keys and all that joins the residual stream, so the scales sit in its norms."""
    norms = _ones("post_attention_norm.weight") | _ones("attn_k_norm.weight", size=_HEAD)
    scales = {
        "attn_q_norm.weight": np.full(_HEAD, _SHARPNESS, np.float32),
        "post_ffw_norm.weight": np.full(_WIDTH, 0.1, np.float32),  # small, since ggml looks GELU up in a coarse table
    }
    return _attention(dice, sharp=1.0) | _feed_forward(dice) | norms | scales


def _jamba_state_layer(dice: _Dice) -> Tensors:
    norms = _ones("ssm_dt_norm.weight", size=_TIME_STEP_RANK) | _ones(
        "ssm_b_norm.weight", "ssm_c_norm.weight", size=_STATE
    )
    return _state_space(dice) | norms | _feed_forward(dice)


_HEADS_OF_ATTENTION = {
    "attention.head_count": _HEADS,
    "attention.head_count_kv": _HEADS,
    "attention.key_length": _HEAD,
    "attention.value_length": _HEAD,
    "rope.dimension_count": _HEAD,
}
_STATE_SPACE = {
    "ssm.conv_kernel": _CONVOLUTION,
    "ssm.inner_size": _INNER,
    "ssm.state_size": _STATE,
    "ssm.time_step_rank": _TIME_STEP_RANK,
}
_RECIPES: Mapping[Kind, _Recipe] = {
    "plain": _Recipe("llama", {**_HEADS_OF_ATTENTION, "feed_forward_length": _FEED_FORWARD}, (_plain_layer,) * 3),
    "sliding": _Recipe(
        "gemma3",
        {
            **_HEADS_OF_ATTENTION,
            "feed_forward_length": _FEED_FORWARD,
            "attention.sliding_window": WINDOW,
            "attention.sliding_window_pattern": [True, False, True, False],
        },
        (_gemma_layer,) * 4,
        embedding=_WIDTH**-0.5,  # Gemma multiplies embeddings by the square root of the width
    ),
    "recurrent": _Recipe(
        "mamba", {**_STATE_SPACE, "feed_forward_length": 0, "attention.head_count": 0}, (_state_space,) * 3
    ),
    "hybrid": _Recipe(
        "jamba",
        {
            **_HEADS_OF_ATTENTION,
            **_STATE_SPACE,
            "feed_forward_length": _FEED_FORWARD,
            "attention.head_count_kv": [0, _HEADS, 0, _HEADS],
        },
        (_jamba_state_layer, _plain_layer) * 2,
    ),
}


def write_random_model(path: Path, kind: Kind, *, seed: int = 3) -> None:
    """Write a model of `kind` with the bundled model's vocabulary and chat template. Equal seeds give equal files."""
    recipe = _RECIPES[kind]
    dice = _Dice(seed)
    writer = gguf.GGUFWriter(path, recipe.architecture)
    _add_metadata(writer, recipe)
    for name, tensor in _tensors(recipe, dice, vocab_size=_copy_vocabulary(writer)).items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_metadata(writer: gguf.GGUFWriter, recipe: _Recipe) -> None:
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(len(recipe.layers))
    writer.add_layer_norm_rms_eps(1e-5)
    for name, value in recipe.metadata.items():
        key = f"{recipe.architecture}.{name}"
        if isinstance(value, list):
            writer.add_array(key, value)
        else:
            writer.add_uint32(key, value)


def _copy_vocabulary(writer: gguf.GGUFWriter) -> int:
    """Number of tokens of the vocabulary that is copied."""
    fields = gguf.GGUFReader(_BUNDLED).fields
    for key, field in fields.items():
        if key.startswith("tokenizer."):
            kind, *of = field.types
            writer.add_key_value(key, field.contents(), kind, of[-1] if of else None)
    return len(fields["tokenizer.ggml.tokens"].data)


def _tensors(recipe: _Recipe, dice: _Dice, *, vocab_size: int) -> Tensors:
    tensors = {
        "token_embd.weight": dice.rows(vocab_size, _WIDTH) * np.float32(recipe.embedding),
        "output_norm.weight": np.ones(_WIDTH, np.float32),
        # Not the embeddings again: a residual stream holds the last token, which would then be the next one for ever.
        "output.weight": dice.matrix(vocab_size, _WIDTH, 4.0),
    }
    for index, layer in enumerate(recipe.layers):
        tensors |= {f"blk.{index}.{name}": tensor for name, tensor in layer(dice).items()}
    return tensors
