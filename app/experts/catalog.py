"""What exists: the experts, and what a client's `model` means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, Self

from app.embedding.file import BUILT_IN
from app.errors import UnknownModelError
from app.settings.sections import DEFAULT_MODEL_IDS, STATIC_EMBEDDER_ID
from backends.base import UnsupportedError
from backends.types import EngineConfig, Task

if TYPE_CHECKING:
    from app.settings import Settings

DEFAULT_NAMES = (None, *DEFAULT_MODEL_IDS)
"""What clients write that leave the choice to the server."""

NO_EMBEDDINGS = "No embedding model is configured: set JARVIS_EMBEDDING_MODEL to the path of one"

_NAMED_IN_ERRORS = 20


@dataclass(frozen=True, slots=True)
class Expert:
    """One model under the `id` that clients see, with other names that they may use."""

    id: str
    config: EngineConfig
    aliases: tuple[str, ...] = ()


class Target(NamedTuple):
    """What a client's `model` means: an expert, with one of its LoRA adapters or without."""

    expert: Expert
    adapter: str | None = None

    @property
    def id(self) -> str:
        """The model id that clients see: `expert`, or `expert:adapter`."""
        return self.expert.id if self.adapter is None else f"{self.expert.id}:{self.adapter}"


class Catalog:
    """A fixed map from names to experts and their adapters. `default` means the first expert."""

    def __init__(self, experts: Sequence[Expert]) -> None:
        if not experts:
            raise ValueError("a catalog needs an expert")
        self.experts = tuple(experts)
        self._by_name: dict[str | None, Target] = {}
        names = [(name, target) for expert in experts for name, target in _names(expert)]
        if len(dict(names)) < len(names):
            raise ValueError(f"two experts share a name: {', '.join(sorted(name for name, _ in names))}")
        self._by_name.update(names)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The model that writes, and the embedding model that the settings name, or the one that ships."""
        configs = [settings.engine_config(), settings.embedding_config() or _static(settings)]
        return cls([Expert(config.alias, config) for config in configs])

    def targets(self, task: Task | None = None) -> Iterator[Target]:
        """All that can be asked for (a task), under the ids that clients see: each expert, then its adapters."""
        for expert in self.experts:
            if task in (None, expert.config.task):
                yield Target(expert)
                yield from (Target(expert, adapter) for adapter in expert.config.adapters)

    def locate(self, model: str | None, task: Task | None = None) -> Target:
        """The expert, and the adapter if any, that a request's `model` means.

        With a task, `default` means the first expert that is made for it.

        Raises:
            UnknownModelError: nothing has this name, or nothing is made for the task.
            UnsupportedError: what has this name is made for another task.
        """
        target = self._by_name.get(model)
        if target is None and model in DEFAULT_NAMES:
            target = next(self.targets(task), None)
        if target is None:
            raise UnknownModelError(self._not_found(model, task), param="model")
        if task not in (None, target.expert.config.task):
            raise UnsupportedError(f"The model '{target.id}' {self._other_task(task)}", param="model")
        return target

    def _not_found(self, model: str | None, task: Task | None) -> str:
        known = [target.id for target in islice(self.targets(task), _NAMED_IN_ERRORS + 1)]
        if not known:
            return NO_EMBEDDINGS
        listed = ", ".join([*known[:_NAMED_IN_ERRORS], *("…" for _ in known[_NAMED_IN_ERRORS:])])
        return f"There is no model '{str(model)[:200]}'; there is {listed}"

    def _other_task(self, task: Task | None) -> str:
        """What is wrong with a model that is not made for the task, and which is."""
        if task == "generate":
            return "makes embeddings and writes no text"
        made = next(self.targets(task), None)
        return f"makes no embeddings; '{made.id}' does" if made else f"makes no embeddings. {NO_EMBEDDINGS}"

    def resolve(self, model: str | None) -> Expert:
        """The expert alone, where adapters make no difference; raises as `locate` does."""
        return self.locate(model).expert


def _static(settings: Settings) -> EngineConfig:
    return EngineConfig(
        engine="static", model=str(BUILT_IN), alias=STATIC_EMBEDDER_ID, cache_dir=settings.cache_dir, task="embed"
    )


def _names(expert: Expert) -> Iterator[tuple[str, Target]]:
    """Every name that a client may write for an expert or for it with one of its adapters."""
    for name in (expert.id, *expert.aliases):
        yield name, Target(expert)
        yield from ((f"{name}:{adapter}", Target(expert, adapter)) for adapter in expert.config.adapters)
