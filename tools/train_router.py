"""Fit the router that ships: `models/router/router.bin`.

    python -m tools.train_router TRAIN.jsonl DEFINITIONS.jsonl --words WORDS.npz

Needs `python -m tools.word_vectors WORDS.npz` and `python -m tools.definitions DEFINITIONS.jsonl` first. Besides the
model itself, six are fitted without one family of sources and two on halves of all texts: temperature, thresholds and
the test for strangers come from what these say of the texts that they have not seen. Rows of TRAIN that belong to no
route are passed over: strangers are those of `models/router/packs/none.jsonl`. Ten minutes on two cores.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from app.routing.fitting import Floats
from app.routing.recipe import Labelled, Trace, calibrate, traced
from app.routing.scoring import Collapsed
from app.routing.weights import Weights, save
from app.routing.weights_file import BUILT_IN
from benchmarks.router_data import (
    NO_PROMPTS,
    PACK_FAMILY,
    STRANGER,
    left_out,
    model_of,
    packs,
    read,
    strangers,
    word_vectors,
)
from tools.minilm import embedded


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description="Fit the router that ships.")
    parser.add_argument("train", type=Path, nargs="+")
    parser.add_argument("--words", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=BUILT_IN)
    given = parser.parse_args()
    vectors = word_vectors(given.words)
    texts = [*packs(), *(item for path in given.train for item in read(path))]
    known = [item for item in texts if item.label != STRANGER]
    foreign = strangers()
    unseen, halves = list(left_out(known, vectors, embedded)), list(of_halves([*known, *foreign], vectors))
    inside = [trace for trace in halves if trace.label != STRANGER]
    outside = [trace for trace in halves if trace.label == STRANGER]
    model = model_of(known, vectors, embedded, foreign)
    calibration, thresholds = calibrate(model, [*inside, *unseen], inside, outside, {PACK_FAMILY})
    calibrated = Collapsed(model.routes, model.table, model.scale, model.bias, calibration)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    save(given.out, Weights(calibrated, thresholds))
    print(f"{given.out.stat().st_size} bytes; {calibration}; {thresholds}")


def of_halves(texts: Sequence[Labelled], vectors: Floats) -> Iterator[Trace]:
    """Traces of all prompts, each by a model of the half that it is not in."""
    for half in (0, 1):
        seen = texts[half::2]
        known = [item for item in seen if item.label != STRANGER]
        model = model_of(known, vectors, embedded, [item for item in seen if item.label == STRANGER])
        yield from (traced(model, item) for item in texts[1 - half :: 2] if item.family not in NO_PROMPTS)


if __name__ == "__main__":
    main()
