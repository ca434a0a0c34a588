"""What exists: the experts, and what a client's `model` means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, Self

from app.errors import UnknownModelError
from backends.types import EngineConfig

if TYPE_CHECKING:
    from app.settings import Settings

DEFAULT_NAMES = (None, "default", "auto")
"""What clients write that leave the choice to the server."""

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
    """A fixed map from names to experts and their adapters. The first expert is the one that `default` means."""

    def __init__(self, experts: Sequence[Expert]) -> None:
        if not experts:
            raise ValueError("a catalog needs an expert")
        self.experts = tuple(experts)
        self._by_name: dict[str | None, Target] = dict.fromkeys(DEFAULT_NAMES, Target(self.experts[0]))
        names = [(name, target) for expert in experts for name, target in _names(expert)]
        if len(dict(names)) < len(names):
            raise ValueError(f"two experts share a name: {', '.join(sorted(name for name, _ in names))}")
        self._by_name.update(names)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The one model that the settings name."""
        config = settings.engine_config()
        return cls([Expert(config.alias, config)])

    def targets(self) -> Iterator[Target]:
        """All that can be asked for, under the ids that clients see: each expert, then its adapters."""
        for expert in self.experts:
            yield Target(expert)
            yield from (Target(expert, adapter) for adapter in expert.config.adapters)

    def locate(self, model: str | None) -> Target:
        """The expert, and the adapter if any, that a request's `model` means.

        Raises:
            UnknownModelError: nothing has this name.
        """
        target = self._by_name.get(model)
        if target is None:
            known = [target.id for target in islice(self.targets(), _NAMED_IN_ERRORS + 1)]
            listed = ", ".join([*known[:_NAMED_IN_ERRORS], *("…" for _ in known[_NAMED_IN_ERRORS:])])
            raise UnknownModelError(f"There is no model '{str(model)[:200]}'; there is {listed}", param="model")
        return target

    def resolve(self, model: str | None) -> Expert:
        """The expert alone, where adapters make no difference; raises as `locate` does."""
        return self.locate(model).expert


def _names(expert: Expert) -> Iterator[tuple[str, Target]]:
    """Every name that a client may write for an expert or for it with one of its adapters."""
    for name in (expert.id, *expert.aliases):
        yield name, Target(expert)
        yield from ((f"{name}:{adapter}", Target(expert, adapter)) for adapter in expert.config.adapters)
