"""Quantising through llama.cpp: what comes out can be served, and what goes wrong leaves nothing behind."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import gguf
import numpy as np
import pytest

from backends.llama_cpp.engine import LlamaCppEngine
from backends.llama_cpp.model_file import ModelFile
from backends.llama_cpp.number_formats import KINDS
from backends.llama_cpp.quantising import Progress, Quantisation, QuantisationError, Quantised, quantise
from tests.backends.llama_cpp.conftest import chat, complete, config
from tests.backends.llama_cpp.full_precision import BUNDLED_MODEL, bare_model, f32_model, slow_model

QUESTIONS = ("Hello! Who are you?", "What is 2 + 3?", "Name a colour.")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return f32_model(tmp_path_factory.mktemp("full") / "model.gguf")


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return slow_model(tmp_path_factory.mktemp("slow") / "slow.gguf")


def silent(_: Progress) -> None:
    """For those who do not want to know."""


def made(source: Path, target: Path, kind: str, **changes: object) -> Quantised:
    wanted = Quantisation(source=source, target=target, kind=kind, **changes)  # type: ignore[arg-type]
    return quantise(wanted, silent)


def refusal(source: Path, target: Path, kind: str = "q4_0", **changes: object) -> str:
    """Why it is not done; the folder stays as it was."""
    before = sorted(target.parent.iterdir()) if target.parent.is_dir() else []
    with pytest.raises(QuantisationError) as refused:
        made(source, target, kind, **changes)
    assert before == (sorted(target.parent.iterdir()) if target.parent.is_dir() else [])
    return str(refused.value)


async def answers(model: Path) -> list[list[int]]:
    engine = LlamaCppEngine(config(model))
    await engine.start(lambda _: None)
    found = [(await complete(engine, chat(question))).token_ids for question in QUESTIONS]
    await engine.close()
    return found


async def test_q8_0_answers_as_the_shipped_file_does(full: Path, tmp_path: Path) -> None:
    done = made(full, tmp_path / "q8.gguf", "q8_0")
    assert (done.before.kind, done.after.kind, done.substituted) == ("f32", "q8_0", 0)
    assert await answers(tmp_path / "q8.gguf") == await answers(BUNDLED_MODEL)


@pytest.mark.parametrize(("kind", "at_least"), [("q4_0", 5), ("q4_k_m", 5), ("f16", 1.9)])
async def test_smaller_kinds_can_be_served(full: Path, tmp_path: Path, kind: str, at_least: float) -> None:
    done = made(full, tmp_path / "small.gguf", kind)
    assert full.stat().st_size > at_least * (tmp_path / "small.gguf").stat().st_size
    assert done.before.weight_bytes > at_least * done.after.weight_bytes
    assert all(await answers(tmp_path / "small.gguf"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_made_of_half_precision(tmp_path: Path, kind: str) -> None:
    source = bare_model(tmp_path / "bare.gguf", {"blk.0.attn_k.weight": (8, 256), "blk.0.ffn_norm.weight": (256,)})
    done = made(source, tmp_path / "small.gguf", kind)
    assert done.after.kind == kind
    assert done.after.quantised == (kind not in ("f16", "bf16"))


def test_rows_that_a_kind_cannot_divide_get_another_one_and_are_counted(tmp_path: Path) -> None:
    source = bare_model(tmp_path / "bare.gguf", {"blk.0.attn_k.weight": (8, 96), "blk.0.attn_q.weight": (8, 256)})
    assert made(source, tmp_path / "small.gguf", "q4_k_m").substituted == 1


def test_a_split_model_becomes_one_file(tmp_path: Path) -> None:
    first = f32_model(tmp_path / "split.gguf", per_part=20)
    done = made(first, tmp_path / "small.gguf", "q8_0")
    assert sum(header.tensors for header in done.before.headers) == done.after.headers[0].tensors
    assert ModelFile.read(tmp_path / "small.gguf").parts == (tmp_path / "small.gguf",)


def test_progress_counts_tensors_and_bytes_to_the_end(full: Path, tmp_path: Path) -> None:
    heard: list[Progress] = []
    quantise(Quantisation(source=full, target=tmp_path / "small.gguf", kind="q4_0"), heard.append)
    assert [progress.tensors_done for progress in heard] == list(range(48))
    assert {progress.tensors for progress in heard} == {47}
    fractions = [progress.fraction for progress in heard]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert heard[-1].bytes == pytest.approx(ModelFile.read(full).weight_bytes, rel=0.02)


def test_a_quantised_source_is_refused_unless_allowed(tmp_path: Path) -> None:
    message = refusal(BUNDLED_MODEL, tmp_path / "small.gguf")
    assert "is quantised already (q8_0)" in message
    assert "--allow-requantize" in message
    assert made(BUNDLED_MODEL, tmp_path / "small.gguf", "q4_0", allow_requantize=True).after.kind == "q4_0"


@pytest.mark.parametrize("allow", [True, False])
def test_nothing_is_turned_into_what_it_is(tmp_path: Path, allow: bool) -> None:
    assert refusal(BUNDLED_MODEL, tmp_path / "small.gguf", "Q8_0", allow_requantize=allow).endswith("is q8_0 already")


def test_a_source_that_is_no_model_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "text.gguf"
    text.write_text("hello")
    assert "does not exist" in refusal(tmp_path / "none.gguf", tmp_path / "small.gguf")
    assert "text.gguf is not a usable GGUF file" in refusal(text, tmp_path / "small.gguf")


def test_an_unknown_kind_lists_the_kinds(full: Path, tmp_path: Path) -> None:
    assert "'q9' is no kind of quantisation; there are f16, bf16, q8_0" in refusal(full, tmp_path / "small.gguf", "q9")


def test_the_source_is_never_written_to(full: Path, tmp_path: Path) -> None:
    content = full.read_bytes()
    link = tmp_path / "link.gguf"
    link.symlink_to(full)
    for target in (full, link):
        assert "is the source" in refusal(full, target, force=True)
    assert full.read_bytes() == content


def test_an_existing_target_is_replaced_only_by_force(full: Path, tmp_path: Path) -> None:
    target = tmp_path / "small.gguf"
    target.write_text("precious")
    assert f"{target} exists already; --force replaces it" in refusal(full, target)
    assert target.read_text() == "precious"
    assert made(full, target, "q4_0", force=True).after.kind == "q4_0"
    assert ModelFile.read(target).kind == "q4_0"


def test_a_target_that_cannot_be_written_is_refused(full: Path, tmp_path: Path) -> None:
    assert "is not a folder" in refusal(full, tmp_path / "none" / "small.gguf")
    assert "is a directory" in refusal(full, tmp_path, force=True)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc refuses files to everybody, root included")
def test_a_folder_that_takes_no_files_is_named(full: Path) -> None:
    assert "nothing can be written to /proc/self" in refusal(full, Path("/proc/self/fdinfo/small.gguf"))


def test_a_full_disk_is_noticed_before_anything_is_written(full: Path, tmp_path: Path) -> None:
    message = refusal(full, tmp_path / "small.gguf", free_bytes=2_000_000)
    assert "the result takes 3.5 MB, and only 2.0 MB are free" in message
    assert str(tmp_path) in message


def test_llama_cpps_own_reason_is_told(tmp_path: Path) -> None:
    source = tmp_path / "strange.gguf"
    writer = gguf.GGUFWriter(source, "nonesuch")
    writer.add_tensor("weights", np.ones((4, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    message = refusal(source, tmp_path / "small.gguf")
    assert "strange.gguf" in message
    assert "unknown model architecture: 'nonesuch'" in message


def test_an_interrupted_quantisation_leaves_nothing(slow: Path, tmp_path: Path) -> None:
    def interrupt(_: Progress) -> None:
        assert list(tmp_path.iterdir())
        raise KeyboardInterrupt

    wanted = Quantisation(source=slow, target=tmp_path / "small.gguf", kind="iq3_s", threads=1)
    with pytest.raises(KeyboardInterrupt):
        quantise(wanted, interrupt)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="children are looked up in /proc")
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGABRT])
def test_the_end_of_the_child_is_an_error_that_says_how(slow: Path, tmp_path: Path, end: signal.Signals) -> None:
    def kill_child(_: Progress) -> None:
        task = Path(f"/proc/self/task/{threading.get_native_id()}/children")
        for child in task.read_text().split():
            os.kill(int(child), end)

    wanted = Quantisation(source=slow, target=tmp_path / "small.gguf", kind="iq3_s", threads=1)
    with pytest.raises(QuantisationError, match=f"was ended by {end.name}"):
        quantise(wanted, kill_child)
    assert list(tmp_path.iterdir()) == []
