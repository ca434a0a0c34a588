"""The process that runs a model's own chat template: code from a file that nobody has read.

A script of its own, started with `python -I`: it imports the standard library, msgspec and jinja2, never the rest of
this package, and knows nothing but the template. Its memory, output, files and processes are limited; its parent kills
it when it takes too long (a thread could not be stopped: `9**(9**8)` holds the interpreter lock for minutes).

On its pipes: frames of a 4-byte big-endian length and a msgpack body. The child says `Rendered` once when its limits
are in place and once when the template is compiled, then answers every `Job` with a list of `Rendered`.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any, Literal, NoReturn, TypeVar

import msgspec

if TYPE_CHECKING:
    from jinja2 import Environment, Template

MEMORY_LIMIT = 512 * 2**20
OUTPUT_LIMIT = 4 * 2**20
HEADER = struct.Struct(">I")

_LIMITS = (
    (resource.RLIMIT_AS, MEMORY_LIMIT),
    (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_FSIZE, 0),
    (resource.RLIMIT_NOFILE, 16),
    (resource.RLIMIT_NPROC, 0),
)
_PR_SET_PDEATHSIG = 1

# What a template can raise through the sandbox; anything else ends the process, and the parent says that it ended.
_TEMPLATE_FAULTS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)

_T = TypeVar("_T")


class Load(msgspec.Struct, frozen=True):
    """The first frame to the child: what to compile, and the texts of the two tokens that templates write by name."""

    template: str
    bos: str
    eos: str


class Job(msgspec.Struct, frozen=True):
    """Variables to render the template with, once per entry."""

    variables: list[dict[str, Any]]


class Rendered(msgspec.Struct, frozen=True, omit_defaults=True):
    """One rendering, or why there is none.

    `raised` is the template's own `raise_exception`, `failed` any other error in it, `limit` a limit of this process.
    """

    text: str = ""
    fault: Literal["raised", "failed", "limit"] | None = None
    reason: str = ""


def main() -> None:
    """Serve the parent on stdin and stdout until it goes away."""
    _die_with_parent()
    environment = chat_environment()
    for kind, value in _LIMITS:
        with suppress(ValueError):  # a stricter limit is in force already
            resource.setrlimit(kind, (value, value))
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    _write(sink, Rendered())
    template = compile_template(environment, _read(source, Load))
    _write(sink, template if isinstance(template, Rendered) else Rendered())
    while not isinstance(template, Rendered):
        _write(sink, [render(template, variables) for variables in _read(source, Job).variables])


def compile_template(environment: Environment, load: Load) -> Template | Rendered:
    """The template, or what is wrong with it."""
    tokens = {"bos_token": load.bos, "eos_token": load.eos}
    return _guarded(lambda: environment.from_string(load.template, globals=tokens))


def render(template: Template, variables: dict[str, Any]) -> Rendered:
    """One rendering within the output limit."""
    outcome = _guarded(lambda: "".join(_capped(template.generate(variables))))
    return Rendered(text=outcome) if isinstance(outcome, str) else outcome


def _guarded(action: Callable[[], _T]) -> _T | Rendered:
    """What the action returns, or how the template failed."""
    from jinja2.exceptions import TemplateError

    try:
        return action()
    except _RaisedByTemplate as error:
        return Rendered(fault="raised", reason=str(error))
    except _OutputTooLong:
        return Rendered(fault="limit", reason=f"writes more than {OUTPUT_LIMIT // 2**20} MiB")
    except MemoryError:
        return Rendered(fault="limit", reason=f"needs more than {MEMORY_LIMIT // 2**20} MiB of memory")
    except (TemplateError, *_TEMPLATE_FAULTS) as error:
        return Rendered(fault="failed", reason=f"{type(error).__name__}: {error}"[:500])


class _RaisedByTemplate(Exception):
    """`raise_exception(...)` in a template."""


class _OutputTooLong(Exception):
    """A rendering passed the output limit."""


def _capped(pieces: Iterator[str]) -> Iterator[str]:
    room = OUTPUT_LIMIT
    for piece in pieces:
        room -= len(piece)
        if room < 0:
            raise _OutputTooLong
        yield piece


def chat_environment() -> Environment:
    """Jinja as `transformers` sets it up for chat templates."""
    from jinja2 import nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """`{% generation %}` marks what the model wrote, for training; it has no effect on the text."""

        tags = {"generation"}

        def parse(self, parser: Parser) -> nodes.Node:
            line = next(parser.stream).lineno
            return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True)).set_lineno(line)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals |= {"raise_exception": _raise_exception, "strftime_now": _strftime_now}
    return environment


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Jinja's own filter escapes for HTML, which a model was never trained on."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: object) -> NoReturn:
    raise _RaisedByTemplate(str(message))


def _strftime_now(pattern: str) -> str:
    return datetime.now().strftime(pattern)


def _read(source: IO[bytes], kind: type[_T]) -> _T:
    header = source.read(HEADER.size)
    if len(header) < HEADER.size:
        sys.exit(0)
    return msgspec.msgpack.decode(source.read(HEADER.unpack(header)[0]), type=kind)


def _write(sink: IO[bytes], value: object) -> None:
    body = msgspec.msgpack.encode(value)
    sink.write(HEADER.pack(len(body)) + body)
    sink.flush()


def _die_with_parent() -> None:
    """End-of-file on stdin says that the parent is gone, except to a template that hangs: the kernel says it then."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(0)


if __name__ == "__main__":
    main()
