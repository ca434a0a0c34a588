"""The long-lived objects of the edge, made in the application's lifespan and kept on `app.state`."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import cast

from starlette.requests import Request

from app.dispatch import Dispatcher
from app.experts.catalog import Catalog
from app.orchestrator import LiveMindOrchestrator, Pool
from app.settings import Settings


@dataclass(frozen=True, slots=True)
class AppState:
    """What the routes work with. `started_at` is a wall-clock time in seconds, for `created` fields.

    `began_s` is the same moment on the monotonic clock.
    """

    settings: Settings
    catalog: Catalog
    pool: Pool
    orchestrator: LiveMindOrchestrator
    dispatcher: Dispatcher
    started_at: int
    began_s: float = field(default_factory=time.monotonic)


def state_of(request: Request) -> AppState:
    """The state of the application that serves the request."""
    return cast(AppState, request.app.state.jarvis)
