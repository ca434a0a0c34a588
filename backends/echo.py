"""A prompt repeated before its answer, with the log-probabilities of its tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from msgspec import structs

from backends.types import Delta, TokenLogprob

Piece = Callable[[int], bytes]
"""The bytes of a token, control tokens written out."""

_ENTRIES_PER_DELTA = 512


def first_of_prompt(token: int, piece: Piece) -> TokenLogprob:
    """The entry of a prompt's first token, which follows nothing."""
    return TokenLogprob(token, None, piece(token))


def as_echoed(entries: Iterable[TokenLogprob], text: str, adds_text: Callable[[int], bool]) -> tuple[TokenLogprob, ...]:
    """A prompt's entries as they stand in its echoed `text`.

    Tokens that the text lacks (a BOS that the server has added) are marked as not shown; a first token loses the space
    that some vocabularies put before every text. Where text and tokens differ, as where bytes that are not UTF-8 became
    U+FFFD, `adds_text` decides: it is false for control tokens.
    """
    raw_text, at, found = text.encode(), 0, []
    for entry in entries:
        raw = entry.raw
        if at == 0 and not raw_text.startswith(raw) and raw[:1] == b" " and raw_text.startswith(raw[1:]):
            raw = raw[1:]
        shown = raw_text.startswith(raw, at)
        at += len(raw) if shown else 0
        found.append(structs.replace(entry, raw=raw, shown=shown or adds_text(entry.token_id)))
    return tuple(found)


def echo_deltas(index: int, text: str, entries: Sequence[TokenLogprob]) -> list[Delta]:
    """A choice's echo: the text at once, its entries over as many deltas as it takes to keep each of them small.

    A prompt of tens of thousands of tokens with twenty alternatives each would not fit one frame between the processes.
    """
    starts = range(_ENTRIES_PER_DELTA, len(entries), _ENTRIES_PER_DELTA)
    rest = (tuple(entries[start : start + _ENTRIES_PER_DELTA]) for start in starts)
    first = Delta(index, text, logprobs=tuple(entries[:_ENTRIES_PER_DELTA]))
    return [first, *(Delta(index, logprobs=part) for part in rest)]
