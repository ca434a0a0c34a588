import pytest

from app.errors import UnknownModelError
from app.experts.catalog import Catalog, Expert
from app.settings import Settings
from app.settings.sections import ModelSettings
from backends.types import EngineConfig

CONFIG = EngineConfig(engine="stub", model="m", alias="m", cache_dir="")
CODER = Expert("org/coder", CONFIG, ("coder", "gpt-4o"))
WRITER = Expert("writer", CONFIG)


@pytest.mark.parametrize("name", [None, "default", "auto", "org/coder", "coder", "gpt-4o"])
def test_an_expert_is_found_by_every_name(name: str | None) -> None:
    assert Catalog([CODER, WRITER]).resolve(name) is CODER


def test_other_experts_are_found_by_theirs() -> None:
    assert Catalog([CODER, WRITER]).resolve("writer") is WRITER


def test_a_model_may_really_be_called_auto() -> None:
    auto = Expert("auto", CONFIG)
    assert Catalog([CODER, auto]).resolve("auto") is auto


@pytest.mark.parametrize("name", ["", "Coder", "x" * 10_000])
def test_an_unknown_name_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(UnknownModelError, match="there is org/coder, writer") as caught:
        Catalog([CODER, WRITER]).resolve(name)
    assert caught.value.param == "model" and len(caught.value.message) < 400


@pytest.mark.parametrize("experts", [[], [CODER, CODER], [CODER, Expert("coder", CONFIG)]])
def test_names_are_unique_and_there_is_at_least_one(experts: list[Expert]) -> None:
    with pytest.raises(ValueError):
        Catalog(experts)


def test_the_settings_name_one_expert() -> None:
    catalog = Catalog.from_settings(Settings(model=ModelSettings(engine="stub", alias="mine")))
    assert [expert.id for expert in catalog.experts] == ["mine"]
    assert catalog.resolve("mine").config.engine == "stub"
