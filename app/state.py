"""The long-lived objects of the edge, made in the application's lifespan and kept on `app.state`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from starlette.requests import Request

from app.experts.catalog import Catalog
from app.orchestrator import LiveMindOrchestrator, Pool
from app.settings import Settings


@dataclass(frozen=True, slots=True)
class AppState:
    """What the routes work with. `started_at` is a wall-clock time in seconds, for `created` fields."""

    settings: Settings
    catalog: Catalog
    pool: Pool
    orchestrator: LiveMindOrchestrator
    started_at: int


def state_of(request: Request) -> AppState:
    """The state of the application that serves the request."""
    return cast(AppState, request.app.state.jarvis)
