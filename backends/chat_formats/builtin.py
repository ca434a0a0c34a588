"""The chat formats that ship with the project, and the names that people know them by."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType

from backends.chat_formats.turns import Turn, TurnLayout

# Written as the reference templates of these models write them; the tests compare the two.
_LAYOUTS = (
    TurnLayout(
        name="chatml",
        turns={
            "system": Turn("<|im_start|>system\n", "<|im_end|>\n"),
            "user": Turn("<|im_start|>user\n", "<|im_end|>\n"),
            "assistant": Turn("<|im_start|>assistant\n", "<|im_end|>\n"),
        },
        generation_prompt="<|im_start|>assistant\n",
        stop=("<|im_end|>",),
    ),
    TurnLayout(
        name="llama3",
        bos=True,
        trim=True,
        turns={
            "system": Turn("<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>"),
            "user": Turn("<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"),
            "assistant": Turn("<|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>"),
        },
        generation_prompt="<|start_header_id|>assistant<|end_header_id|>\n\n",
        stop=("<|eot_id|>",),
    ),
    TurnLayout(
        name="mistral",
        bos=True,
        system="last_user",
        turns={"user": Turn("[INST]", "[/INST]"), "assistant": Turn("", "</s>")},
        generation_prompt="",
        stop=("</s>",),
    ),
    TurnLayout(
        name="mistral-v1",
        bos=True,
        system="first_user",
        turns={"user": Turn(" [INST] ", " [/INST]"), "assistant": Turn(" ", "</s>")},
        generation_prompt="",
        stop=("</s>",),
    ),
    TurnLayout(
        name="gemma",
        bos=True,
        trim=True,
        system="first_user",
        turns={
            "user": Turn("<start_of_turn>user\n", "<end_of_turn>\n"),
            "assistant": Turn("<start_of_turn>model\n", "<end_of_turn>\n"),
        },
        generation_prompt="<start_of_turn>model\n",
        stop=("<end_of_turn>",),
    ),
    TurnLayout(
        name="phi3",
        turns={
            "system": Turn("<|system|>\n", "<|end|>\n"),
            "user": Turn("<|user|>\n", "<|end|>\n"),
            "assistant": Turn("<|assistant|>\n", "<|end|>\n"),
        },
        generation_prompt="<|assistant|>\n",
        ending="<|endoftext|>",
        stop=("<|end|>",),
    ),
)

LAYOUTS: Mapping[str, TurnLayout] = MappingProxyType({layout.name: layout for layout in _LAYOUTS})

_ALIASES = {
    "chatml": "openchatml hermes noushermes qwen qwen2 qwen25 qwen3 smollm smollm2 yi",
    "llama3": "metallama3 llama31 llama32 llama33 llama3instruct",
    "mistral": "mistralinstruct mistralnemo mistralv3 mistralv3tekken ministral",
    "mistral-v1": "mistralv02 mixtral mixtralinstruct",
    "gemma": "gemma1 gemma2 gemma3 gemmait",
    "phi3": "phi35 phi3mini phi3medium",
}

CUSTOM = "custom"
FORMAT_NAMES = (*LAYOUTS, CUSTOM)


def canonical_name(name: str) -> str:
    """One of `FORMAT_NAMES` for a name as a user types it: case, dots, dashes and well-known aliases do not matter.

    Raises:
        ValueError: nobody knows this name; the message lists the known ones and the nearest.
    """
    known = {_squeeze(known): known for known in FORMAT_NAMES}
    known |= {alias: name for name, aliases in _ALIASES.items() for alias in aliases.split()}
    try:
        return known[_squeeze(name)]
    except KeyError:
        nearest = get_close_matches(_squeeze(name), known, n=1)
        hint = f" (did you mean {known[nearest[0]]!r}?)" if nearest else ""
        raise ValueError(f"unknown chat format {name!r}{hint}; known are {', '.join(FORMAT_NAMES)}") from None


def _squeeze(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
