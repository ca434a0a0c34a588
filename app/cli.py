"""The command line: `python -m app [serve | check | env-example | build-plan]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from app import __version__
from app.settings import Settings, SettingsError, Variables

if TYPE_CHECKING:
    from collections.abc import Sequence

OK, FAILED, BAD_CONFIGURATION = 0, 1, 2

DEMO_NOTE = """
  This is the small demo model that ships with the project: it shows that everything works and knows little else.
  For a real one, name a GGUF file:   JARVIS_MODEL_NAME=/path/to/model.gguf ./run.sh
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 1 failed, 2 the configuration cannot be used."""
    command = COMMANDS[_parser().parse_args(arguments).command]
    try:
        return command()
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_CONFIGURATION


def serve() -> int:
    """Serve until a signal."""
    settings = Settings.load()
    from app import logs, server  # after the settings: a bad variable is said without loading a server

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


def check() -> int:
    """Print the effective configuration and what is wrong with it."""
    from app.check import problems
    from app.settings.reference import effective

    variables = Variables.read()
    settings = Settings.from_variables(variables)
    listed = [f"{name}={value}  [{origin}]" for name, value, origin in effective(settings, variables)]
    found = [f"error: {line}" for line in problems(settings)]
    print("\n".join([*listed, "", *(found or ["The configuration can be used."])]))
    return BAD_CONFIGURATION if found else OK


def env_example() -> int:
    """Print the text of `.env.example`."""
    from app.settings.reference import env_example

    print(env_example(), end="")
    return OK


def build_plan() -> int:
    """Print what `run.sh` has to know before it installs an engine: one value per line."""
    variables = Variables.read()
    settings = Settings.from_variables(variables)
    print(settings.model.engine, settings.cache_dir, variables.values.get("CMAKE_ARGS", ""), sep="\n")
    return OK


def banner(settings: Settings, url: str) -> str:
    """What the server says of itself when it starts."""
    model = settings.model
    lines = [f"Jarvis {__version__} listens on {url}", f"  engine  {model.engine}", f"  model   {model.alias}"]
    if model.engine != "stub":
        lines[-1] += f"  ({model.name})"
    note = DEMO_NOTE if model.bundled and model.engine == "llama_cpp" else ""
    return "\n".join(lines) + note


COMMANDS: dict[str, Callable[[], int]] = {
    "serve": serve,
    "check": check,
    "env-example": env_example,
    "build-plan": build_plan,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="jarvis", description="One OpenAI-compatible endpoint for local models.")
    parser.add_argument("command", nargs="?", default="serve", choices=list(COMMANDS))
    parser.add_argument("--version", action="version", version=__version__)
    return parser
