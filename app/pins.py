"""Which expert a session keeps: the last ones that were routed, for as long as something is heard of them."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Generic, TypeVar

MOST_PINS = 10_000
IDLE_S = 3600.0

Value = TypeVar("Value")


class Pins(Generic[Value]):
    """Values by session. `now_s` is a time on the caller's monotonic clock, in seconds."""

    def __init__(self, most: int = MOST_PINS, idle_s: float = IDLE_S) -> None:
        self._most, self._idle_s = most, idle_s
        self._pins: OrderedDict[bytes, tuple[float, Value]] = OrderedDict()

    def get(self, session: str, now_s: float) -> Value | None:
        """The session's value, which is kept on from now."""
        self._expire(now_s)
        found = self._pins.get(_key(session))
        return None if found is None else self.keep(session, found[1], now_s)

    def keep(self, session: str, value: Value, now_s: float) -> Value:
        """Remember the value; the session of which nothing was heard for longest goes where there are too many."""
        key = _key(session)
        self._pins[key] = (now_s, value)
        self._pins.move_to_end(key)
        if len(self._pins) > self._most:
            self._pins.popitem(last=False)
        return value

    def __len__(self) -> int:
        return len(self._pins)

    def _expire(self, now_s: float) -> None:
        while self._pins and now_s - next(iter(self._pins.values()))[0] > self._idle_s:
            self._pins.popitem(last=False)


def _key(session: str) -> bytes:
    """Of a fixed length, however long the client's name of the session is."""
    return hashlib.blake2b(session.encode("utf-8", "surrogatepass"), digest_size=16).digest()
