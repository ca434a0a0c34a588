"""Who answers: explicit model, override, session, router, default."""

from __future__ import annotations

from typing import Any

import pytest

from app.dispatch import Asked, Dispatcher
from app.errors import UnknownModelError
from app.experts.catalog import Catalog, Expert
from app.routing.router import IncrementalSemanticRouter
from app.routing.weights import Weights
from backends.base import InvalidRequestError
from backends.types import EngineConfig
from tests.app.routing.small import TEXTS, model

CODE, TALK = TEXTS[4][0], TEXTS[0][0]
NAMES = ("talker", "coder")
CATALOG = Catalog([Expert(name, EngineConfig(engine="stub", model=name, alias=name, cache_dir="")) for name in NAMES])


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def build() -> IncrementalSemanticRouter:
    return IncrementalSemanticRouter(Weights(model()), {"coding": "coder"}, "talker", 0.5)


def dispatcher(sticky: bool = False, clock: Clock | None = None) -> Dispatcher:
    return Dispatcher(CATALOG, build, sticky, clock or Clock())


async def who(found: Dispatcher, *said: str, model: str | None = None, **fields: Any) -> tuple[str, str, str | None]:
    routed = await found.route(Asked(model, said, **fields))
    return routed.expert, routed.reason, routed.route


async def test_the_router_chooses() -> None:
    assert await who(dispatcher(), CODE) == ("coder", "routed", "coding")
    assert await who(dispatcher(), TALK, model="auto") == ("talker", "routed", "general")


async def test_an_explicit_model_comes_first() -> None:
    found = dispatcher(sticky=True)
    await who(found, CODE, session="s")
    assert await who(found, CODE, model="talker", expert="coder", session="s") == ("talker", "explicit", None)


async def test_an_override_comes_before_the_session() -> None:
    found = dispatcher(sticky=True)
    await who(found, CODE, session="s")
    assert await who(found, CODE, expert="talker", session="s") == ("talker", "override", None)
    assert await who(found, TALK, route="coding") == ("coder", "override", "coding")
    assert await who(found, TALK, route="multimodal_expert") == ("talker", "override", "multimodal")
    assert await who(found, TALK, route="coding", expert="talker") == ("talker", "override", "coding")


async def test_an_override_that_means_nothing_is_refused() -> None:
    with pytest.raises(UnknownModelError):
        await dispatcher().route(Asked(None, (CODE,), expert="nobody"))
    with pytest.raises(InvalidRequestError, match="There is no route 'cooking'; there is general") as caught:
        await dispatcher().route(Asked(None, (CODE,), route="cooking"))
    assert caught.value.param == "x-jarvis-route"


async def test_a_long_text_is_routed_as_a_short_one() -> None:
    assert await who(dispatcher(), f"{CODE} " * 400) == ("coder", "routed", "coding")


async def test_an_unknown_route_is_refused_beside_an_expert() -> None:
    with pytest.raises(InvalidRequestError):
        await dispatcher().route(Asked(None, (CODE,), expert="coder", route="cooking"))


async def test_a_session_keeps_the_route_it_got() -> None:
    found = dispatcher(sticky=True)
    assert await who(found, CODE, session="s") == ("coder", "routed", "coding")
    assert await who(found, TALK, session="s") == ("coder", "sticky", "coding")
    assert await who(found, TALK, session="other") == ("talker", "routed", "general")
    assert await who(found, TALK) == ("talker", "routed", "general")


async def test_a_session_is_forgotten_when_nothing_is_heard_of_it() -> None:
    clock = Clock()
    found = dispatcher(sticky=True, clock=clock)
    await who(found, CODE, session="s")
    clock.now_s = 3601.0
    assert (await who(found, TALK, session="s"))[1] == "routed"


async def test_only_a_decision_binds_a_session() -> None:
    found = dispatcher(sticky=True)
    assert (await who(found, "?!", session="s"))[1] == "abstain"
    assert (await who(found, session="s"))[1] == "fallback"
    assert (await who(found, CODE, session="s"))[1] == "routed"


async def test_sessions_bind_only_where_that_was_asked_for() -> None:
    found = dispatcher()
    await who(found, CODE, session="s")
    assert (await who(found, TALK, session="s"))[1] == "routed"


async def test_without_text_the_default_answers() -> None:
    assert await who(dispatcher()) == ("talker", "fallback", None)


async def test_the_router_is_built_once() -> None:
    built = []

    def once() -> IncrementalSemanticRouter:
        built.append(build())
        return built[-1]

    found = Dispatcher(CATALOG, once)
    found.start()
    assert await found.router() is await found.router() is built[0]
    await found.close()
    assert len(built) == 1


async def test_a_router_that_could_not_be_built_is_built_again(caplog: pytest.LogCaptureFixture) -> None:
    tries = []

    def second_time() -> IncrementalSemanticRouter:
        tries.append(1)
        if len(tries) == 1:
            raise OSError("no weights")
        return build()

    found = Dispatcher(CATALOG, second_time)
    with pytest.raises(OSError, match="no weights"):
        await found.router()
    assert "the router cannot be built: OSError('no weights')" in caplog.text
    assert await who(found, CODE) == ("coder", "routed", "coding")
    await found.close()


async def test_a_router_that_cannot_be_built_is_said_to_whoever_asks() -> None:
    def fails() -> IncrementalSemanticRouter:
        raise OSError("no weights")

    found = Dispatcher(CATALOG, fails)
    found.start()
    with pytest.raises(OSError, match="no weights"):
        await found.route(Asked(None, (CODE,)))
    assert await who(found, model="coder") == ("coder", "explicit", None)
    await found.close()
