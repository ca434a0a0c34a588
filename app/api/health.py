"""How the server is: for people, for probes, and the greeting at `/`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from app import __version__
from app.api.models import json_response
from app.experts.supervisor import ExpertStatus
from app.state import state_of

ENDPOINTS = (
    "POST /v1/chat/completions",
    "POST /v1/completions",
    "POST /v1/embeddings",
    "POST /v1/route",
    "GET /v1/models",
    "GET /v1/models/{id}",
    "POST /tokenize",
    "POST /detokenize",
    "GET /stats",
    "GET /health",
    "GET /health/live",
    "GET /health/ready",
    "GET /openapi.json",
)


async def root(_: Request) -> Response:
    """Who answers here: some clients probe `/` before anything else."""
    return json_response({"name": "Jarvis LLM Proxy", "version": __version__, "endpoints": ENDPOINTS})


async def health(request: Request) -> Response:
    """The state of the whole, in one word, and the models."""
    experts = state_of(request).pool.status()
    return json_response(
        {
            "status": overall(experts),
            "models_loaded": [expert.id for expert in experts if expert.state == "ready"],
            "models_available": [expert.id for expert in experts],
            "version": __version__,
        }
    )


async def live(_: Request) -> Response:
    """The process answers."""
    return json_response({"status": "live"})


async def ready(request: Request) -> Response:
    """200 if the model that writes by default answers, else 503; always with each model's state and the reason for it.

    A server with an embedding model is not ready because that small one is loaded: chats would still wait.
    """
    state = state_of(request)
    default, experts = state.catalog.locate(None, "generate").expert.id, state.pool.status()
    is_ready = any(expert.id == default and expert.state == "ready" for expert in experts)
    body = {"ready": is_ready, "status": overall(experts), "models": [_expert(expert) for expert in experts]}
    return json_response(body, 200 if is_ready else 503)


def overall(experts: Sequence[ExpertStatus]) -> str:
    """`degraded` if a model has failed or restarts, else `ok` as soon as one answers."""
    states = {expert.state for expert in experts}
    if states & {"failed", "restarting"}:
        return "degraded"
    return "ok" if "ready" in states else "loading"


def _expert(expert: ExpertStatus) -> dict[str, Any]:
    return {"id": expert.id, "state": expert.state, "reason": expert.reason, "progress": expert.progress}
