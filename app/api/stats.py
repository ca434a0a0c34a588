"""`GET /stats`: what the server and its models are doing, and the settings that they work with."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

import kernels
from app import __version__
from app.api.models import json_response
from app.experts.supervisor import ExpertStatus
from app.orchestrator import Pool
from app.state import state_of
from backends.base import EngineError
from backends.process_memory import resident_bytes

PATIENCE_S = 2.0
"""An engine that says nothing for so long is reported without its numbers."""


async def stats(request: Request) -> Response:
    """Gauges and counters of this moment; answers within `PATIENCE_S` and a moment, whatever the engines do."""
    state = state_of(request)
    experts = await asyncio.gather(*(_expert(state.pool, status) for status in state.pool.status()))
    return json_response(
        {
            "version": __version__,
            "uptime_s": round(time.monotonic() - state.began_s, 3),
            "rss_bytes": resident_bytes(),
            "experts": experts,
            "kernels": kernels.active(),
        }
    )


async def _expert(pool: Pool, status: ExpertStatus) -> dict[str, Any]:
    found, reason = await _numbers(pool, status)
    return {
        "id": status.id,
        "state": status.state,
        "reason": reason,
        "progress": status.progress,
        "requests": status.requests,
        "stats": found,
    }


async def _numbers(pool: Pool, status: ExpertStatus) -> tuple[dict[str, Any] | None, str | None]:
    """The engine's own numbers, or why there are none."""
    engine = pool.peek(status.id)
    if engine is None:
        return None, status.reason or f"the model is {status.state}"
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await engine.stats(), None
    except TimeoutError:
        return None, f"the engine did not answer within {PATIENCE_S:g} s"
    except EngineError as error:
        return None, error.message
