"""How well the router does, and what it costs: `python -m benchmarks.routing --words WORDS.npz TRAIN.jsonl DEV.jsonl`.

Three parts: recall per domain on families of sources that were left out of the fit, beside a majority guess, a keyword
list and the nearest centroid; the router that ships on the last file, with early decisions on the long prompts; and the
time of a prompt and of a chunk. The files are described in `benchmarks.router_data`. Times are judged by nobody.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

import kernels
from app.routers import word_vectors as word_vectors_of_embedder
from app.routing.calibration import calibration_error
from app.routing.evaluation import STRANGER as STRANGER_NAME
from app.routing.evaluation import early_table, judge, report, stranger_auroc
from app.routing.fitting import Floats
from app.routing.own import OwnRoute
from app.routing.own_fit import fit_own
from app.routing.packs import sample
from app.routing.recipe import Labelled, Trace, calibrate, observations
from app.routing.router import IncrementalSemanticRouter
from app.routing.scoring import Collapsed
from app.routing.timeline import chunks
from app.routing.weights import load
from benchmarks.router_baselines import Fit, centroids, keywords, majority, regression, semantic_router
from benchmarks.router_data import (
    FAMILIES,
    NO_PROMPTS,
    PACK_FAMILY,
    ROUTES,
    STRANGER,
    early_prompts,
    left_out,
    packs,
    read,
    word_vectors,
)
from tools.minilm import embedded

_RUNS = 300


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="How well the router does, and what it costs.")
    parser.add_argument("files", type=Path, nargs="*", metavar="FILE", help="labelled texts; the last is for judging")
    parser.add_argument("--words", type=Path, help="of tools.word_vectors; needed for the part on sources left out")
    parser.add_argument("--semantic-router", type=Path, metavar="PYTHON", help="an interpreter with that package")
    parser.add_argument("--precision", type=float, default=0.9)
    given = parser.parse_args()
    print(f"kernels: {kernels.select('auto').level}\n")
    router = IncrementalSemanticRouter(load(), {}, "default", given.precision)
    if given.files and given.words:
        texts = [item for path in given.files for item in read(path)]
        print("\n".join(unseen(texts, word_vectors(given.words), baselines(given.semantic_router))))
    if given.files:
        print("\n".join(shipped(router, read(given.files[-1]))))
    print("\n".join(times()))


def unseen(texts: Sequence[Labelled], vectors: Floats, fits: Mapping[str, Fit]) -> Iterator[str]:
    """Recall per domain on families that were left out one at a time, ours and of the baselines."""
    known = [*packs(), *(item for item in texts if item.label != STRANGER)]
    traces = list(left_out(known, vectors, embedded))
    found = {"router": [int(np.argmax(trace.logits[-1])) for trace in traces]}
    found |= {name: guessed(known, fit) for name, fit in fits.items()}
    columns = {name: np.array(guesses) for name, guesses in found.items()}
    labels = np.array([trace.label for trace in traces])
    yield "families of sources left out one at a time: recall"
    yield f"{'domain':14}{'texts':>7}" + "".join(f"{name:>17}" for name in columns)
    for label in np.unique(labels):
        mine = labels == label
        recalls = "".join(f"{(guesses[mine] == label).mean():17.3f}" for guesses in columns.values())
        yield f"{ROUTES[label]:14}{mine.sum():7}{recalls}"
    yield f"{'macro':21}" + "".join(f"{macro(guesses, labels):17.3f}" for guesses in columns.values())
    yield from calibrated(traces)


def guessed(known: Sequence[Labelled], fit: Fit) -> list[int]:
    """What a baseline says of each family's texts after it has seen all other prompts.

    Lists of terms, phrases and definitions are for tables of words: sentence vectors do better without them.
    """
    prompts = [item for item in known if item.family not in NO_PROMPTS]
    return [
        label
        for name in FAMILIES
        for label in fit([item for item in prompts if item.family != name])(
            [item.text for item in known if item.family == name]
        )
    ]


def baselines(python: Path | None) -> dict[str, Fit]:
    """By name; semantic-router only where there is an interpreter that has it."""
    found = {
        "majority": majority,
        "keywords": keywords,
        "centroids": centroids,
        "MiniLM+LR": regression(embedded, balanced=False),
        "MiniLM+LR even": regression(embedded, balanced=True),
    }
    return found | ({"semantic-router": semantic_router(embedded, python)} if python else {})


def macro(found: NDArray[np.int64], labels: NDArray[np.int64]) -> float:
    """The mean of the labels' recalls."""
    return float(np.mean([(found[labels == label] == label).mean() for label in np.unique(labels)]))


def calibrated(traces: Sequence[Trace]) -> Iterator[str]:
    """What calibration on some of the texts left out does for the others: every second one, and other families."""
    model = load().model  # only its routes count
    halves = answers(model, traces[::2], traces[1::2])
    apart = [
        point
        for name in FAMILIES
        for point in answers(model, [t for t in traces if t.family != name], [t for t in traces if t.family == name])
    ]
    for name, points in (("the other half", halves), ("other families", apart)):
        taken = [right for _, right, answers_it in points if answers_it]
        error = calibration_error(np.array([p for p, _, _ in points]), np.array([right for _, right, _ in points]))
        yield (
            f"calibrated on {name}: precision where it answers {np.mean(taken or [False]):.3f} (asked for 0.90), "
            f"coverage {len(taken) / max(len(points), 1):.3f}, calibration error {error:.3f}"
        )
    yield ""


def answers(model: Collapsed, known: Sequence[Trace], asked: Sequence[Trace]) -> list[tuple[float, bool, bool]]:
    """Per text of `asked`: confidence, whether it is right, and whether it answers, as calibrated on `known`."""
    calibration, thresholds = calibrate(model, known, known, [])
    whole = observations(asked, whole=True)
    p = whole.probabilities(calibration.temperature)
    best = p.argmax(1)
    limits = [thresholds.at(model.routes[route], 0.9) for route in best]
    return list(zip(p.max(1).tolist(), (best == whole.labels).tolist(), (p.max(1) >= limits).tolist(), strict=True))


def shipped(router: IncrementalSemanticRouter, texts: Sequence[Labelled]) -> Iterator[str]:
    """The report on labelled texts, strangers told from general ones, and early decisions on the long prompts."""
    named = [(item.text, STRANGER_NAME if item.label == STRANGER else ROUTES[item.label]) for item in texts]
    yield from report(router, named)
    if (found := stranger_auroc(judge(router, named), "general")) is not None:
        yield f"\nout-of-domain AUROC against general: {found:.3f}"
    routed = [[router.route(text).best for text in variants(item.text)] for item in texts]
    same = np.mean([[best == row[0] for best in row[1:]] for row in routed], axis=0)
    names = ("with '?'", "with a space", "upper case", "lower case", "without .,!?")
    yield "same route: " + ", ".join(f"{name} {share:.2%}" for name, share in zip(names, same, strict=True))
    prompts = judge(router, [(item.text, ROUTES[item.label]) for item in early_prompts()])
    yield "\nthe long prompts of models/router/packs/early.jsonl:"
    yield from early_table(prompts)
    yield ""


def variants(text: str) -> tuple[str, ...]:
    """The text, and as others might have written it."""
    bare = text.translate(str.maketrans("", "", ".,!?"))
    return text, f"{text}?", f"{text} ", text.upper(), text.lower(), bare


def times() -> Iterator[str]:
    """Microseconds: a prompt of 512 tokens from text to decision, a chunk of 16 tokens, and loading the weights."""
    sentence = "The function returns a sorted list of numbers when patients ask for interest rates on loans. "
    prompt = "".join(next(chunks(sentence * 33, 512)))
    chunk = next(chunks(prompt, 16))
    began = time.perf_counter()
    router = IncrementalSemanticRouter(load(), {})
    yield f"loading the weights: {(time.perf_counter() - began) * 1e3:.1f} ms"
    for level in (kernels.select("auto").level, "numpy"):
        kernels.select(level)
        session = router.session()
        yield f"{level:8} prompt of 512 tokens {_p50(lambda: router.route(prompt)):8.0f} µs"
        yield f"{level:8} chunk of 16 tokens   {_p50(lambda: session.feed(chunk)):8.1f} µs"  # noqa: B023 - called at once
    kernels.select("auto")
    routes, others = own_routes(), list(sample())
    began = time.perf_counter()
    words = word_vectors_of_embedder()
    loaded = time.perf_counter()
    fit_own(routes, others, load().model, words)
    yield (
        f"users' routes, {len(routes)} with {len(routes[0].examples)} examples: fitted in "
        f"{time.perf_counter() - loaded:.2f} s, after {loaded - began:.2f} s for the vectors of words"
    )


def own_routes(per_route: int = 50) -> list[OwnRoute]:
    """Twenty routes of fifty examples, cut from the packs."""
    texts = [item.text for item in packs() if item.family == PACK_FAMILY]
    parts = [texts[begin : begin + per_route] for begin in range(0, 20 * 2 * per_route, 2 * per_route)]
    return [OwnRoute(f"route-{number}", examples=tuple(part)) for number, part in enumerate(parts)]


def _p50(run: Callable[[], object]) -> float:
    times = []
    for _ in range(_RUNS):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return median(times) * 1e6


if __name__ == "__main__":
    main()
