"""Measure the small demo model on combinations that its training never saw, through llama.cpp, greedily.

    python -m tools.eval_tiny_model [--count N] [--show-errors] [MODEL]

Needs llama-cpp-python. Prints a table of right answers per kind; exits with 1 when the whole is below --minimum.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tools.tiny_corpus import KINDS, Example, draw, prompt
from tools.tiny_corpus.scoring import is_right

_MODEL = Path(__file__).resolve().parent.parent / "models" / "tiny" / "jarvis-tiny-q8_0.gguf"
_MAX_NEW = 400

Answer = Callable[[str], str]


@dataclass
class Score:
    """Right answers of one kind, and the wrong ones as (prompt, expected, given)."""

    kind: str
    right: int = 0
    errors: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.right + len(self.errors)

    @property
    def accuracy(self) -> float:
        return self.right / max(1, self.total)


def held_out(kind: str, count: int, seed: int) -> Iterator[Example]:
    """`count` different held-out examples of a kind; fewer where the corpus has no more."""
    rng = random.Random(f"{seed} {kind}")
    seen: set[str] = set()
    for _ in range(count * 20):
        example = draw(KINDS[kind], rng, held_out=True)
        text = prompt(example)
        if text not in seen:
            seen.add(text)
            yield example
        if len(seen) == count:
            return


def evaluate(kind: str, answer: Answer, count: int, seed: int) -> Score:
    score = Score(kind)
    for example in held_out(kind, count, seed):
        text = prompt(example)
        given = answer(text)
        if is_right(example, given):
            score.right += 1
        else:
            score.errors.append((text, example.turns[-1].content, given))
    return score


def table(scores: list[Score]) -> str:
    """The scores as a Markdown table."""
    whole = Score("**all**", sum(s.right for s in scores), [e for s in scores for e in s.errors])
    lines = ["| kind | right | of | accuracy |", "| --- | ---: | ---: | ---: |"]
    lines += [f"| {s.kind} | {s.right} | {s.total} | {s.accuracy:.1%} |" for s in [*scores, whole]]
    return "\n".join(lines)


def load(path: Path, threads: int) -> Answer:
    """The model as a function from a prompt to its greedy answer."""
    from llama_cpp import Llama

    model = Llama(str(path), n_ctx=2_048, n_threads=threads, n_threads_batch=threads, verbose=False)

    def answer(text: str) -> str:
        tokens = model.tokenize(text.encode(), add_bos=False, special=True)
        room = max(1, min(_MAX_NEW, model.n_ctx() - len(tokens)))
        result = model.create_completion(tokens, max_tokens=room, temperature=0.0)
        return str(result["choices"][0]["text"])

    return answer


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", default=_MODEL)
    parser.add_argument("--count", type=int, default=100, help="examples of each kind (default 100)")
    parser.add_argument("--kind", choices=list(KINDS), action="append", help="only this kind; may be repeated")
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minimum", type=float, default=0.8, help="least share of right answers (default 0.8)")
    parser.add_argument("--show-errors", type=int, default=0, metavar="N", help="print N wrong answers of each kind")
    return parser.parse_args()


def main() -> None:
    args = _arguments()
    answer = load(args.model, args.threads)
    began = time.monotonic()
    scores = [evaluate(kind, answer, args.count, args.seed) for kind in args.kind or KINDS]
    print(table(scores))
    print(f"\n{sum(s.total for s in scores)} answers in {time.monotonic() - began:.0f} s")
    for score in scores:
        for text, expected, given in score.errors[: args.show_errors]:
            print(f"\n--- {score.kind}\n{text[-400:]}\nexpected: {expected!r}\ngiven:    {given!r}")
    if sum(s.right for s in scores) < args.minimum * sum(s.total for s in scores):
        sys.exit(1)


if __name__ == "__main__":
    main()
