"""`python -m backends.vllm.converting JOB`: a GGUF file becomes a Hugging Face folder; not meant for people.

A process of its own: what it takes of memory goes back when it ends, and it can be ended half way. Progress bars of
`transformers` go to standard error; the last line on standard output is the result, in JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from backends.gguf_header import check_gguf
from backends.sampling_defaults import GENERATION_CONFIG_KEYS, GGUF_KEYS

_END_NAMES = ("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<end_of_turn>", "<|end_of_text|>",
              "<|return|>", "<|call|>", "<EOT>", "</s>", "<eos>", "<|end_of_turn|>", "<|endofturn|>")  # fmt: skip
"""Control tokens that end an answer wherever they occur; llama.cpp, too, knows them by their names."""
_END_KEYS = ("eos_token_id", "eot_token_id", "eom_token_id")
_SPLITS = ("gpt-2", "gpt2", "default")


class ConversionJob(msgspec.Struct, frozen=True):
    """What to convert, into which folder (it must not exist), with weights of which number format."""

    source: str
    target: str
    dtype: str


class ConversionResult(msgspec.Struct, frozen=True):
    """How it went: `reason` says why it did not, `warning` what may be wrong all the same."""

    reason: str | None = None
    warning: str | None = None


def convert(job: ConversionJob) -> ConversionResult:
    """Read the model with `transformers`, take its weights out of their blocks, and write it with its tokeniser."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    source, target = Path(job.source), Path(job.target)
    where = {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name}
    metadata = check_gguf(job.source).metadata
    try:
        tokenizer = AutoTokenizer.from_pretrained(**where)
        model = AutoModelForCausalLM.from_pretrained(
            **where, dtype=getattr(torch, job.dtype), quantization_config=GgufConfig(dequantize=True)
        )
    except (ValueError, KeyError, NotImplementedError, ImportError, RuntimeError) as error:
        architecture = metadata.get("general.architecture")
        return ConversionResult(f"transformers cannot read a GGUF file of the architecture '{architecture}': {error}")
    _wrap(tokenizer, metadata)
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    wishes = generation_config(metadata, tokenizer.get_added_vocab())
    (target / "generation_config.json").write_text(json.dumps(wishes, indent=2))
    return ConversionResult(warning=_doubt(metadata))


def generation_config(metadata: Mapping[str, Any], control: Mapping[str, int]) -> dict[str, Any]:
    """What the file says of sampling and of the end of answers, in the words of a Hugging Face folder.

    `control` has the control tokens by their text.
    """
    fields = {gguf: field for gguf, (field, _) in GGUF_KEYS.items()}
    names = {field: key for key, (field, _) in GENERATION_CONFIG_KEYS.items()}
    wishes = {names[field]: metadata[key] for key, field in fields.items() if key in metadata}
    ends = {control[name] for name in _END_NAMES if name in control}
    ends |= {metadata[f"tokenizer.ggml.{key}"] for key in _END_KEYS if f"tokenizer.ggml.{key}" in metadata}
    return {"eos_token_id": sorted(ends), **wishes}


def _wrap(tokenizer: Any, metadata: Mapping[str, Any]) -> None:
    """Let the tokeniser put a BOS before every prompt where the file asks for it; `transformers` does not look."""
    from tokenizers.processors import TemplateProcessing

    wanted = metadata.get("tokenizer.ggml.add_bos_token", metadata.get("tokenizer.ggml.model") == "llama")
    begin = tokenizer.bos_token
    if begin is None:
        return
    single = f"{begin} $A" if wanted else "$A"
    special = [(begin, tokenizer.bos_token_id)] if wanted else []
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=single, special_tokens=special)


def _doubt(metadata: Mapping[str, Any]) -> str | None:
    """Where `transformers` guesses how a text is cut into words, the tokens may be others than llama.cpp's."""
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    split = metadata.get("tokenizer.ggml.pre")
    if metadata.get("tokenizer.ggml.model") != "gpt2" or split in (None, *_SPLITS, *GGUF_PRE_TOKENIZER_SPLITS):
        return None
    return f"transformers does not know how texts are split for '{split}' and splits them as GPT-2 does"


if __name__ == "__main__":
    done = convert(msgspec.json.decode(sys.argv[1], type=ConversionJob))
    sys.stdout.buffer.write(msgspec.json.encode(done) + b"\n")
