"""The number formats that a GGUF file's weights may have, by the names that people use for them.

The numbers are `llama_ftype` of llama.h, which are part of the file format (`general.file_type`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, get_args

from backends.gguf_header import GGUFHeader
from backends.types import Quantization

FILE_TYPES: Final[Mapping[str, int]] = MappingProxyType({
    "f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q8_0": 7, "q5_0": 8, "q5_1": 9, "q2_k": 10, "q3_k_s": 11, "q3_k_m": 12,
    "q3_k_l": 13, "q4_k_s": 14, "q4_k_m": 15, "q5_k_s": 16, "q5_k_m": 17, "q6_k": 18, "iq2_xxs": 19, "iq2_xs": 20,
    "q2_k_s": 21, "iq3_xs": 22, "iq3_xxs": 23, "iq1_s": 24, "iq4_nl": 25, "iq3_s": 26, "iq3_m": 27, "iq2_s": 28,
    "iq2_m": 29, "iq4_xs": 30, "iq1_m": 31, "bf16": 32, "tq1_0": 36, "tq2_0": 37, "mxfp4_moe": 38, "nvfp4": 39,
    "q1_0": 40, "q2_0": 41,
})  # fmt: skip
KINDS: Final[tuple[str, ...]] = get_args(Quantization)
"""What weights can be turned into here, finest first."""

_NEED_MATRIX: Final = ("iq1_m", "iq1_s", "iq2_m", "iq2_s", "iq2_xs", "iq2_xxs", "iq3_xs", "iq3_xxs", "q2_k_s")
_SPECIAL: Final = ("mxfp4_moe", "nvfp4", "q1_0", "q2_0", "tq1_0", "tq2_0")
_UNQUANTISED: Final = {0: "f32", 1: "f16", 30: "bf16"}  # by ggml type
_NAMES: Final = {number: name for name, number in FILE_TYPES.items()}
_GUESSED: Final = 1024  # added to `general.file_type` by tools that were not sure


class UnknownKindError(Exception):
    """There is no such number format, or none that can be made here; the message lists those that can."""


def kind_named(text: str) -> str:
    """The kind that `text` names, in whichever case.

    Raises:
        UnknownKindError: says why not, and what there is instead.
    """
    name = text.strip().lower().replace("-", "_")
    if name in KINDS:
        return name
    if name in _NEED_MATRIX:
        why = "needs an importance matrix, without which its answers are useless"
    elif name in _SPECIAL:
        why = "is for models that were trained for it"
    elif name in FILE_TYPES:
        why = "makes no file smaller"
    else:
        why = "is no kind of quantisation"
    raise UnknownKindError(f"'{text}' {why}; there are {', '.join(KINDS)}")


def kind_of(header: GGUFHeader) -> str:
    """The name of the format that most weights of a file have; the file's own word is taken for quantised ones."""
    if not header.quantised:
        largest = max(header.types, key=lambda kind: header.types[kind], default=0)
        return _UNQUANTISED.get(largest, "f32")
    declared = header.metadata.get("general.file_type")
    name = _NAMES.get(declared % _GUESSED, "") if isinstance(declared, int) and declared >= 0 else ""
    return "quantised" if name in ("", *_UNQUANTISED.values()) else name
