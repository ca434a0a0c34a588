"""The settings: the only room that reads the environment.

`Settings.load()` turns `JARVIS_*` variables into one frozen value that is passed to whoever needs it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from msgspec.structs import replace
from pydantic import PrivateAttr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from app.settings.llama import LlamaSettings
from app.settings.reading import (
    PREFIX,
    FlatVariables,
    SettingsError,
    Variables,
    bad_values,
    is_secret_name,
    unknown_names,
)
from app.settings.sections import (
    PROJECT_ROOT,
    STATIC_EMBEDDER_ID,
    EmbeddingSettings,
    KernelSettings,
    LimitSettings,
    LoggingSettings,
    ModelSettings,
    RoutingSettings,
    ServerSettings,
    UserPath,
    variable,
)
from app.settings.vllm import VLLMSettings, vllm_problem
from app.settings.vllm_machine import CALM, tuning
from backends.types import EngineConfig, EngineName, LlamaOptions

__all__ = ["Settings", "SettingsError", "Variables"]

PATIENCE_OF_THREADS = {"GOMP_SPINCOUNT": "2000"}
"""How long OpenMP's threads spin when they wait for each other, where two engines may compute at the same time and the
user does not say otherwise. By default it is a hundred times as long. That is best for an engine with the cores to
itself; where another one takes a core, all others of the first would wait with theirs for a whole time slice."""


class Settings(BaseSettings):
    """The whole configuration. `Settings(...)` takes what it is given; only `load` looks at the environment."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True, hide_input_in_errors=True
    )

    model: ModelSettings = ModelSettings()
    server: ServerSettings = ServerSettings()
    embedding: EmbeddingSettings = EmbeddingSettings()
    llama: LlamaSettings = LlamaSettings()
    vllm: VLLMSettings = VLLMSettings()
    limits: LimitSettings = LimitSettings()
    routing: RoutingSettings = RoutingSettings()
    kernels: KernelSettings = KernelSettings()
    logging: LoggingSettings = LoggingSettings()
    cache_dir: UserPath = variable(
        "JARVIS_CACHE_DIR",
        lambda: os.path.expanduser("~/.cache/jarvis"),
        "Folder for what is built or downloaded once.",
        unset="~/.cache/jarvis",
    )
    _from_file: dict[str, str] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _vllm_can_be_told(self) -> Self:
        if self.model.engine == "vllm" and (problem := vllm_problem(self.model, self.llama, self.vllm)):
            raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _models_have_names_of_their_own(self) -> Self:
        taken = {self.model.alias, *(f"{self.model.alias}:{adapter}" for adapter in self.model.adapters)}
        embedding, hint = self.embedding.alias, "set JARVIS_EMBEDDING_ALIAS or JARVIS_MODEL_ALIAS"
        if embedding is None:
            embedding, hint = STATIC_EMBEDDER_ID, "it is the id of the embedding that ships; set JARVIS_MODEL_ALIAS"
        if embedding in taken:
            raise ValueError(f"two models are called '{embedding}': {hint}")
        return self

    @classmethod
    def settings_customise_sources(cls, *_: Any, **sources: Any) -> tuple[PydanticBaseSettingsSource, ...]:
        """No source but the arguments: what is made in code or in a test does not depend on the environment."""
        return (sources["init_settings"],)

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, env_file: str | None = ".env") -> Self:
        """The settings from `environ` (default: this process's) over `env_file`.

        Raises:
            SettingsError: with every unknown name and bad value there is.
        """
        return cls.from_variables(Variables.read(environ, env_file))

    @classmethod
    def from_variables(cls, variables: Variables) -> Self:
        """The settings from variables that were read before; raises as `load` does."""
        problems = unknown_names(cls, variables)
        try:
            settings = cls(**FlatVariables(cls, variables)())
        except ValidationError as error:
            raise SettingsError(problems + bad_values(cls, variables, error)) from None
        if problems:
            raise SettingsError(problems)
        settings._from_file = variables.from_file()
        return settings

    def engine_config(self) -> EngineConfig:
        """What the engine worker is told."""
        model = self.model
        return EngineConfig(
            engine=model.engine,
            model=model.name,
            alias=model.alias,
            cache_dir=self.cache_dir,
            chat_format=model.chat_format,
            chat_format_file=model.chat_format_file,
            context_window=self._context_window(),
            adapters=model.adapters,
            kernels=self.kernels.level,
            log_level=self.logging.effective_level,
            engine_log_level=self.logging.llama_log_level,
            llama=LlamaOptions(**self.llama.model_dump()),
            vllm=self.vllm.options(adapters=bool(model.adapters)),
        )

    def _context_window(self) -> int | None:
        own = self.vllm.max_model_len if self.model.engine == "vllm" else None
        return own or self.model.context_window

    def embedding_config(self) -> EngineConfig | None:
        """What the worker of the embedding model is told, if there is one."""
        if self.embedding.name is None:
            return None
        return replace(
            self.engine_config(),
            engine="stub" if self.model.engine == "stub" else "llama_cpp",
            task="embed",
            model=self.embedding.name,
            alias=self.embedding.alias,
            chat_format=None,
            chat_format_file=None,
            context_window=self.embedding.context_window,
            adapters={},
        )

    def interpreter(self, engine: EngineName) -> str:
        """The Python that a worker with this engine runs."""
        return self.vllm.python if engine == "vllm" else sys.executable

    def worker_environment(
        self, environ: Mapping[str, str] | None = None, engine: EngineName = "llama_cpp"
    ) -> dict[str, str]:
        """`environ` (default: this process's) as an engine worker may see it: no `JARVIS_*`, no keys, no secrets.

        Other variables of the `.env` file (`CUDA_VISIBLE_DEVICES`, `OMP_NUM_THREADS`, …) are added, and what makes the
        engine fit the machine (`app.settings.vllm_machine`), where neither says otherwise.
        """
        given = self._from_file | dict(os.environ if environ is None else environ)
        if self.embedding.name is not None and "OMP_WAIT_POLICY" not in given:
            given = PATIENCE_OF_THREADS | given
        kept = {name: value for name, value in given.items() if not (name.startswith(PREFIX) or is_secret_name(name))}
        if engine != "vllm":
            return kept
        return kept | {name: value for name, value in self._vllm_environment(given).items() if not kept.get(name)}

    def vllm_tuning(self, environ: Mapping[str, str] | None = None) -> dict[str, str]:
        """The variables that a vLLM worker gets on this machine because nobody has set them."""
        given = self._from_file | dict(os.environ if environ is None else environ)
        return {name: value for name, value in tuning().items() if not given.get(name)}

    def _vllm_environment(self, given: Mapping[str, str]) -> dict[str, str]:
        token = {"HF_TOKEN": given["HF_TOKEN"]} if given.get("HF_TOKEN") and self._downloads else {}
        level = {"VLLM_LOGGING_LEVEL": "DEBUG" if self.logging.effective_level == "debug" else "ERROR"}
        return CALM | level | token | tuning()

    @property
    def _downloads(self) -> bool:
        """Whether the model is a name on a hub, so that the worker may need the user's token."""
        return not (self.model.name.endswith(".gguf") or Path(PROJECT_ROOT, self.model.name).exists())
