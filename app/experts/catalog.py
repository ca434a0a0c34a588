"""What exists: the experts, and what a client's `model` means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from app.errors import UnknownModelError
from backends.types import EngineConfig

if TYPE_CHECKING:
    from app.settings import Settings

DEFAULT_NAMES = (None, "default", "auto")
"""What clients write that leave the choice to the server."""


@dataclass(frozen=True, slots=True)
class Expert:
    """One model under the `id` that clients see, with other names that they may use."""

    id: str
    config: EngineConfig
    aliases: tuple[str, ...] = ()


class Catalog:
    """A fixed map from names to experts. The first expert is the one that `default` means."""

    def __init__(self, experts: Sequence[Expert]) -> None:
        if not experts:
            raise ValueError("a catalog needs an expert")
        self.experts = tuple(experts)
        self._by_name: dict[str | None, Expert] = dict.fromkeys(DEFAULT_NAMES, self.experts[0])
        names = [(name, expert) for expert in experts for name in (expert.id, *expert.aliases)]
        if len(dict(names)) < len(names):
            raise ValueError(f"two experts share a name: {', '.join(sorted(name for name, _ in names))}")
        self._by_name.update(names)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The one model that the settings name."""
        config = settings.engine_config()
        return cls([Expert(config.alias, config)])

    def resolve(self, model: str | None) -> Expert:
        """The expert that a request's `model` means.

        Raises:
            UnknownModelError: nothing has this name.
        """
        expert = self._by_name.get(model)
        if expert is None:
            known = ", ".join(expert.id for expert in self.experts)
            raise UnknownModelError(f"There is no model '{str(model)[:200]}'; there is {known}", param="model")
        return expert
