"""What the stub engine answers, as a pure function of the request: the script, the tokeniser, the choices.

The tokeniser is real enough to test with: a word is one token with the blank before it, long words are several, and an
id spells out the bytes that it stands for, so that ids mean the same in every process and need no table.
docs/stub-engine.md is the reference of the script language.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct

from backends.base import InvalidRequestError
from backends.types import Delta, FinishReason, GenerationRequest, StopParams, ToolCallDelta

VOCAB_SIZE = 1 << 49
"""Ids are a leading 1 and then up to six bytes: below 2**49, exact in a JSON number."""

_TOKEN = re.compile(r"[ \n]?[!-~]{1,5}|.", re.DOTALL)
_MAX_TOKEN_BYTES = 6
WORDS = ("alpha", "beta", "gamma", "delta", "zeta", "eta", "theta", "iota", "kappa", "mu", "xi", "pi", "rho", "sigma")

Count = Annotated[int, Meta(ge=0)]
Milliseconds = Annotated[float, Meta(ge=0, le=3_600_000)]
Item = TypeVar("Item")


class ScriptedCall(Struct, frozen=True, forbid_unknown_fields=True):
    """A tool call to make; `arguments` is any JSON value, a text is taken as it stands."""

    name: str
    arguments: Any = {}


class Script(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields of a script; docs/stub-engine.md says what each does."""

    echo: str | None = None
    text: str | None = None
    tokens: Count | None = None
    json: Any = UNSET
    tool_call: ScriptedCall | None = None
    finish: FinishReason | None = None
    first_delay_ms: Milliseconds = 0
    delay_ms: Milliseconds = 0
    fail_at: Count | None = None
    hang_at: Count | None = None
    crash_at: Count | None = None
    error: str | None = None


_SCRIPT = msgspec.json.Decoder(Script)


def read_script(text: str) -> Script:
    """The script that `text` is, or one that answers with `text` when it is no JSON object.

    Raises:
        InvalidRequestError: a JSON object with fields or values that are no script's.
    """
    if not text.lstrip().startswith("{"):
        return Script(text=text)
    try:
        return _SCRIPT.decode(text)
    except msgspec.ValidationError as error:
        known = ", ".join(Script.__struct_fields__)
        raise InvalidRequestError(f"not a script of the stub engine: {error}; known fields are {known}") from error
    except (msgspec.DecodeError, RecursionError):
        return Script(text=text)


def split(text: str) -> list[str]:
    """The tokens of a text, as texts; joined they are the text again."""
    return _TOKEN.findall(text)


def token_id(piece: str) -> int:
    """The id of one token."""
    return int.from_bytes(b"\x01" + piece.encode(), "big")


def token_bytes(token: int) -> bytes:
    """The bytes of one id.

    Raises:
        InvalidRequestError: no token has this id.
    """
    raw = token.to_bytes((token.bit_length() + 7) // 8, "big") if token > 0 else b""
    if not 2 <= len(raw) <= _MAX_TOKEN_BYTES + 1 or raw[0] != 1:
        raise InvalidRequestError(f"no token has the id {token}")
    return raw[1:]


def join(token_ids: Sequence[int]) -> str:
    """The text of the ids, U+FFFD for bytes that are not UTF-8."""
    return b"".join(map(token_bytes, token_ids)).decode(errors="replace")


def prompt_text(request: GenerationRequest) -> str:
    """The whole prompt as text: messages one per line behind their role, a prompt or ids as they are."""
    if request.messages is not None:
        return "\n".join(f"{message.role}: {message.text}" for message in request.messages)
    return join(request.token_ids) if request.token_ids is not None else request.prompt or ""


def script_text(request: GenerationRequest) -> str:
    """Where the script stands: the last user message, or the prompt."""
    if request.messages is None:
        return prompt_text(request)
    return next((message.text for message in reversed(request.messages) if message.role == "user"), "")


@dataclass(frozen=True)
class Choice:
    """One answer, token by token: `pieces` of text, of which `visible` characters are shown, then those of a call."""

    pieces: Sequence[str]
    visible: int
    finish: FinishReason
    call: ScriptedCall | None = None
    call_pieces: Sequence[str] = ()

    @property
    def tokens(self) -> int:
        """How many tokens the answer takes."""
        return len(self.pieces) + len(self.call_pieces)

    def deltas(self, index: int) -> Iterator[Delta]:
        """One delta per token, finish reason and usage left to the caller."""
        left = self.visible
        for piece in self.pieces:
            text = piece[:left]
            left -= len(text)
            yield Delta(index, text, (token_id(piece),))
        for number, piece in enumerate(self.call_pieces):
            name = self.call.name if self.call and number == 0 else None
            fragment = ToolCallDelta(0, "call_0" if name else None, name, piece)
            yield Delta(index, "", (token_id(piece),), tool_call=fragment)


def compose(script: Script, request: GenerationRequest, budget: int, index: int) -> Choice:
    """Choice `index` of the answer, in at most `budget` tokens."""
    pieces = _answer(script, (request.sampling.seed or 0) + index, budget)
    call_pieces = _call_pieces(script)
    wanted = len(pieces) + len(call_pieces)
    if not call_pieces:
        wanted = budget if request.stopping.ignore_eos else max(wanted, request.stopping.min_tokens)
        pieces = list(islice(cycle(pieces or [" "]), min(wanted, budget)))
    ended = script.finish or ("tool_calls" if call_pieces else "stop")
    # As with a model, the end of the answer takes a token of the budget too.
    choice = _stopped(pieces[:budget], ended if wanted < budget else "length", request.stopping)
    if not call_pieces or len(choice.pieces) < len(pieces):
        return choice
    return Choice(pieces, choice.visible, choice.finish, script.tool_call, call_pieces[: budget - len(pieces)])


def _answer(script: Script, offset: int, budget: int) -> list[str]:
    if script.tokens is not None:
        words = islice(cycle(WORDS), offset % len(WORDS), None)
        return [f" {word}" if number else word for number, word in enumerate(islice(words, min(script.tokens, budget)))]
    if script.json is not UNSET:
        return split(msgspec.json.encode(script.json).decode())
    return split(script.text if script.text is not None else script.echo or "")


def _call_pieces(script: Script) -> list[str]:
    if script.tool_call is None:
        return []
    arguments = script.tool_call.arguments
    return split(arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()) or [" "]


def _stopped(pieces: list[str], finish: FinishReason, stopping: StopParams) -> Choice:
    """The pieces up to the first that completes a stop text or is a stop token."""
    if not stopping.stop and not stopping.stop_token_ids:
        return Choice(pieces, sum(map(len, pieces)), finish)
    text = ""
    for count, piece in enumerate(pieces, 1):
        begun, text = len(text), text + piece
        span = _stop_in(text, begun, piece, stopping) if count >= stopping.min_tokens else None
        if span is not None:
            return Choice(pieces[:count], span[1] if stopping.include_stop else span[0], "stop")
    return Choice(pieces, len(text), finish)


def _stop_in(text: str, begun: int, piece: str, stopping: StopParams) -> tuple[int, int] | None:
    """Where the stop that `piece` (from `begun` on) completes begins and ends."""
    if token_id(piece) in stopping.stop_token_ids:
        return begun, len(text)
    spans = []
    for stop in filter(None, stopping.stop):
        start = text.find(stop, max(0, begun - len(stop) + 1))
        if start >= 0:
            spans.append((start, start + len(stop)))
    return min(spans, default=None)
