"""Labelled prompts for fitting and judging the router: the packs of this project, and files of JSON lines.

A line of a file has `text`, `domain` and `source`; `oos` is the domain of what belongs to no route.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np

from app.routing.decisions import DOMAINS
from app.routing.features import ROWS, rows_of
from app.routing.fitting import Floats, Penalty
from app.routing.recipe import Labelled, Options, Trace, fit_model, traced
from app.routing.scoring import Collapsed
from app.routing.timeline import chunks
from benchmarks.router_phrases import phrase_texts
from benchmarks.router_teacher import Embed, taught
from benchmarks.router_terms import term_texts

ROUTES = tuple(domain for domain in DOMAINS if domain != "multimodal")
"""The domains that follow from a text."""
STRANGER = -1
PACKS = Path(__file__).resolve().parents[1] / "models" / "router" / "packs"
PACK_FAMILY, TERM_FAMILY, PHRASE_FAMILY, DEFINITION_FAMILY = "packs", "terms", "phrases", "wordnet"
BEGINNING_FAMILY, STRANGER_FAMILY = "beginnings", "none"
BEGINNINGS, BEGUN_TOKENS = (10, 20, 36), 56
"""Tokens of a beginning, and of a prompt that has one."""
NO_PROMPTS = frozenset({TERM_FAMILY, PHRASE_FAMILY, DEFINITION_FAMILY})
"""Families that teach words and are not what people write to a model."""
FAMILIES = ("mmlu", "clinc150", "banking77", "gsm8k", "humaneval", "mgsm")
"""Families of sources that are left out, one at a time."""
FAVOURED = {PACK_FAMILY: 2.0, TERM_FAMILY: 1.0, PHRASE_FAMILY: 1.0, DEFINITION_FAMILY: 0.25, BEGINNING_FAMILY: 1.5}
OPTIONS = Options(Penalty(1e-5, 1e-5, 60), FAVOURED, 0.5, NO_PROMPTS | {BEGINNING_FAMILY}, 3, {PACK_FAMILY: 0.2})
VECTOR_SCALE = 0.7
"""How far word vectors count beside words, chosen on sources that were left out."""


class Row(msgspec.Struct):
    """A line of a file."""

    text: str
    domain: str = ""
    source: str = PACK_FAMILY
    lang: str = "en"


_LINE = msgspec.json.Decoder(Row)


def family(source: str) -> str:
    """What counts as one source: all of `mgsm-*` are one, `clinc150` and `clinc150-oos` are one."""
    return source.split("/")[0].split("-")[0]


def read(path: Path) -> list[Labelled]:
    """The texts of a file; those of domains that are no routes have the label `STRANGER`."""
    rows = [_LINE.decode(line) for line in path.read_bytes().splitlines() if line.strip()]
    return [labelled(row.text, row.domain, row.source) for row in rows]


def labelled(text: str, domain: str, source: str) -> Labelled:
    """One text."""
    return Labelled(text, ROUTES.index(domain) if domain in ROUTES else STRANGER, family(source))


def packs() -> Iterator[Labelled]:
    """The packs' texts, each pack's file named for its domain, and those of terms and phrases.

    As in the labelled sources, what is not in English is `multilingual` whatever it is about, except in `coding`.
    """
    yield from (labelled(text, domain, TERM_FAMILY) for text, domain in term_texts())
    yield from (labelled(text, domain, PHRASE_FAMILY) for text, domain in phrase_texts())
    for domain in ROUTES:
        for line in (PACKS / f"{domain}.jsonl").read_bytes().splitlines():
            row = _LINE.decode(line)
            stays = row.lang == "en" or domain == "coding"
            yield labelled(row.text, domain if stays else "multilingual", PACK_FAMILY)


def early_prompts() -> list[Labelled]:
    """Long prompts for judging early decisions, in nothing that is fitted."""
    rows = [_LINE.decode(line) for line in (PACKS / "early.jsonl").read_bytes().splitlines()]
    return [labelled(row.text, row.domain, "early") for row in rows]


def word_vectors(path: Path) -> Floats:
    """[ROWS, d]: the vector of each word of a file by `tools.word_vectors` in the row of that word."""
    with np.load(path) as found:
        words, vectors = found["words"].tolist(), found["vectors"].astype(np.float32)
    table = np.zeros((ROWS, vectors.shape[1]), np.float32)
    for word, vector in zip(words, vectors, strict=True):
        table[rows_of(word)[0]] = VECTOR_SCALE * vector
    return table


def strangers() -> list[Labelled]:
    """Prompts that belong to no route."""
    rows = [_LINE.decode(line) for line in (PACKS / "none.jsonl").read_bytes().splitlines()]
    return [Labelled(row.text, STRANGER, STRANGER_FAMILY) for row in rows]


def model_of(texts: Sequence[Labelled], vectors: Floats, embed: Embed, foreign: Sequence[Labelled] = ()) -> Collapsed:
    """The model of these texts and of their beginnings, with what a teacher says of them; and of strangers."""
    learned = taught(texts, len(ROUTES), embed, NO_PROMPTS, beginnings(texts))
    return fit_model(learned, ROUTES, OPTIONS, vectors, [item.text for item in foreign])


def beginnings(texts: Sequence[Labelled]) -> list[Labelled]:
    """What long prompts begin with, `BEGINNINGS` tokens each: so early evidence weighs what it is worth.

    To those of `texts` come the ones of which only the beginning was written.
    """
    prompts = [item for item in texts if item.family not in NO_PROMPTS]
    split = [(item, list(chunks(item.text, 1))) for item in prompts]
    long = [(item, tokens) for item, tokens in split if len(tokens) >= BEGUN_TOKENS]
    long += [(item, list(chunks(item.text, 1))) for item in begun()]
    return [
        replace(item, text="".join(tokens[:count]), family=BEGINNING_FAMILY)
        for item, tokens in long
        for count in BEGINNINGS
    ]


def begun() -> list[Labelled]:
    """Beginnings of prompts."""
    rows = [_LINE.decode(line) for line in (PACKS / "begun.jsonl").read_bytes().splitlines()]
    return [labelled(row.text, row.domain, BEGINNING_FAMILY) for row in rows]


def left_out(texts: Sequence[Labelled], vectors: Floats, embed: Embed) -> Iterator[Trace]:
    """Traces of the texts of all `FAMILIES`, each by a model that has seen nothing of its family of sources."""
    for name in FAMILIES:
        model = model_of([item for item in texts if item.family != name], vectors, embed)
        yield from (traced(model, item) for item in texts if item.family == name)
