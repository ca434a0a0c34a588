"""Constraints as token masks: llguidance compiles them, and follows the tokens that are drawn."""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import llguidance
import numpy as np
from numpy.typing import NDArray

from backends.base import EngineError, InvalidRequestError
from backends.constraints import check
from backends.constraints.token_bytes import TokenBytes
from backends.constraints.token_mask import TokenMask
from backends.types import Constraint
from backends.vocabulary import BaseVocabulary

_LIMITS = llguidance.LLParserLimits(
    max_items_in_row=2_000,
    initial_lexer_fuel=1_000_000,
    step_lexer_fuel=200_000,
    step_max_items=50_000,
    max_lexer_states=50_000,  # 1 to 2 kB each
    max_grammar_size=50_000,
    verbose_errors=False,
)
_NO_FORCING = '\n%llguidance {"no_forcing": true}\n'
"""Comes last, which keeps the numbers of the lines. With forced text native code never returns from a grammar in which
what a terminal may take also follows it, such as `/a+/ "a"`."""
_SLOWEST_STEP_S = 0.25
"""Seconds of processor time for one mask. What takes longer holds up every other stream, and is ended."""
_CACHED = 16
_USES = 64
"""Times that a compiled constraint is handed out: its automaton grows with the texts that it has seen."""
_LONGEST_REASON = 300

Failure = Callable[[str], InvalidRequestError]
"""Makes an error from the reason why an answer cannot go on."""


class TokenMatcher:
    """One answer's way through a constraint. Belongs to one thread at a time."""

    __slots__ = ("_fail", "_mask", "_matcher")

    def __init__(self, matcher: llguidance.LLMatcher, mask: TokenMask, fail: Failure) -> None:
        """`fail` makes the error that is raised when native code gives up."""
        self._matcher = matcher
        self._mask = mask
        self._fail = fail

    @property
    def complete(self) -> bool:
        """Whether the answer is valid as it is and nothing but its end may follow."""
        return self._matcher.is_stopped() and not self._matcher.is_error()

    @property
    def accepting(self) -> bool:
        """Whether the answer is valid as it is: it may end here."""
        return self._matcher.is_accepting()

    def fork(self) -> TokenMatcher:
        """An independent answer that begins where this one is; what is compiled is shared."""
        return TokenMatcher(self._matcher.deep_copy(), self._mask, self._fail)

    def mask(self, logits: NDArray[np.float32]) -> None:
        """Make every token impossible that may not come next, in a row of one logit per token, in place.

        Tokens that end the generation stay possible where the answer is valid, and only there.

        Raises:
            InvalidRequestError: nothing can come next, or finding out takes too much.
        """
        started = time.thread_time()
        self._matcher.unsafe_compute_mask_ptr(self._mask.address, self._mask.nbytes)
        if self._matcher.is_error():
            raise self._fail(_reason(self._matcher.get_error()))
        if time.thread_time() - started > _SLOWEST_STEP_S:
            raise self._fail("it takes too long to follow")
        self._mask.apply(logits)

    def accept(self, token: int) -> None:
        """Go on with a token that was drawn.

        Raises:
            InvalidRequestError: it may not come here, or following it takes too much.
        """
        if not self._matcher.consume_token(token):
            raise self._fail(_reason(self._matcher.get_error()))

    def allows(self, tokens: Sequence[int]) -> int:
        """How many of these tokens may follow, in this order; nothing is accepted."""
        return self._matcher.validate_tokens(list(tokens))

    def rollback(self, count: int) -> None:
        """Take the last accepted tokens back.

        Raises:
            EngineError: there are not so many.
        """
        if not self._matcher.rollback(count):
            raise EngineError(f"{count} tokens cannot be taken back from a constrained answer")


@dataclass(slots=True)
class _Compiled:
    """A constraint at its beginning, and how often it may still be handed out."""

    matcher: llguidance.LLMatcher
    uses: int = _USES


class Constrainer:
    """Compiles constraints for one vocabulary, on any thread. Compiled ones are kept for a while."""

    def __init__(self, vocab: BaseVocabulary) -> None:
        self._vocab = vocab
        self._building = threading.Lock()
        self._tools: tuple[llguidance.LLTokenizer, TokenMask] | None = None
        self._lock = threading.Lock()
        self._compiled: OrderedDict[tuple[str, str], _Compiled] = OrderedDict()

    def prepare(self) -> None:
        """Build what the first `compile` needs: seconds for a large vocabulary, once. Harmless when repeated."""
        self._ready()

    def compile(self, constraint: Constraint) -> TokenMatcher:
        """A matcher at the beginning of an answer.

        Raises:
            InvalidRequestError: the constraint is malformed, too large, or asks for what cannot be enforced.
        """
        checked = check(constraint)
        tokenizer, mask = self._ready()
        key = (checked.kind, checked.value)
        with self._lock:
            matcher = self._cached(key)
        if matcher is None:
            original = _compile(tokenizer, mask, checked)
            matcher = original.deep_copy()
            with self._lock:
                self._compiled[key] = _Compiled(original)
                if len(self._compiled) > _CACHED:
                    self._compiled.popitem(last=False)
        return TokenMatcher(matcher, mask, partial(self._failure, key, constraint.param))

    def _ready(self) -> tuple[llguidance.LLTokenizer, TokenMask]:
        with self._building:
            if self._tools is None:
                self._tools = _tools(self._vocab)
            return self._tools

    def _cached(self, key: tuple[str, str]) -> llguidance.LLMatcher | None:
        compiled = self._compiled.get(key)
        if compiled is None:
            return None
        self._compiled.move_to_end(key)
        compiled.uses -= 1
        if compiled.uses <= 0:
            del self._compiled[key]
        return compiled.matcher.deep_copy()

    def _failure(self, key: tuple[str, str], param: str, reason: str) -> InvalidRequestError:
        with self._lock:
            self._compiled.pop(key, None)  # what failed may have left the shared automaton useless
        return InvalidRequestError(f"the answer cannot go on under '{param}': {reason}", param=param)


def _tools(vocab: BaseVocabulary) -> tuple[llguidance.LLTokenizer, TokenMask]:
    ends = sorted(vocab.end_of_generation)
    wrapper = llguidance.TokenizerWrapper(TokenBytes(vocab))
    # In two steps, because each holds the interpreter's lock to its end.
    tokenizer = llguidance.LLTokenizer(wrapper, eos_token=ends or None, slices=[])
    tokenizer = tokenizer.with_slices(llguidance.LLTokenizer.json_slices())
    return tokenizer, TokenMask(vocab.size, tokenizer.vocab_size)


def _compile(tokenizer: llguidance.LLTokenizer, mask: TokenMask, constraint: Constraint) -> llguidance.LLMatcher:
    """A matcher that has found the tokens an answer can begin with, which is the most expensive step of all."""
    matcher = llguidance.LLMatcher(tokenizer, _grammar(constraint), limits=_LIMITS, log_level=0)
    started = time.thread_time()
    if not matcher.is_error():
        matcher.unsafe_compute_mask_ptr(mask.address, mask.nbytes)
    if matcher.is_error():
        reason = _reason(matcher.get_error())
        raise InvalidRequestError(f"'{constraint.param}' cannot be enforced: {reason}", param=constraint.param)
    if time.thread_time() - started > _SLOWEST_STEP_S:
        raise InvalidRequestError(f"'{constraint.param}' is too complex to be enforced", param=constraint.param)
    return matcher


def lark_source(constraint: Constraint) -> str:
    """The grammar of a checked constraint that is no JSON schema, as llguidance reads it."""
    lark = constraint.value
    if constraint.kind == "regex":
        # \d and \w mean ASCII, as they do in JSON schemas.
        lark = f"start: /{llguidance.regex_to_lark(lark, 'dw')}/"
    return lark + _NO_FORCING


def _grammar(constraint: Constraint) -> str:
    if constraint.kind == "json_schema":
        return llguidance.LLMatcher.grammar_from_json_schema(constraint.value)
    return json.dumps({"grammars": [{"lark_grammar": lark_source(constraint)}]})


def _reason(error: str) -> str:
    """The part of a native error that is about the request."""
    if error.startswith("panic"):
        return "it is too complex"
    lines = error.partition("<non-verbose/>")[0].split("\n")
    reason = " ".join(line.strip() for line in lines if line.strip()) or "no text satisfies it"
    return reason if len(reason) <= _LONGEST_REASON else reason[: _LONGEST_REASON - 1] + "…"
