"""A sample of the built-in domains' example prompts: what users' routes are told apart from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from app.routing.decisions import DOMAINS

PACKS = Path(__file__).resolve().parents[2] / "models" / "router" / "packs"
PER_DOMAIN = 24
_LONGEST = 240


class _Prompt(msgspec.Struct):
    text: str


_LINE = msgspec.json.Decoder(_Prompt)


def sample() -> Iterator[str]:
    """Prompts from all over each domain's file, always the same ones, cut where they are long."""
    for domain in DOMAINS:
        path = PACKS / f"{domain}.jsonl"
        lines = path.read_bytes().splitlines() if path.exists() else []
        for line in lines[:: max(1, len(lines) // PER_DOMAIN)][:PER_DOMAIN]:
            yield _LINE.decode(line).text[:_LONGEST]
