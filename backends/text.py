"""From token bytes to text that is safe to send: whole characters, and nothing that may yet become a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class TextStream:
    """Incremental UTF-8 decoder with stop strings; `feed` bytes, `flush` once at the end, read `stopped` after each.

    Held back are an unfinished character and the longest tail that begins a stop string, so that a stop is found across
    any token border. What follows a stop string is dropped. Bytes that are not UTF-8 become U+FFFD.
    """

    def __init__(self, stops: Sequence[str] = (), *, include_stop: bool = False) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stops = tuple(stops)
        self._include_stop = include_stop
        self._held = ""
        self.stopped = False

    def feed(self, raw: bytes, *, watch: bool = True) -> str:
        """Text that became certain; with `watch` off stop strings are let through (before `min_tokens`)."""
        return self._release(self._decoder.decode(raw), watch=watch)

    def flush(self) -> str:
        """The text that was still held back, at the end of the generation."""
        if self.stopped:
            return ""
        text = self._release(self._decoder.decode(b"", final=True), watch=True)
        if self.stopped:
            return text
        held, self._held = self._held, ""
        return text + held

    def _release(self, new: str, *, watch: bool) -> str:
        if self.stopped:
            return ""
        text = self._held + new
        if not watch or not self._stops:
            self._held = ""
            return text
        found = [(at, stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            # The stop that is complete first wins, so that the answer does not depend on where the token borders fall.
            at, stop = min(found, key=lambda hit: (hit[0] + len(hit[1]), hit[0]))
            self.stopped, self._held = True, ""
            return text[: at + len(stop)] if self._include_stop else text[:at]
        keep = self._possible_stop(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def _possible_stop(self, text: str) -> int:
        """Length of the longest tail of `text` that a stop string begins with."""
        longest = min(len(text), max(map(len, self._stops)) - 1)
        for size in range(longest, 0, -1):
            tail = text[-size:]
            if any(stop.startswith(tail) for stop in self._stops):
                return size
        return 0
