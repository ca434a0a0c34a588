"""Which implementation each kernel has in this process, and why: chosen once, at start, and then only read.

The choice is the process's and not a caller's, because the native library has one table of functions. NumPy is not
imported here, so that whoever only asks for the level need not load it.
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

LEVELS = ("numpy", "scalar", "avx2", "vnni", "neon", "dotprod", "i8mm")
"""All there are, each before those that go beyond it. A machine has some of them."""
NATIVE = LEVELS[1:]  # in the order of `enum jk_level`

CSRC = Path(__file__).parent / "csrc"
BUILD_NOTE = Path(__file__).resolve().parents[1] / ".venv" / ".kernels"
"""Where `run.sh` writes the path of the library that it compiled, or why there is none."""

_SIGNATURES = {
    "matmul_f32": "ppplll",
    "matmul_i8": "ppplll",
    "rmsnorm": "ppppllf",
    "softmax": "ppll",
    "swiglu": "pppl",
    "gelu": "ppl",
    "rope": "pppplll" + "i",
    "attention": "pppplllll" + "if",
    "quantize_q8_0": "ppl",
    "quantize_q4_0": "ppl",
    "dequantize_q8_0": "ppl",
    "dequantize_q4_0": "ppl",
    "matvec_q8_0": "pppll",
    "matvec_q4_0": "pppll",
    "topk_i8": "ppplllpp",
    "topk_f32": "ppplllpp",
    "gather_i8": "ppplll",
    "gather_i8_i32": "pppplll",
    "gather_i8_f32": "pppplll",
    "gather_f32": "pppplll",
    "token_mask": "pppl",
    "logsumexp_topk": "pllppp",
    "text_features": "pplilpp",
}
"""Parameters of the native functions, in the order of `JK_FUNCTIONS`: pointer, int64, int32, float."""
_KINDS: Mapping[str, Any] = {"p": ctypes.c_void_p, "l": ctypes.c_int64, "i": ctypes.c_int32, "f": ctypes.c_float}

PUBLIC: Mapping[str, tuple[str, ...]] = {
    "matmul": ("matmul_f32",),
    "matmul_int8": ("matmul_i8",),
    "rmsnorm": ("rmsnorm",),
    "softmax": ("softmax",),
    "swiglu": ("swiglu",),
    "gelu": ("gelu",),
    "rope": ("rope",),
    "flash_attention": ("attention",),
    "quantize_q8_0": ("quantize_q8_0",),
    "quantize_q4_0": ("quantize_q4_0",),
    "dequantize_q8_0": ("dequantize_q8_0",),
    "dequantize_q4_0": ("dequantize_q4_0",),
    "dot_q8_0": ("matvec_q8_0",),
    "dot_q4_0_q8_0": ("matvec_q4_0",),
    "matvec_q8_0": ("matvec_q8_0",),
    "matvec_q4_0": ("matvec_q4_0",),
    "similarity_topk": ("topk_i8", "topk_f32"),
    "gather_accumulate": ("gather_i8", "gather_f32"),
    "apply_token_mask": ("token_mask",),
    "logsumexp_topk": ("logsumexp_topk",),
    "text_features": ("text_features",),
}
"""The native functions behind each public one; where there are two, the first is for int8."""

Functions = Mapping[str, Callable[..., int]]


class UnavailableLevelError(ValueError):
    """The level that was asked for does not exist or cannot run here; the message names those that can."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What is in use: `functions` is `None` at the NumPy level. `by_function` has a level for each native function."""

    level: str
    reason: str
    functions: Functions | None
    by_function: Mapping[str, str]


_selections: list[Selection] = []  # the one in use; as long as there is none, nothing was called


def select(level: str = "auto", library: Path | None = None) -> Selection:
    """Choose the level of all kernels; `auto` is the highest that this machine has.

    `library` is a compiled one; by default, the one that `run.sh` has made. No kernel may run meanwhile.

    Raises:
        UnavailableLevelError: a level was named that this machine or this build does not have.
    """
    found, absent = _library(library)
    there = available_in(found)
    if level not in ("auto", *there):
        known = f" ({absent})" if found is None and level in LEVELS else ""
        raise UnavailableLevelError(
            f"the kernels have no level '{level}' here; there are auto, {', '.join(there)}{known}"
        )
    wanted = there[-1] if level == "auto" else level
    if found is None or wanted == "numpy":
        reason = absent if found is None and level == "auto" else "it was asked for"
        selection = Selection("numpy", reason, None, {})
    else:
        reason = "the highest that this processor has" if level == "auto" else "it was asked for"
        selection = Selection(wanted, reason, _functions(found), _fill_table(found, wanted))
    _selections[:] = [selection]
    return selection


def selection() -> Selection:
    """What is in use; the first call decides for `auto` if nobody has decided before."""
    return _selections[0] if _selections else select()


def functions() -> Functions | None:
    """The native functions by name; `None` at the NumPy level."""
    return selection().functions


def available(library: Path | None = None) -> tuple[str, ...]:
    """The levels that can run here, the highest last."""
    return available_in(_library(library)[0])


def active() -> dict[str, dict[str, str]]:
    """For every public function, the `level` that it runs at and the `reason` for it."""
    return {name: _described(natives) for name, natives in PUBLIC.items()}


def _described(natives: tuple[str, ...]) -> dict[str, str]:
    now = selection()
    found = [now.by_function.get(name, "numpy") for name in natives]
    reason = now.reason
    if found[0] != now.level:
        reason = f"it has no version for {now.level}; {now.level}: {reason}"
    if found[-1] != found[0]:
        reason += f"; float32: {found[-1]}"
    return {"level": found[0], "reason": reason}


def _library(path: Path | None) -> tuple[ctypes.CDLL | None, str]:
    """The library, or why there is none."""
    if path is None:
        try:
            noted = BUILD_NOTE.read_text().strip()
        except OSError:
            return None, "no library was compiled: ./run.sh does it"
        if not noted.startswith("/"):
            return None, noted
        path = Path(noted)
    return _loaded(path)


@cache
def _loaded(path: Path) -> tuple[ctypes.CDLL | None, str]:
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:  # it is gone, or for another architecture
        return None, f"the library cannot be loaded: {error}"
    library.jk_sources.restype = ctypes.c_char_p
    if library.jk_sources().decode() != hash_of_sources():
        return None, "the library was compiled from other sources: ./run.sh does it anew"
    return library, ""


def hash_of_sources() -> str:
    """What `build.sh` compiles into a library, so that no other one is called by mistake."""
    digest = hashlib.sha256()
    for path in sorted(CSRC.iterdir(), key=lambda path: path.name):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:24]


def available_in(library: ctypes.CDLL | None) -> tuple[str, ...]:
    """The levels of a library on this processor, after NumPy's."""
    bits = library.jk_levels() if library else 0
    return ("numpy", *(name for number, name in enumerate(NATIVE) if bits >> number & 1))


def _fill_table(library: ctypes.CDLL, level: str) -> dict[str, str]:
    """Let the library fill its table; the level that each of its functions then has."""
    levels = ctypes.create_string_buffer(len(_SIGNATURES))
    if library.jk_select(NATIVE.index(level), levels) != 0:
        raise UnavailableLevelError(f"the kernels have no level '{level}' here")
    return {name: NATIVE[number] for name, number in zip(_SIGNATURES, levels.raw, strict=True)}


def _functions(library: ctypes.CDLL) -> Functions:
    library.jk_functions.restype = ctypes.c_char_p
    assert library.jk_functions().decode().split() == list(_SIGNATURES)
    found = {}
    for name, signature in _SIGNATURES.items():
        function = library[f"jk_{name}"]
        function.argtypes = [_KINDS[kind] for kind in signature]
        found[name] = function
    return found
