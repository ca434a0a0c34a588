"""The application: routes, middleware and exception handlers, given as lists to one constructor."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Route

from app import __version__
from app.api import chat, completions, embeddings, health, models, openapi, route, stats, tokens
from app.dispatch import Dispatcher
from app.errors import RequestError, handle, handle_unexpected
from app.experts.catalog import Catalog
from app.experts.pool import EnginePool
from app.intake.body import BodyLimits
from app.intake.keys import ApiKeys
from app.intake.request_id import RequestId
from app.orchestrator import LiveMindOrchestrator, Pool
from app.routers import router_for
from app.settings import Settings
from app.state import AppState
from backends.base import EngineError

ROUTES = (
    Route("/v1/chat/completions", chat.chat_completions, methods=["POST"]),
    Route("/v1/completions", completions.completions, methods=["POST"]),
    Route("/v1/embeddings", embeddings.embeddings, methods=["POST"]),
    Route("/v1/route", route.route, methods=["POST"]),
    Route("/v1/models", models.list_models),
    Route("/v1/models/{id:path}", models.show_model),
    Route("/tokenize", tokens.tokenize, methods=["POST"]),
    Route("/detokenize", tokens.detokenize, methods=["POST"]),
    Route("/stats", stats.stats),
    Route("/health", health.health),
    Route("/health/live", health.live),
    Route("/health/ready", health.ready),
    Route("/", health.root),
)


class Edge(FastAPI):
    """FastAPI with routes that decode their own bodies, and so with a document of its own making."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, made at the first call."""
        self.openapi_schema = self.openapi_schema or openapi.document()
        return self.openapi_schema


def create_app(settings: Settings, pool: Pool | None = None) -> Edge:
    """The edge as an ASGI application. `pool` replaces the one that the settings describe."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        catalog = Catalog.from_settings(settings)
        engines = EnginePool.from_settings(settings, catalog) if pool is None else pool
        dispatcher = Dispatcher(catalog, partial(router_for, settings, catalog), settings.routing.sticky)
        orchestrator = LiveMindOrchestrator(catalog, engines)
        app.state.jarvis = AppState(settings, catalog, engines, orchestrator, dispatcher, started_at=int(time.time()))
        dispatcher.start()  # beside the engines: the first request that is routed need not wait for NumPy and a fit
        await engines.start()
        try:
            yield
        finally:
            await dispatcher.close()
            await engines.close()

    return Edge(
        title="Jarvis LLM Proxy",
        version=__version__,
        docs_url=None,  # its page would load scripts from the network
        redoc_url=None,
        redirect_slashes=False,  # an unknown path is a 404 in the envelope, with or without a slash
        routes=list(ROUTES),
        middleware=[
            Middleware(RequestId),
            Middleware(ApiKeys, keys=settings.server.api_keys),
            Middleware(BodyLimits, max_bytes=settings.server.max_body_bytes),
        ],
        exception_handlers={
            EngineError: handle,
            RequestError: handle,
            HTTPException: handle,
            Exception: handle_unexpected,
        },
        lifespan=lifespan,
    )
