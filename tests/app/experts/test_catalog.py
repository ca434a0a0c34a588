import pytest
from msgspec import structs

from app.errors import UnknownModelError
from app.experts.catalog import Catalog, Expert, Target
from app.settings import Settings
from app.settings.sections import STATIC_EMBEDDER_ID, ModelSettings
from backends.base import UnsupportedError
from backends.types import EngineConfig

CONFIG = EngineConfig(engine="stub", model="m", alias="m", cache_dir="")
CONFIG_WITH_ADAPTERS = structs.replace(CONFIG, adapters={"sql": "/l/sql.gguf", "fr": "/l/fr.gguf"})
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


VECTORS = Expert("org/vectors", structs.replace(CONFIG, task="embed"), ("vectors",))


@pytest.mark.parametrize("name", [None, "default", "auto", "org/vectors", "vectors"])
def test_an_embedding_model_is_found_by_those_who_want_vectors(name: str | None) -> None:
    catalog = Catalog([CODER, VECTORS, WRITER])
    assert catalog.locate(name, "embed") == Target(VECTORS)
    assert catalog.locate("default") == catalog.locate("default", "generate") == Target(CODER)
    assert catalog.locate("vectors") == Target(VECTORS)


def test_the_default_for_text_is_never_an_embedding_model() -> None:
    assert Catalog([VECTORS, WRITER]).locate(None, "generate") == Target(WRITER)


def test_a_model_is_refused_for_what_it_is_not_made_for() -> None:
    catalog = Catalog([CODER, VECTORS])
    with pytest.raises(UnsupportedError, match="'org/coder' makes no embeddings; 'org/vectors' does") as caught:
        catalog.locate("coder", "embed")
    assert caught.value.param == "model"
    with pytest.raises(UnsupportedError, match="'org/vectors' makes embeddings and writes no text") as caught:
        catalog.locate("vectors", "generate")
    assert caught.value.param == "model"


def test_an_unknown_name_is_refused_with_the_models_of_its_task() -> None:
    with pytest.raises(UnknownModelError, match="no model 'ada'; there is org/vectors$"):
        Catalog([CODER, VECTORS]).locate("ada", "embed")
    with pytest.raises(UnknownModelError, match="no model 'ada'; there is org/coder$"):
        Catalog([CODER, VECTORS]).locate("ada", "generate")


@pytest.mark.parametrize("name", [None, "default", "ada"])
def test_without_an_embedding_model_the_variable_is_named(name: str | None) -> None:
    with pytest.raises(UnknownModelError, match="set JARVIS_EMBEDDING_MODEL") as caught:
        Catalog([CODER]).locate(name, "embed")
    assert caught.value.param == "model"
    with pytest.raises(UnsupportedError, match="'org/coder' makes no embeddings.*set JARVIS_EMBEDDING_MODEL"):
        Catalog([CODER]).locate("coder", "embed")


ADAPTED = Expert("org/base", CONFIG_WITH_ADAPTERS, ("base",))


@pytest.mark.parametrize("name", ["org/base:sql", "base:sql"])
def test_an_adapter_is_asked_for_behind_a_colon(name: str) -> None:
    catalog = Catalog([CODER, ADAPTED])
    assert catalog.locate(name) == Target(ADAPTED, "sql")
    assert catalog.locate(name).id == "org/base:sql"
    assert catalog.resolve(name) is ADAPTED
    assert catalog.locate("base") == Target(ADAPTED)


def test_all_that_can_be_asked_for_is_listed_adapters_behind_their_model() -> None:
    found = [target.id for target in Catalog([ADAPTED, CODER]).targets()]
    assert found == ["org/base", "org/base:sql", "org/base:fr", "org/coder"]


@pytest.mark.parametrize("name", ["org/base:", "org/base:de", "base:sql:sql", "default:sql", "auto:sql", ":sql", "sql"])
def test_an_unknown_adapter_is_an_unknown_model(name: str) -> None:
    with pytest.raises(UnknownModelError, match="there is org/base, org/base:sql, org/base:fr$"):
        Catalog([ADAPTED]).resolve(name)


def test_a_refusal_does_not_list_hundreds_of_adapters() -> None:
    config = structs.replace(CONFIG, adapters={f"a{number}": "/l" for number in range(100)})
    with pytest.raises(UnknownModelError, match="m:a18, …$"):
        Catalog([Expert("m", config)]).locate("x")


def test_an_adapter_must_not_have_the_name_of_another_expert() -> None:
    with pytest.raises(ValueError, match="share a name"):
        Catalog([ADAPTED, Expert("base:sql", CONFIG)])


def test_the_settings_name_one_expert_and_the_embedding_that_ships_is_another() -> None:
    catalog = Catalog.from_settings(Settings(model=ModelSettings(engine="stub", alias="mine")))
    assert [expert.id for expert in catalog.experts] == ["mine", STATIC_EMBEDDER_ID]
    assert catalog.resolve("mine").config.engine == "stub"
