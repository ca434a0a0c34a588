"""Who answers a request, and why: the client's word before the session's, the session's before the router's."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from app.experts.catalog import DEFAULT_NAMES, Catalog
from app.pins import Pins
from app.routing.decisions import Decision, Reason, canonical
from backends.base import InvalidRequestError

if TYPE_CHECKING:
    from app.routing.router import IncrementalSemanticRouter

logger = logging.getLogger(__name__)

MOST_ROUTED = 32_768
"""Characters of a text that the router looks at before the answer begins."""
AT_ONCE = 8_192
"""Characters that are routed before the event loop has its turn; more of them go to a thread."""
EXPERT_HEADER, ROUTE_HEADER, SESSION_HEADER = "x-jarvis-expert", "x-jarvis-route", "x-jarvis-session"


class Asked(msgspec.Struct, frozen=True):
    """What a request says of who shall answer it.

    `said` are the user's messages, oldest first, without any where there is no text; `expert` and `route` are the
    override's, `session` is the client's name for what belongs together.
    """

    model: str | None
    said: tuple[str, ...] = ()
    expert: str | None = None
    route: str | None = None
    session: str | None = None


class Routed(msgspec.Struct, frozen=True):
    """Who answers, by its id, and why. `decision` is the router's, where it was asked."""

    expert: str
    reason: Reason
    route: str | None = None
    decision: Decision | None = None


def _log_failure(built: asyncio.Future[IncrementalSemanticRouter]) -> None:
    if not built.cancelled() and (error := built.exception()) is not None:
        logger.error("the router cannot be built: %r; requests that name no model fail", error)


class Dispatcher:
    """Chooses the expert of each request. `build` makes the router, in a thread, since that takes a while."""

    def __init__(
        self,
        catalog: Catalog,
        build: Callable[[], IncrementalSemanticRouter],
        sticky: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalog = catalog
        self._build = build
        self._sticky = sticky
        self._clock = clock
        self._pins: Pins[Routed] = Pins()
        self._router: asyncio.Future[IncrementalSemanticRouter] | None = None

    def start(self) -> None:
        """Begin to build the router, and return; again, where that has failed before."""
        if self._router is None or (self._router.done() and self._router.exception() is not None):
            self._router = asyncio.get_running_loop().run_in_executor(None, self._build)
            self._router.add_done_callback(_log_failure)

    async def router(self) -> IncrementalSemanticRouter:
        """The router, once it is built."""
        self.start()
        assert self._router is not None
        return await asyncio.shield(self._router)

    async def close(self) -> None:
        """Wait for the thread that builds, which cannot be stopped."""
        if self._router is not None:
            await asyncio.wait((self._router,))

    async def route(self, asked: Asked) -> Routed:
        """Explicit model, override by header, session, router, default: the first that says something.

        Raises:
            UnknownModelError: there is no such model.
            UnsupportedError: it writes no text.
            InvalidRequestError: there is no such route.
        """
        target = self._catalog.locate(asked.model, "generate")
        if asked.model not in DEFAULT_NAMES:
            return Routed(target.id, "explicit")
        if asked.expert is not None or asked.route is not None:
            return await self._overridden(asked)
        session = asked.session if self._sticky else None
        if session is not None and (pinned := self._pins.get(session, self._clock())) is not None:
            return pinned
        if not asked.said:
            return Routed(target.id, "fallback")
        *before, now = asked.said
        router = await self.router()
        if sum(map(len, asked.said)) > AT_ONCE:
            decision = await asyncio.to_thread(router.route, now, before)
        else:
            decision = router.route(now, before)
        if session is not None and decision.route is not None:
            self._pins.keep(session, Routed(decision.expert, "sticky", decision.route), self._clock())
        return Routed(decision.expert, decision.reason, decision.route, decision)

    async def _overridden(self, asked: Asked) -> Routed:
        expert = None if asked.expert is None else self._catalog.locate(asked.expert, "generate").id
        if asked.route is None:
            assert expert is not None
            return Routed(expert, "override")
        router = await self.router()
        of_route = router.expert(asked.route)
        if of_route is None:
            raise InvalidRequestError(
                f"There is no route '{asked.route[:200]}'; there is {', '.join(router.names)}", param=ROUTE_HEADER
            )
        return Routed(expert or of_route, "override", canonical(asked.route))
