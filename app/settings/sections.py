"""What can be set: one frozen section per concern, every variable with its name, default, bounds and description.

The name that the environment uses is the field's validation alias, so the variable can be searched for as users write
it. `.env.example` and the README's table are written from these fields (`app.settings.reference`).
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from backends.types import EngineName

PROJECT_ROOT = Path(__file__).resolve().parents[2]
BUNDLED_MODEL = PROJECT_ROOT / "models" / "tiny" / "jarvis-tiny-q8_0.gguf"
"""The demo model that ships with the project and is served when no other is named."""


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _split(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    items = tuple(item for item in map(str.strip, value.split(",")) if item)
    if not items:
        raise ValueError("nothing stands between the commas")
    return items


def _expand(value: Any) -> Any:
    return str(Path(value).expanduser()) if isinstance(value, str) else value


def _adapters(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    adapters: dict[str, str] = {}
    for item in _split(value):
        name, equals, path = (part.strip() for part in item.partition("="))
        if not (equals and path):
            raise ValueError(f"'{item[:200]}' is not name=path; several are separated by commas")
        if not _ADAPTER_NAME.fullmatch(name):
            raise ValueError(f"'{name[:200]}' is no adapter's name: up to 64 of letters, digits, '.', '_' and '-'")
        if name in adapters:
            raise ValueError(f"two adapters are called '{name}'")
        adapters[name] = _expand(path)
    return adapters


def _canonical(name: str) -> str:
    from backends.chat_formats.builtin import canonical_name

    return canonical_name(name)


_ADAPTER_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
AnyCase = BeforeValidator(_lower)
CommaSeparated = BeforeValidator(_split)
UserPath = Annotated[str, BeforeValidator(_expand)]
Engine = Annotated[EngineName, AnyCase]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], AnyCase]
EngineLogLevel = Annotated[Literal["debug", "info", "warning", "error", "none"], AnyCase]
KernelLevel = Annotated[Literal["auto", "numpy", "scalar", "avx2", "vnni", "neon", "dotprod", "i8mm"], AnyCase]
ChatFormatName = Annotated[str, AfterValidator(_canonical)]
Adapters = Annotated[dict[str, str], BeforeValidator(_adapters)]

STATIC_EMBEDDER_ID = "jarvis-static"
"""The id of the embedding that ships, which serves where no embedding model is named."""

DEFAULT_MODEL_IDS = ("default", "auto")
"""Model ids that leave the choice to the server, so that no model can have one for its own."""


def check_alias(name: str, alias: str) -> None:
    """Refuse a model id that no request could mean or no client could write; `name` is the variable that sets it.

    Ids that come from the name of a file are checked as well: they cannot be used either.

    Raises:
        ValueError: with the variable and what is wrong.
    """
    if alias.lower() in DEFAULT_MODEL_IDS:
        wrong = "means whichever model is the default"
    elif not alias.strip():
        wrong = "is blank"
    elif not alias.isprintable():
        wrong = "has control characters or others that cannot be shown"
    else:
        return
    raise ValueError(f"{name}={alias[:200]!r} is no id for a model: it {wrong}; set {name} to another one")


def variable(name: str, default: Any, description: str, *, unset: str | None = None, **bounds: Any) -> Any:
    """A field that is read from the variable `name`.

    A callable `default` is computed (from the fields before it, if it takes an argument). `unset` says in words what
    happens without a value, where the default is not a value of its own. `bounds` are pydantic's (`ge`, `le`, …).
    """
    given = {"default_factory": default} if callable(default) else {"default": default}
    return Field(validation_alias=name, description=description, json_schema_extra={"unset": unset}, **given, **bounds)


class Section(BaseModel):
    """Base of the sections: immutable; built from variable names by the loader and from field names in code."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True, hide_input_in_errors=True
    )


class ModelSettings(Section):
    """The model, its engine, and how much of it one request may use."""

    engine: Engine = variable("JARVIS_INFERENCE_ENGINE", "llama_cpp", "What generates.")
    name: UserPath = variable(
        "JARVIS_MODEL_NAME",
        lambda: str(BUNDLED_MODEL),
        "The model: path of a GGUF file; for vllm also a Hugging Face folder, or a name on the hub. "
        "A relative path counts from the project's folder.",
        unset="the bundled demo model",
    )
    alias: str = variable(
        "JARVIS_MODEL_ALIAS",
        lambda data: "stub" if data["engine"] == "stub" else Path(data["name"]).name.removesuffix(".gguf"),
        "The model id that clients see.",
        unset="the model's file name without .gguf, or `stub`",
    )
    chat_format: ChatFormatName | None = variable(
        "JARVIS_CHAT_FORMAT",
        None,
        "How messages become a prompt: a built-in format (chatml, llama3, mistral, gemma, phi3, …) or `custom`.",
        unset="the model's own template",
    )
    chat_format_file: UserPath | None = variable(
        "JARVIS_CHAT_FORMAT_FILE",
        None,
        "The file that describes the `custom` chat format (docs/chat-formats.md).",
        unset="none",
    )
    adapters: Adapters = variable(
        "JARVIS_LORA_ADAPTERS",
        {},
        "LoRA adapters of the model as name=path with commas between them; requests choose one as model `alias:name`.",
        unset="none",
    )
    context_window: int | None = variable(
        "JARVIS_MODEL_CONTEXT_WINDOW",
        None,
        "Tokens that one request may use, prompt and answer together.",
        unset="what the model was trained for, at most 8192",
        ge=64,
        le=16_777_216,
    )
    max_tokens: int | None = variable(
        "JARVIS_MAX_TOKENS",
        None,
        "Length of an answer, in tokens, when the request does not say.",
        unset="up to the context window",
        ge=1,
    )
    max_tokens_limit: int | None = variable(
        "JARVIS_MAX_TOKENS_LIMIT",
        None,
        "Longest answer, in tokens, that a request may ask for.",
        unset="the context window",
        ge=1,
    )

    @property
    def bundled(self) -> bool:
        """Whether this is the demo model that ships with the project."""
        return Path(self.name) == BUNDLED_MODEL

    @model_validator(mode="after")
    def _alias_can_be_used(self) -> Self:
        check_alias("JARVIS_MODEL_ALIAS", self.alias)
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.chat_format == "custom" and self.chat_format_file is None:
            raise ValueError("JARVIS_CHAT_FORMAT='custom' needs JARVIS_CHAT_FORMAT_FILE")
        if self.chat_format_file is not None and self.chat_format not in (None, "custom"):
            raise ValueError(f"JARVIS_CHAT_FORMAT_FILE is not read with JARVIS_CHAT_FORMAT='{self.chat_format}'")
        if self.max_tokens and self.max_tokens_limit and self.max_tokens > self.max_tokens_limit:
            raise ValueError(
                f"JARVIS_MAX_TOKENS='{self.max_tokens}' is above JARVIS_MAX_TOKENS_LIMIT='{self.max_tokens_limit}'"
            )
        return self


class EmbeddingSettings(Section):
    """The embedding model, beside the one that writes."""

    name: UserPath | None = variable(
        "JARVIS_EMBEDDING_MODEL",
        None,
        "The model that turns texts into vectors (`/v1/embeddings`): path of a GGUF file, run by llama.cpp.",
        unset="the small static embedding that ships, as `jarvis-static`",
    )
    alias: str | None = variable(
        "JARVIS_EMBEDDING_ALIAS",
        lambda data: data["name"] and Path(data["name"]).name.removesuffix(".gguf"),
        "The embedding model's id that clients see.",
        unset="the file's name without .gguf",
    )
    context_window: int | None = variable(
        "JARVIS_EMBEDDING_CONTEXT_WINDOW",
        None,
        "Tokens that one input of an embedding may have.",
        unset="what the embedding model was trained for, at most 8192",
        ge=16,
        le=16_777_216,
    )

    @model_validator(mode="after")
    def _has_a_model(self) -> Self:
        if self.name is None and (self.alias is not None or self.context_window is not None):
            unread = "JARVIS_EMBEDDING_ALIAS" if self.alias is not None else "JARVIS_EMBEDDING_CONTEXT_WINDOW"
            raise ValueError(f"{unread} is not read without JARVIS_EMBEDDING_MODEL")
        if self.alias is not None:
            check_alias("JARVIS_EMBEDDING_ALIAS", self.alias)
        return self


class ServerSettings(Section):
    """The HTTP server."""

    host: str = variable(
        "JARVIS_HOST", "127.0.0.1", "Address to listen on. Anything but a loopback address needs JARVIS_API_KEYS."
    )
    port: int = variable("JARVIS_PORT", 8000, "Port to listen on; 0 picks a free one.", ge=0, le=65535)
    api_keys: Annotated[tuple[SecretStr, ...], CommaSeparated] = variable(
        "JARVIS_API_KEYS",
        (),
        "Keys, comma separated, one of which clients must send as `Authorization: Bearer …`.",
        unset="no key is asked for",
    )
    allow_insecure: bool = variable(
        "JARVIS_ALLOW_INSECURE", False, "Allow a JARVIS_HOST that others can reach without any key."
    )
    header_wait_s: float = variable(
        "JARVIS_HEADER_WAIT_S",
        10.0,
        "Seconds that a stream's headers wait for its first content, so that a failure is still a status code.",
        ge=0,
        le=600,
    )
    drain_s: float = variable(
        "JARVIS_DRAIN_S", 30.0, "Seconds that running requests get to finish after SIGTERM or SIGINT.", ge=0, le=3600
    )
    max_body_bytes: int = variable(
        "JARVIS_MAX_BODY_BYTES", 4_000_000, "Largest request body, in bytes.", ge=1_000, le=1_000_000_000
    )

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach `host`."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @model_validator(mode="after")
    def _refuse_open_door(self) -> Self:
        if not (self.loopback or self.api_keys or self.allow_insecure):
            raise ValueError(
                f"JARVIS_HOST='{self.host}' can be reached from other machines: set JARVIS_API_KEYS, "
                "or JARVIS_ALLOW_INSECURE=1 to serve everybody"
            )
        return self


class LimitSettings(Section):
    """How much clients may ask for at once."""

    max_n: int = variable("JARVIS_MAX_N", 16, "Most choices (`n`) of one request.", ge=1, le=1024)
    max_stop: int = variable("JARVIS_MAX_STOP", 4, "Most stop strings of one request.", ge=1, le=64)
    max_queue: int = variable(
        "JARVIS_MAX_QUEUE", 512, "Requests that run or wait before further ones are refused with 503.", ge=1, le=65_536
    )
    load_wait_s: float = variable(
        "JARVIS_LOAD_WAIT_S", 120.0, "Seconds that a request waits for the model to load.", ge=0, le=86_400
    )


class RoutingSettings(Section):
    """The router, which tells what a request is about."""

    precision: float = variable(
        "JARVIS_ROUTE_PRECISION",
        0.9,
        "Share of the router's answers that must be right: it abstains where it is less certain.",
        ge=0.5,
        le=0.99,
    )
    routes: UserPath | None = variable(
        "JARVIS_ROUTES",
        None,
        "Routes of your own, and which model answers which route: path of a TOML file (docs/routing.md).",
        unset="the built-in domains, which one model answers",
    )
    sticky: bool = variable(
        "JARVIS_ROUTE_STICKY",
        False,
        "Whether a session, named by the header `x-jarvis-session` or the field `user`, keeps its first route.",
    )


class KernelSettings(Section):
    """Kernels: native code of the server's own."""

    level: KernelLevel = variable(
        "JARVIS_KERNELS", "auto", "Instruction set of the kernels: the highest that the processor has, or a lower one."
    )


class LoggingSettings(Section):
    """Logs, on standard error."""

    level: LogLevel = variable("JARVIS_LOG_LEVEL", "info", "Least severe messages that are logged.")
    debug: bool = variable("DEBUG", False, "Log everything, as JARVIS_LOG_LEVEL=debug does.")
    llama_log_level: EngineLogLevel = variable(
        "LLAMA_LOG_LEVEL", "warning", "Least severe messages of llama.cpp itself that are logged."
    )

    @property
    def effective_level(self) -> str:
        """`debug` where DEBUG is set, else `level`."""
        return "debug" if self.debug else self.level
