"""`GET /v1/models` and `GET /v1/models/{id}`; ids may contain slashes."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from app.state import AppState, state_of


async def list_models(request: Request) -> Response:
    """All models that can be asked for, loaded or not."""
    state = state_of(request)
    return json_response({"object": "list", "data": [_model(state, expert.id) for expert in state.pool.status()]})


async def show_model(request: Request) -> Response:
    """One model; `default` and `auto` name the one that stands behind them."""
    state = state_of(request)
    return json_response(_model(state, state.catalog.resolve(request.path_params["id"]).id))


def json_response(value: Any, status: int = 200) -> Response:
    """A value as JSON."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def _model(state: AppState, id: str) -> dict[str, Any]:
    return {"id": id, "object": "model", "created": state.started_at, "owned_by": "jarvis"}
