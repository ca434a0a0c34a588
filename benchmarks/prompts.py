"""Prompts of a known number of tokens: words, one token each, drawn by a key, so that all servers get the same ones."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.random_model import FIRST_WORD, word

USUAL_WORDS = (
    "time year people way day man thing woman life child world school state family student group country problem hand "
    "part place case week company system program question work government number night point home water room mother "
    "area money story fact month lot right study book eye job word business issue side kind head house service friend "
    "father power hour game line end member law car city community name president team minute idea body information "
    "back parent face others level office door health person art war history party result change morning reason "
    "research girl guy moment air teacher force education"
)
"""Words that are one token, after a space, in nearly every vocabulary: for models that are not ours."""


@dataclass(frozen=True)
class Prompts:
    """Makes texts from `words`, each of which is one token when a space stands before it."""

    words: Sequence[str]

    def text(self, tokens: int, *key: object) -> str:
        """A text of that many tokens; equal keys give equal texts, others differ from the first words on."""
        drawn = random.Random("/".join(map(str, key))).choices(self.words, k=tokens)
        return "".join(f" {chosen}" for chosen in drawn)

    def unambiguous(self) -> Prompts:
        """Texts of those words that do not begin with another: there is one way only to write them in words."""
        known = set(self.words)
        return Prompts([word for word in self.words if not any(word[:end] in known for end in range(1, len(word)))])


def prompts_for(model: Path) -> Prompts:
    """The prompts that fit the model: words of its own for one that we made, by the name of the file."""
    if made := re.fullmatch(r"random-\d+x\d+-v(\d+)", model.stem):
        return Prompts([word(number) for number in range(int(made.group(1)) - FIRST_WORD)])
    return Prompts(USUAL_WORDS.split())
