"""The application over doubles, ready to be asked."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from app.main import create_app
from app.settings import Settings
from app.settings.sections import ModelSettings
from tests.app.asgi import Client, lifespan
from tests.app.doubles import OnePool, ScriptedEngine, Step, says

SETTINGS = Settings(model=ModelSettings(engine="stub", alias="double"))
USER = {"role": "user", "content": "Hi"}


def settings_with(**sections: Any) -> Settings:
    """The settings of the doubles, with some sections replaced."""
    return SETTINGS.model_copy(update=sections)


@asynccontextmanager
async def serving(
    source: OnePool | ScriptedEngine, settings: Settings = SETTINGS, headers: Mapping[str, str] = {}
) -> AsyncGenerator[Client]:
    """The application over a pool, or over a pool of one engine."""
    app = create_app(settings, OnePool(source) if isinstance(source, ScriptedEngine) else source)
    async with lifespan(app):
        yield Client(app, headers)


def engine(*scripts: list[Step]) -> ScriptedEngine:
    """An engine that plays the scripts; without any it says hello."""
    return ScriptedEngine(*(scripts or (says("Hello", " you"),)))


def chat(**fields: Any) -> dict[str, Any]:
    """A chat request."""
    return {"messages": [USER], **fields}
