"""The OpenAPI document says what the routes take."""

from __future__ import annotations

from app.api.openapi import document
from app.main import ROUTES, create_app
from app.settings import Settings


def test_every_route_is_described_and_no_other() -> None:
    described = {path.replace("{id}", "{id:path}") for path in document()["paths"]}
    assert described == {route.path for route in ROUTES}


def test_every_reference_leads_somewhere() -> None:
    found = document()
    names = set(found["components"]["schemas"])
    text = repr(found)
    references = {part.split("'")[0] for part in text.split("#/components/schemas/")[1:]}
    assert references <= names
    assert {"ChatBody", "CompletionBody", "Error"} <= references


def test_bounds_of_the_wire_are_in_the_document() -> None:
    body = document()["components"]["schemas"]["ChatBody"]
    assert body["additionalProperties"] is False
    assert body["required"] == ["messages"]
    assert {"type": "number", "minimum": 0, "maximum": 2} in body["properties"]["temperature"]["anyOf"]


def test_the_application_serves_it() -> None:
    assert create_app(Settings()).openapi() == document()
