"""The command line: `python -m app [serve | check | quantize | route | …]`; `--help` says more."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app import __version__
from app.settings import Settings, SettingsError, Variables

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_THREADS = 1024
OK, FAILED, BAD_CONFIGURATION, INTERRUPTED = 0, 1, 2, 130

DEMO_NOTE = """
  This is the small demo model that ships with the project: it shows that everything works and knows little else.
  For a real one, name a GGUF file:   JARVIS_MODEL_NAME=/path/to/model.gguf ./run.sh
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 1 failed, 2 the configuration or the call cannot be used."""
    given = _parser().parse_args(arguments)
    try:
        status = COMMANDS[given.command].run(given)
        sys.stdout.flush()
        return status
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_CONFIGURATION
    except BrokenPipeError:
        # Whoever read the output has seen enough. What Python still holds of it would be written, and fail, at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def serve(_: argparse.Namespace) -> int:
    """Serve until a signal."""
    settings = Settings.load()
    from app import logs, server  # after the settings: a bad variable is said without loading a server
    from app.check import check_embedder, check_router, check_routes, select_kernels

    select_kernels(settings)
    check_router()
    check_embedder(settings)
    check_routes(settings)
    server.leave_quietly()
    logs.configure(settings.logging.effective_level, [key.get_secret_value() for key in settings.server.api_keys])
    try:
        listener = server.bind(settings.server)
    except server.AddressError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    print(banner(settings, server.url_of(listener)), flush=True)
    server.serve(settings, listener)
    return OK


def check(_: argparse.Namespace) -> int:
    """Print the effective configuration and what is wrong with it."""
    from app.check import problems
    from app.settings.reference import effective

    variables = Variables.read()
    settings = Settings.from_variables(variables)
    listed = [f"{name}={value}  [{origin}]" for name, value, origin in effective(settings, variables)]
    found = [f"error: {line}" for line in problems(settings)]
    print("\n".join([*listed, "", *(found or ["The configuration can be used."])]))
    return BAD_CONFIGURATION if found else OK


def quantize(given: argparse.Namespace) -> int:
    """Write a GGUF model with fewer bits per weight."""
    from app.quantize import ProgressLine, summary
    from backends.llama_cpp.quantising import Quantisation, QuantisationError, quantise

    wanted = Quantisation(
        source=given.folder / given.source,
        target=given.folder / given.target,
        kind=given.kind,
        threads=given.threads,
        force=given.force,
        allow_requantize=given.allow_requantize,
        environment=Settings.load().worker_environment(),
    )
    line = ProgressLine(sys.stderr)
    try:
        done = quantise(wanted, line.show)
    except QuantisationError as error:
        line.close()
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        line.close()
        print("interrupted: nothing was written", file=sys.stderr)
        return INTERRUPTED
    line.close()
    print("\n".join(summary(done)))
    return OK


def route(given: argparse.Namespace) -> int:
    """Say which route a text takes (TEXT), how well that works for a file (eval FILE.jsonl); fit own routes (fit)."""
    from app.check import check_router, select_kernels
    from app.route import evaluated, explained, fitted

    settings = Settings.load()
    select_kernels(settings)
    check_router()
    words: list[str] = given.words
    if words == ["fit"]:
        lines = fitted(settings)
    elif words[0] == "eval" and len(words) == 2:
        lines = evaluated(given.folder / words[1], settings)
    else:
        lines = explained(" ".join(words), settings)
    try:
        text = "\n".join(lines)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    print(text)
    return OK


def env_example(_: argparse.Namespace) -> int:
    """Print the text of `.env.example`."""
    from app.settings.reference import env_example

    print(env_example(), end="")
    return OK


def build_plan(_: argparse.Namespace) -> int:
    """Print what `run.sh` has to know before it installs an engine: one value per line."""
    variables = Variables.read()
    settings = Settings.from_variables(variables)
    own_python = variables.values.get("JARVIS_VLLM_PYTHON", "")
    embeddings = settings.embedding.name if settings.model.engine != "stub" else None
    cmake_args = variables.values.get("CMAKE_ARGS", "")
    print(settings.model.engine, settings.cache_dir, cmake_args, own_python, embeddings or "", sep="\n")
    return OK


def banner(settings: Settings, url: str) -> str:
    """What the server says of itself when it starts."""
    model = settings.model
    lines = [f"Jarvis {__version__} listens on {url}", f"  engine  {model.engine}", f"  model   {model.alias}"]
    if model.engine != "stub":
        lines[-1] += f"  ({model.name})"
    if settings.embedding.name is not None:
        lines.append(f"  vectors {settings.embedding.alias}  ({settings.embedding.name})")
    if model.engine == "vllm":
        lines += [f"  tuned   {name}={value}" for name, value in settings.vllm_tuning().items()]
    note = DEMO_NOTE if model.bundled and model.engine != "stub" else ""
    return "\n".join(lines) + note


def _quantize_arguments(parser: argparse.ArgumentParser) -> None:
    from backends.llama_cpp.number_formats import KINDS

    parser.add_argument("source", metavar="IN", type=Path, help="the model: a GGUF file with F32, F16 or BF16 weights")
    parser.add_argument("target", metavar="OUT", type=Path, help="the file to write")
    parser.add_argument("kind", metavar="KIND", type=_kind, help=f"what the weights become: {', '.join(KINDS)}")
    parser.add_argument("--force", action="store_true", help="replace OUT if it exists")
    parser.add_argument("--threads", metavar="N", type=_threads, help="threads that compute (default: physical cores)")
    parser.add_argument(
        "--allow-requantize", action="store_true", help="take a model that is quantised already; costs accuracy"
    )
    parser.add_argument(
        "--folder", metavar="DIR", type=Path, default=Path(), help="where relative paths begin (default: here)"
    )


def _route_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words", metavar="TEXT", nargs="+", help="the text, or `eval` and a file of JSON lines, or `fit`"
    )
    parser.add_argument(
        "--folder", metavar="DIR", type=Path, default=Path(), help="where relative paths begin (default: here)"
    )


def _kind(text: str) -> str:
    from backends.llama_cpp.number_formats import UnknownKindError, kind_named

    try:
        return kind_named(text)
    except UnknownKindError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _threads(text: str) -> int:
    if not (text.isdecimal() and len(text) <= 4 and 1 <= int(text) <= MOST_THREADS):
        raise argparse.ArgumentTypeError(f"'{text[:200]}' is not a whole number from 1 to {MOST_THREADS}")
    return int(text)


def _nothing(_: argparse.ArgumentParser) -> None:
    """Most commands take no arguments."""


@dataclass(frozen=True)
class Command:
    """What a command does, in code and in words, and what adds its arguments."""

    run: Callable[[argparse.Namespace], int]
    help: str
    arguments: Callable[[argparse.ArgumentParser], None] = _nothing


COMMANDS = {
    "serve": Command(serve, "serve until a signal (this is what happens without a command)"),
    "check": Command(check, "print the effective configuration and what is wrong with it"),
    "quantize": Command(quantize, "write a GGUF model with fewer bits per weight", _quantize_arguments),
    "route": Command(route, "say which route a text takes, judge the router, or fit own routes", _route_arguments),
    "env-example": Command(env_example, "print the text of .env.example"),
    "build-plan": Command(build_plan, "print what run.sh has to know before it installs an engine"),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="jarvis", description="One OpenAI-compatible endpoint for local models.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    parser.set_defaults(command="serve")
    for name, command in COMMANDS.items():
        command.arguments(commands.add_parser(name, help=command.help, description=str(command.run.__doc__)))
    return parser
