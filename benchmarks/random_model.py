"""A Llama of random weights in Q8_0, made in seconds: as much work for an engine as a trained model of its shape.

    python -m benchmarks.random_model OUT.gguf [--layers N] [--width N] [--vocabulary N]

What it says means nothing, but it says something with every token: nearly all tokens are words such as " bako", so the
first token is the first text, and a prompt of N of its words is N tokens long (`word`). Nothing that a user could not
see, and nothing that would end an answer, is ever drawn. Logits are spread widely enough that the likeliest token stays
the likeliest under rounding.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

HEAD = 64
"""Width of one attention head."""
BLOCK = 32
"""Weights that share a scale in Q8_0."""
LOGIT_SPREAD = 4.0
"""Standard deviation of the logits."""
BAN = 200.0
"""How strongly the dimension that is the same for all tokens reaches the last layer: see `_output`."""
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SYLLABLES = tuple(consonant + vowel for consonant in "bcdfghjklmnpqrstvwxz" for vowel in "aeiou")
FIRST_WORD = len(SPECIALS) + 256 + len(SYLLABLES)
"""The id of the first token that is a word; all after it are words, too."""
BLOCK_TYPE = np.dtype([("scale", "<f2"), ("quants", "i1", BLOCK)])
Weights = NDArray[np.void]


@dataclass(frozen=True)
class Shape:
    """How large the model is. `width` counts in heads of 64; the default has half a billion parameters."""

    layers: int = 24
    width: int = 1280
    vocabulary: int = 32_000
    context: int = 8192

    def __post_init__(self) -> None:
        least = FIRST_WORD + 1
        if self.layers < 1:
            raise ValueError(f"layers is {self.layers}; it must be at least 1")
        if self.width < HEAD or self.width % HEAD:
            raise ValueError(f"width is {self.width}; it must be a multiple of {HEAD}")
        if self.vocabulary < least:
            raise ValueError(f"vocabulary is {self.vocabulary}; it must be at least {least}")

    @property
    def heads(self) -> int:
        """Query heads."""
        return self.width // HEAD

    @property
    def kv_heads(self) -> int:
        """Key and value heads: four, or as many as divide the query heads."""
        return math.gcd(self.heads, 4)

    @property
    def inner(self) -> int:
        """Width of the feed-forward layers."""
        return -(-self.width * 14 // 5 // BLOCK) * BLOCK

    @property
    def name(self) -> str:
        """What tells files of different shapes apart."""
        return f"random-{self.layers}x{self.width}-v{self.vocabulary}"


def word(number: int) -> str:
    """The pronounceable word of that number: two syllables, then three, then more."""
    syllables: list[str] = []
    count = len(SYLLABLES)
    while number >= 0 or len(syllables) < 2:
        syllables.append(SYLLABLES[number % count])
        number = number // count - (len(syllables) > 1)
    return "".join(syllables)


def byte_characters() -> list[str]:
    """The character that a GPT-2 vocabulary writes for each byte."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in visible else chr(next(others)) for byte in range(256)]


def token_texts(vocabulary: int) -> list[str]:
    """All tokens as a GPT-2 vocabulary writes them: control tokens, bytes, syllables, then words after a space."""
    words = (f"Ġ{word(number)}" for number in range(vocabulary - FIRST_WORD))
    return [*SPECIALS, *byte_characters(), *SYLLABLES, *words]


def banned(vocabulary: int) -> NDArray[np.bool_]:
    """Which tokens are never drawn: control tokens, and bytes that are no visible character of their own."""
    mask = np.zeros(vocabulary, bool)
    mask[: len(SPECIALS) + 256] = True
    mask[len(SPECIALS) + 0x21 : len(SPECIALS) + 0x7F] = False
    return mask


def write(path: Path, shape: Shape, seed: int = 0) -> None:
    """Write the model. What is at `path` is replaced at once, when the file is complete; memory stays small."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        _write(scratch, shape, np.random.default_rng(seed))
        scratch.rename(path)
    finally:
        scratch.unlink(missing_ok=True)


def _write(path: Path, shape: Shape, rng: np.random.Generator) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    _add_metadata(writer, shape)
    _add_vocabulary(writer, shape.vocabulary)
    for name, rows, columns in _layout(shape):
        if rows:
            size = rows * columns // BLOCK * BLOCK_TYPE.itemsize
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor_info(name, (rows, columns), np.dtype(np.int8), size, raw_dtype=kind)
        else:
            writer.add_tensor_info(name, (columns,), np.dtype(np.float32), columns * 4)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, rows, columns in _layout(shape):  # one at a time: this is what keeps memory small
        writer.write_tensor_data(_tensor(name, rows, columns, rng))
    writer.close()


def _add_metadata(writer: gguf.GGUFWriter, shape: Shape) -> None:
    writer.add_name(shape.name)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.inner)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_dimension_count(HEAD)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)


def _add_vocabulary(writer: gguf.GGUFWriter, vocabulary: int) -> None:
    types = np.full(vocabulary, gguf.TokenType.NORMAL, int)
    types[: len(SPECIALS)] = gguf.TokenType.CONTROL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")  # takes a word that is a token for that token, whatever the merges say
    writer.add_token_list(token_texts(vocabulary))
    writer.add_token_types(types.tolist())
    writer.add_token_merges([" ".join(syllable) for syllable in SYLLABLES])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(SPECIALS.index("<|im_end|>"))
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def _layout(shape: Shape) -> Iterator[tuple[str, int, int]]:
    """Name, rows and columns of every tensor; norms have 0 rows."""
    width, kv_width = shape.width, shape.kv_heads * HEAD
    yield "token_embd.weight", shape.vocabulary, width
    yield "output_norm.weight", 0, width
    yield "output.weight", shape.vocabulary, width
    for layer in range(shape.layers):
        yield f"blk.{layer}.attn_norm.weight", 0, width
        yield f"blk.{layer}.attn_q.weight", width, width
        yield f"blk.{layer}.attn_k.weight", kv_width, width
        yield f"blk.{layer}.attn_v.weight", kv_width, width
        yield f"blk.{layer}.attn_output.weight", width, width
        yield f"blk.{layer}.ffn_norm.weight", 0, width
        yield f"blk.{layer}.ffn_gate.weight", shape.inner, width
        yield f"blk.{layer}.ffn_up.weight", shape.inner, width
        yield f"blk.{layer}.ffn_down.weight", width, shape.inner


def _tensor(name: str, rows: int, columns: int, rng: np.random.Generator) -> NDArray[np.generic]:
    if not rows:
        return _norm(columns, last=name == "output_norm.weight")
    if name == "token_embd.weight":
        blocks = _random_blocks(rows, columns, 1.0, rng)
        blocks["quants"][:, 0, 0] = 127  # dimension 0: the same for all tokens
    elif name == "output.weight":
        blocks = _output(rows, columns, rng)
    else:
        blocks = _random_blocks(rows, columns, columns**-0.5, rng)
    if name.endswith(("attn_output.weight", "ffn_down.weight")):
        blocks["quants"][0] = 0  # no layer writes to dimension 0
    return blocks.view(np.int8)


def _norm(width: int, *, last: bool) -> NDArray[np.float32]:
    norm = np.ones(width, np.float32)
    norm[0] = BAN if last else 0.0  # no layer reads dimension 0, but the output does
    return norm


def _output(rows: int, columns: int, rng: np.random.Generator) -> Weights:
    """Dimension 0 of the last hidden state is positive always: it takes from banned tokens and gives to no other."""
    blocks = _random_blocks(rows, columns, LOGIT_SPREAD * columns**-0.5, rng)
    blocks["quants"][:, 0, 0] = 0
    never = banned(rows)
    blocks["quants"][never] = 0
    blocks["quants"][never, 0, 0] = -127
    return blocks


def _random_blocks(rows: int, columns: int, deviation: float, rng: np.random.Generator) -> Weights:
    """Weights drawn evenly around zero: the quantised form is made, so nothing is left to quantise."""
    blocks = np.empty((rows, columns // BLOCK), BLOCK_TYPE)
    blocks["quants"] = rng.integers(-127, 128, (*blocks.shape, BLOCK), np.int8)
    blocks["scale"] = deviation * math.sqrt(3) / 127
    return blocks


def cached(folder: Path, shape: Shape) -> Path:
    """The model of that shape in `folder`, written there if it is missing."""
    path = folder / f"{shape.name}.gguf"
    if not path.exists():
        print(f"bench: writing {path}", file=sys.stderr, flush=True)
        write(path, shape)
    return path


def main() -> None:
    """Write one model."""
    default = Shape()
    parser = argparse.ArgumentParser(description="Write a GGUF model of random weights.")
    parser.add_argument("path", type=Path, metavar="OUT.gguf")
    for name in ("layers", "width", "vocabulary"):
        parser.add_argument(f"--{name}", type=int, default=getattr(default, name), help="default: %(default)s")
    arguments = parser.parse_args()
    try:
        shape = Shape(arguments.layers, arguments.width, arguments.vocabulary)
    except ValueError as error:
        parser.error(str(error))
    write(arguments.path, shape)
    print(f"{arguments.path}: {arguments.path.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
