"""Segments to token ids, so that no text of a client ever becomes a control token.

The control strings of scaffold become ids. Between two of them, scaffold text and content are joined and tokenised once
with special tokens off: the ids are those of the whole string, because tokenisers cut it at the same places. Control
strings that touch content are cut after their first character and the halves tokenised apart, since a tokeniser may
recognise them (user-defined tokens always, others by accident of a merge) even with special tokens off.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby, pairwise
from typing import NamedTuple

from backends.chat_formats.base import Segment, Tokenizer

_WHITESPACE = " \t\n\v\f\r"
# Some vocabularies (Gemma) give HTML tags tokens of their own. They are ordinary words there: no template writes them.
_HTML_TAG = re.compile(
    r"</?(?:table|caption|thead|tbody|tfoot|tr|th|td|h[1-6]|blockquote|strong|em|b|i|u|sub|sup|code)>"
)


def marker_tokens(tokenizer: Tokenizer) -> dict[str, int]:
    """Text and id of the tokens that structure a prompt: all control tokens, and user-defined ones like `<think>`.

    User-defined tokens that are runs of spaces, words, single characters or HTML tags are text like any other.
    """
    ordinary = {text for text in tokenizer.user_defined_tokens if _is_ordinary(text)}
    return {text: i for text, i in tokenizer.control_tokens.items() if text and text not in ordinary}


def token_text(tokenizer: Tokenizer, token: int | None) -> str:
    """The text of a control token; empty where the vocabulary has no such token."""
    return next((text for text, i in tokenizer.control_tokens.items() if i == token), "")


def _is_ordinary(text: str) -> bool:
    return len(text) < 2 or text.isspace() or text.isalnum() or bool(_HTML_TAG.fullmatch(text))


def any_of(words: Iterable[str]) -> re.Pattern[str]:
    """Matches the longest of `words`, in a time per character that does not grow with their number."""
    return re.compile(_branches([word for word in words if word]) or "(?!)")


def _branches(words: Sequence[str]) -> str:
    """The words as a trie: a group for every point at which they part."""
    if len(words) < 2:
        return re.escape("".join(words))
    by_first = groupby(sorted(words), key=lambda word: word[0])
    parts = [re.escape(first) + _tail([word[1:] for word in group]) for first, group in by_first]
    return parts[0] if len(parts) == 1 else f"(?:{'|'.join(parts)})"


def _tail(rests: list[str]) -> str:
    longer = _branches([rest for rest in rests if rest])
    return f"(?:{longer})?" if longer and "" in rests else longer


class _Span(NamedTuple):
    start: int
    end: int


class PromptEncoder:
    """Turns segments into token ids for one vocabulary; holds nothing that belongs to a request."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._markers = marker_tokens(tokenizer)
        self._pattern = any_of(self._markers)
        self._newline = tokenizer.encode("\n", special=False)
        self._strips: Callable[[str], tuple[bool, bool]] = lru_cache(maxsize=None)(self._probe_strips)

    def encode(self, segments: Iterable[Segment]) -> list[int]:
        """The ids of a prompt; begins with exactly one BOS where the model wants one."""
        text, scaffold = _join(segments)
        ids: list[int] = []
        position, stripped = 0, False
        for marker in self._scaffold_markers(text, scaffold):
            strips_left, strips_right = self._strips(marker.group())
            ids += self._encode_text(text, _trim(text, _Span(position, marker.start()), stripped, strips_left))
            ids.append(self._markers[marker.group()])
            position, stripped = marker.end(), strips_right
        ids += self._encode_text(text, _trim(text, _Span(position, len(text)), stripped, False))
        return self._with_bos(ids)

    def _with_bos(self, ids: list[int]) -> list[int]:
        bos = self._tokenizer.bos
        return [bos, *ids] if self._tokenizer.add_bos and bos is not None and ids[:1] != [bos] else ids

    def _scaffold_markers(self, text: str, scaffold: Sequence[_Span]) -> Iterator[re.Match[str]]:
        for span in scaffold:
            yield from self._pattern.finditer(text, span.start, span.end)

    def _encode_text(self, text: str, span: _Span) -> list[int]:
        """Ids of a span that holds no marker of the scaffold, cut inside every marker that is left."""
        cuts = self._cuts(text[span.start : span.end])
        pieces = [text[span.start + a : span.start + b] for a, b in pairwise([0, *cuts, span.end - span.start])]
        known: dict[str, list[int]] = {}
        ids = self._tokenizer.encode(pieces[0], special=False) if pieces[0] else []
        for piece in pieces[1:]:
            if piece not in known:
                known[piece] = self._encode_continued(piece)
            ids += known[piece]
        return ids

    def _cuts(self, text: str) -> list[int]:
        cuts = []
        found = self._pattern.search(text)
        while found:
            cuts.append(found.start() + 1)
            found = self._pattern.search(text, found.start() + 1)
        return [cut for cut in cuts if cut < len(text)]

    def _encode_continued(self, text: str) -> list[int]:
        """Ids of a text in the middle of a word: behind a newline, SentencePiece puts no space before it."""
        ids, newline = self._tokenizer.encode("\n" + text, special=False), self._newline
        return ids[len(newline) :] if ids[: len(newline)] == newline else self._tokenizer.encode(text, special=False)

    def _probe_strips(self, marker: str) -> tuple[bool, bool]:
        """Whether the tokeniser drops whitespace to the left and to the right of a marker (Phi-3's does)."""
        alone, encode = [self._markers[marker]], self._tokenizer.encode
        return encode("\n" + marker, special=True) == alone, encode(marker + "\n", special=True) == alone


def encode_segments(segments: Iterable[Segment], tokenizer: Tokenizer) -> list[int]:
    """The ids of one prompt. A `PromptEncoder` that is kept does the same without preparing the vocabulary again."""
    return PromptEncoder(tokenizer).encode(segments)


def _join(segments: Iterable[Segment]) -> tuple[str, list[_Span]]:
    """The whole text, and where its runs of scaffold are."""
    texts, spans, position = [], [], 0
    for scaffold, run in groupby((s for s in segments if s.text), key=lambda s: s.scaffold):
        joined = "".join(segment.text for segment in run)
        if scaffold:
            spans.append(_Span(position, position + len(joined)))
        texts.append(joined)
        position += len(joined)
    return "".join(texts), spans


def _trim(text: str, span: _Span, left: bool, right: bool) -> _Span:
    start, end = span
    while left and start < end and text[start] in _WHITESPACE:
        start += 1
    while right and start < end and text[end - 1] in _WHITESPACE:
        end -= 1
    return _Span(start, end)
