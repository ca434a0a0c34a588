"""Log-probabilities on the wire: how a request asks for them, and their forms in chat and text completions."""

from __future__ import annotations

from codecs import utf_8_decode
from collections import deque
from typing import Any, Protocol

from app.api.wire import ChatBody, CompletionBody
from backends.base import InvalidRequestError
from backends.types import Delta, TokenLogprob

IMPOSSIBLE = -9999.0
"""Stands for the logarithm of zero, which JSON cannot say; the number is OpenAI's."""


def chat_alternatives(body: ChatBody) -> int | None:
    """How many alternatives a chat wants for each token; `None`: no log-probabilities."""
    if body.logprobs:
        return body.top_logprobs or 0
    if body.top_logprobs:
        raise InvalidRequestError("'top_logprobs' needs 'logprobs' to be true", param="top_logprobs")
    return None


def prompt_alternatives(body: CompletionBody) -> int | None:
    """The same for the tokens of a text's prompt: they have log-probabilities where they are repeated."""
    return body.logprobs if body.echo else None


class ChoiceLogprobs(Protocol):
    """The log-probabilities of one choice, on their way to the client."""

    def feed(self, delta: Delta) -> None:
        """Take in what one engine step added."""
        ...

    def take(self) -> dict[str, Any]:
        """The entries whose text has been fed, each once."""
        ...

    def flush(self) -> dict[str, Any]:
        """All further entries, at the end of the choice."""
        ...


class TokenTexts:
    """What each token adds to a text. A character belongs to the token that completes it."""

    def __init__(self) -> None:
        self.length = 0
        self.unfinished = b""

    def alternative(self, raw: bytes) -> str:
        """What a token of these bytes would add."""
        return utf_8_decode(self.unfinished + raw, "replace", False)[0]

    def add(self, raw: bytes) -> str:
        """What the next token adds; `length` counts its characters, `unfinished` are bytes that complete none yet."""
        data = self.unfinished + raw
        text, used = utf_8_decode(data, "replace", False)
        self.unfinished = data[used:]
        self.length += len(text)
        return text


class ContentLogprobs:
    """Chat: one entry per token of the message's content, so that the entries' tokens join to the content.

    An entry waits until the content has come that its token begins. What never becomes content, a stop text or a tool
    call, has no entry. The token that ends the answer has one, and adds nothing.
    """

    def __init__(self) -> None:
        self._texts = TokenTexts()
        self._waiting: deque[tuple[int, dict[str, Any]]] = deque()
        self._content = 0

    def feed(self, delta: Delta) -> None:
        """Take in what one engine step added."""
        self._content += len(delta.text)
        if delta.reasoning or delta.tool_call is not None:
            return
        for token in delta.logprobs:
            begin = self._texts.length
            self._waiting.append((begin, self._entry(token)))
        if delta.finish_reason is not None and self._waiting and self._texts.unfinished:
            _complete(self._waiting[-1][1])

    def take(self) -> dict[str, Any]:
        """The entries whose tokens begin in the content so far."""
        found = []
        while self._waiting and self._waiting[0][0] < self._content:
            found.append(self._waiting.popleft()[1])
        return {"content": found, "refusal": None}

    def flush(self) -> dict[str, Any]:
        """What is left, with the tokens that add nothing."""
        found = self.take()
        found["content"] += [entry for _, entry in self._waiting if not entry["token"]]
        self._waiting.clear()
        return found

    def _entry(self, token: TokenLogprob) -> dict[str, Any]:
        raw = token.raw if token.shown else b""
        top = [_entry(self._texts.alternative(other), logprob, other) for logprob, other in _alternatives(token, raw)]
        return _entry(self._texts.add(raw), token.logprob or 0.0, raw) | {"top_logprobs": top}


class TextLogprobs:
    """Text completions: four lists with one item per token, whether its text is shown or not.

    `text_offset` counts characters of the choice's text. The first token of an echoed prompt has no probability. Bytes
    that are not a whole text are spelt as OpenAI does it: `bytes:\\xf0\\x9f`.
    """

    def __init__(self) -> None:
        self._texts = TokenTexts()
        self._found = self._nothing()

    def feed(self, delta: Delta) -> None:
        """Take in what one engine step added."""
        for token in delta.logprobs:
            self._found["tokens"].append(spelt(token.raw))
            self._found["token_logprobs"].append(None if token.logprob is None else finite(token.logprob))
            self._found["top_logprobs"].append(_by_text(token))
            self._found["text_offset"].append(self._texts.length)
            self._texts.add(token.raw if token.shown else b"")

    def take(self) -> dict[str, Any]:
        """The items of all tokens since the last call."""
        found, self._found = self._found, self._nothing()
        return found

    def flush(self) -> dict[str, Any]:
        """The same: nothing waits."""
        return self.take()

    def _nothing(self) -> dict[str, list[Any]]:
        return {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}


def finite(logprob: float) -> float:
    """A log-probability as JSON can say it."""
    return logprob if logprob > IMPOSSIBLE else IMPOSSIBLE  # false for NaN, too


def spelt(raw: bytes) -> str:
    """A token as a text, `bytes:` and the bytes' values if it is none."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)


def _entry(text: str, logprob: float, raw: bytes) -> dict[str, Any]:
    return {"token": text, "logprob": finite(logprob), "bytes": list(raw)}


def _complete(entry: dict[str, Any]) -> None:
    """The answer ends within a character: its last token stands for what the content has in place of it."""
    for found in (entry, *entry["top_logprobs"]):
        if found["bytes"] == entry["bytes"]:
            found["token"] += "\ufffd"


def _alternatives(token: TokenLogprob, raw: bytes) -> list[tuple[float, bytes]]:
    """Probabilities and bytes; the token itself, if it is among them, reads as it does beside them."""
    return [(logprob, raw if id == token.token_id else other) for id, logprob, other in token.top]


def _by_text(token: TokenLogprob) -> dict[str, float] | None:
    """The alternatives and the token itself; of two tokens with the same text the more probable."""
    if token.logprob is None:
        return None
    found: dict[str, float] = {}
    for logprob, raw in (*_alternatives(token, token.raw), (token.logprob, token.raw)):
        text = spelt(raw)
        found[text] = max(finite(logprob), found.get(text, IMPOSSIBLE))
    return found
