"""The trained weights as files: a Q8_0 GGUF for llama.cpp, and a folder that Hugging Face's Llama reads."""

import json
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from .bpe import EOT, IM_END, SPECIALS
from .chat import CHAT_TEMPLATE

Floats = NDArray[np.float32]

NAME = "Jarvis Tiny"


@dataclass(frozen=True)
class Shape:
    """The model's dimensions, under the names Hugging Face's LlamaConfig gives them."""

    vocab_size: int = 3_072
    hidden_size: int = 256
    intermediate_size: int = 512
    num_hidden_layers: int = 5
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    head_dim: int = 64
    max_position_embeddings: int = 2_048
    rms_norm_eps: float = 1e-5
    rope_theta: float = 10_000.0


# Hugging Face's names of a layer's weights -> GGUF's
_LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def permuted(weight: Floats, heads: int) -> Floats:
    """Rows of a q or k projection, shape (heads * dim, hidden), reordered from rotating halves to rotating pairs.

    llama.cpp's Llama rotates neighbouring rows where Hugging Face's rotates row i with row i + dim / 2.
    """
    rows, columns = weight.shape
    halves = weight.reshape(heads, 2, rows // heads // 2, columns)
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows, columns))


def gguf_tensors(weights: dict[str, Floats], shape: Shape) -> dict[str, Floats]:
    """Weights under Hugging Face's names as GGUF tensors; without output.weight llama.cpp uses the embedding."""
    tensors = {
        "token_embd.weight": weights["model.embed_tokens.weight"],
        "output_norm.weight": weights["model.norm.weight"],
    }
    heads = {"attn_q": shape.num_attention_heads, "attn_k": shape.num_key_value_heads}
    for layer in range(shape.num_hidden_layers):
        for theirs, ours in _LAYER.items():
            weight = weights[f"model.layers.{layer}.{theirs}.weight"]
            tensors[f"blk.{layer}.{ours}.weight"] = permuted(weight, heads[ours]) if ours in heads else weight
    return tensors


def _add_metadata(writer: gguf.GGUFWriter, shape: Shape) -> None:
    writer.add_name(NAME)
    writer.add_description("The small demo model of the Jarvis LLM Proxy")
    writer.add_license("mit")
    writer.add_languages(["en"])
    writer.add_size_label("4M")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_context_length(shape.max_position_embeddings)
    writer.add_embedding_length(shape.hidden_size)
    writer.add_block_count(shape.num_hidden_layers)
    writer.add_feed_forward_length(shape.intermediate_size)
    writer.add_head_count(shape.num_attention_heads)
    writer.add_head_count_kv(shape.num_key_value_heads)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(shape.rope_theta)
    writer.add_layer_norm_rms_eps(shape.rms_norm_eps)
    writer.add_vocab_size(shape.vocab_size)


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if token in SPECIALS else gguf.TokenType.NORMAL for token in tokens])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(EOT)
    writer.add_eos_token_id(IM_END)
    writer.add_eot_token_id(IM_END)
    writer.add_pad_token_id(EOT)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def write_gguf(path: Path, weights: dict[str, Floats], shape: Shape, tokenizer: Tokenizer) -> None:
    """Write the GGUF: matrices in Q8_0, norms in float32."""
    writer = gguf.GGUFWriter(str(path), "llama")
    _add_metadata(writer, shape)
    _add_tokenizer(writer, tokenizer)
    for name, tensor in gguf_tensors(weights, shape).items():
        if tensor.ndim == 1:
            writer.add_tensor(name, tensor.astype(np.float32))
        else:
            packed = gguf.quants.quantize(tensor.astype(np.float32), gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(name, packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def hf_config(shape: Shape) -> dict[str, object]:
    """config.json of the same model."""
    dimensions = {name: getattr(shape, name) for name in Shape.__dataclass_fields__}
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "bos_token_id": EOT,
        "eos_token_id": IM_END,
        **dimensions,
    }


def write_hf_files(folder: Path, shape: Shape, tokenizer: Tokenizer) -> None:
    """Everything of a Hugging Face folder but model.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": SPECIALS[EOT],
        "eos_token": SPECIALS[IM_END],
        "pad_token": SPECIALS[EOT],
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "config.json").write_text(json.dumps(hf_config(shape), indent=2))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))
    tokenizer.save(str(folder / "tokenizer.json"))
