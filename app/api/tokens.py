"""`POST /tokenize` and `POST /detokenize`, in the form that llama-server made known."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from app.api.body import decode
from app.api.models import json_response
from app.api.wire import DetokenizeBody, TokenizeBody
from app.state import state_of
from backends.base import InvalidRequestError
from backends.types import TokenPiece

TOKENIZE = msgspec.json.Decoder(TokenizeBody)
DETOKENIZE = msgspec.json.Decoder(DetokenizeBody)


async def tokenize(request: Request) -> Response:
    """The tokens of a text: ids, or ids with what they stand for."""
    body = decode(await request.body(), TOKENIZE)
    given = [text for text in (body.content, body.prompt) if text is not None]
    if len(given) != 1:
        raise InvalidRequestError("Give exactly one of 'content' and 'prompt'", param="content")
    pieces = await state_of(request).orchestrator.tokenize(body.model, given[0], add_special=body.add_special)
    return json_response({"tokens": [_piece(piece) if body.with_pieces else piece.id for piece in pieces]})


async def detokenize(request: Request) -> Response:
    """The text of token ids."""
    body = decode(await request.body(), DETOKENIZE)
    return json_response({"content": await state_of(request).orchestrator.detokenize(body.model, body.tokens)})


def _piece(piece: TokenPiece) -> dict[str, Any]:
    try:
        return {"id": piece.id, "piece": piece.raw.decode()}
    except UnicodeDecodeError:  # a token may hold a part of a character: its byte values then
        return {"id": piece.id, "piece": list(piece.raw)}
