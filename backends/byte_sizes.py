"""Numbers of bytes, for people."""

from __future__ import annotations

_UNITS = ("B", "kB", "MB", "GB", "TB")


def readable(size: float) -> str:
    """A number of bytes for people, in decimal units: `15.1 MB`."""
    exponent = 0
    while size >= 999.95 and exponent + 1 < len(_UNITS):
        size, exponent = size / 1000, exponent + 1
    return f"{size:.1f} {_UNITS[exponent]}" if exponent else f"{size:.0f} B"
