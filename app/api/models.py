"""`GET /v1/models` and `GET /v1/models/{id}`; ids may contain slashes."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from app.experts.catalog import Target
from app.state import AppState, state_of


async def list_models(request: Request) -> Response:
    """All models that can be asked for, loaded or not, and each again with each of its LoRA adapters."""
    state = state_of(request)
    return json_response({"object": "list", "data": [_model(state, target) for target in state.catalog.targets()]})


async def show_model(request: Request) -> Response:
    """One model; `default` and `auto` name the one that stands behind them."""
    state = state_of(request)
    return json_response(_model(state, state.catalog.locate(request.path_params["id"])))


def json_response(value: Any, status: int = 200) -> Response:
    """A value as JSON."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def _model(state: AppState, target: Target) -> dict[str, Any]:
    parent = {} if target.adapter is None else {"parent": target.expert.id}
    return {"id": target.id, "object": "model", "created": state.started_at, "owned_by": "jarvis", **parent}
