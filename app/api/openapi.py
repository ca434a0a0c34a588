"""The OpenAPI document of this server, made from the wire structs that decode the requests."""

from __future__ import annotations

from typing import Any

import msgspec

from app import __version__
from app.api.wire import ChatBody, CompletionBody, DetokenizeBody, EmbeddingBody, RouteBody, TokenizeBody

_BODIES = {
    "/v1/chat/completions": (ChatBody, "Answer a conversation, whole or as a stream"),
    "/v1/completions": (CompletionBody, "Continue one or several texts, whole or as a stream"),
    "/v1/embeddings": (EmbeddingBody, "The vectors of texts"),
    "/v1/route": (RouteBody, "What the router decides on texts, and why; nothing is generated"),
    "/tokenize": (TokenizeBody, "The tokens of a text"),
    "/detokenize": (DetokenizeBody, "The text of tokens"),
}
_READS = {
    "/v1/models": "The models that can be asked for",
    "/v1/models/{id}": "One model",
    "/stats": "Counters, memory and effective settings of the server and its models",
    "/health": "The state of the whole, and the models",
    "/health/live": "The process answers",
    "/health/ready": "200 if the model that writes by default answers, else 503; with the state of each model",
    "/": "Name, version and endpoints",
}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}


def document() -> dict[str, Any]:
    """An OpenAPI 3.1 description of every route."""
    types = [body for body, _ in _BODIES.values()]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    paths: dict[str, Any] = {path: {"get": _operation(text, path)} for path, text in _READS.items()}
    for (path, (_, text)), schema in zip(_BODIES.items(), schemas, strict=True):
        body = {"required": True, "content": {"application/json": {"schema": schema}}}
        paths[path] = {"post": _operation(text, path) | {"requestBody": body}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Jarvis LLM Proxy", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": components | {"Error": _ERROR},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(summary: str, path: str) -> dict[str, Any]:
    error = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
    operation: dict[str, Any] = {
        "summary": summary,
        "responses": {"200": {"description": "Done"}, "default": {"description": "Refused or failed"} | error},
    }
    if path.startswith(("/v1", "/tok", "/detok", "/stats")):
        operation["security"] = [{}, {"key": []}]
    if "{id}" in path:
        operation["parameters"] = [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}]
    return operation
