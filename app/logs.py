"""Logging of the edge: one plain line per record on standard error, without the API keys."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable

LINE = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class RedactingFormatter(logging.Formatter):
    """Formats a record and masks `secrets` wherever they ended up: message, arguments or traceback."""

    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__(LINE)
        self._secrets = tuple(secrets)

    def format(self, record: logging.LogRecord) -> str:
        """The line, masked."""
        text = super().format(record)
        for secret in self._secrets:
            text = text.replace(secret, "********")
        return text


def configure(level: str, secrets: Iterable[str]) -> None:
    """Send every logger of this process to standard error, from `level` upwards."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RedactingFormatter(secrets))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("uvicorn").setLevel(level.upper() if level == "debug" else "WARNING")
    logging.getLogger("asyncio").setLevel("WARNING")
