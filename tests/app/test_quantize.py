"""`python -m app quantize`: what it prints, what it refuses, and what is left when it is ended."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.quantize import LINE_EVERY_S, ProgressLine
from backends.gguf_header import check_gguf
from backends.llama_cpp.quantising import Progress
from tests.backends.llama_cpp.full_precision import BUNDLED_MODEL, bare_model, f32_model, slow_model
from tests.serving import PATIENCE_S, environment

COMMAND = [sys.executable, "-m", "app", "quantize"]


class Terminal(io.StringIO):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return f32_model(tmp_path_factory.mktemp("full") / "full.gguf")


def run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment(variables),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def refusal(folder: Path, *arguments: str, status: int = 1, **variables: str) -> str:
    done = run(folder, *arguments, **variables)
    assert (done.returncode, done.stdout) == (status, "")
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def test_sizes_memory_ratio_and_time_are_printed(full: Path, tmp_path: Path) -> None:
    done = run(tmp_path, str(full), "small.gguf", "Q4_0", "--threads", "1")
    assert done.returncode == 0, done.stderr
    before, after, result = done.stdout.splitlines()
    cache = "5.2 MB KV cache of a context of 2048 tokens"
    assert before == f"before  f32     file 15.1 MB, memory about 20.2 MB (15.0 MB weights, {cache})"
    assert after == f"after   q4_0    file 2.4 MB, memory about 7.6 MB (2.3 MB weights, {cache})"
    assert result.startswith("small.gguf written in ") and result.endswith("the files are 6.24 to 1 in size")
    assert done.stderr.startswith("quantising:   0 %, 0 of 47 tensors, 0 B of 14.9 MB\n")
    assert [path.name for path in tmp_path.iterdir()] == ["small.gguf"]


def test_relative_paths_begin_in_the_given_folder(full: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    assert run(tmp_path, "--folder", str(folder), str(full), "small.gguf", "q8_0").returncode == 0
    assert check_gguf(str(folder / "small.gguf")).quantised


def test_substituted_tensors_are_mentioned(tmp_path: Path) -> None:
    bare_model(tmp_path / "bare.gguf", {"blk.0.attn_k.weight": (8, 96), "blk.0.attn_q.weight": (8, 256)})
    done = run(tmp_path, "bare.gguf", "small.gguf", "q4_k_m")
    assert "tensors whose rows have a length that q4_k_m cannot hold: 1; " in done.stdout


def test_what_will_not_do_is_one_line(full: Path, tmp_path: Path) -> None:
    (tmp_path / "old.gguf").write_text("precious")
    assert refusal(tmp_path, "none.gguf", "small.gguf", "q4_0") == "error: none.gguf does not exist"
    assert refusal(tmp_path, "old.gguf", "small.gguf", "q4_0").startswith("error: old.gguf is not a usable GGUF file")
    assert refusal(tmp_path, str(full), str(full), "q4_0") == f"error: {full} is the source; name another file to write"
    assert refusal(tmp_path, str(full), "old.gguf", "q4_0") == "error: old.gguf exists already; --force replaces it"
    assert "--allow-requantize" in refusal(tmp_path, str(BUNDLED_MODEL), "small.gguf", "q4_0")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["a", "b", "q9"], "'q9' is no kind of quantisation; there are f16, bf16, q8_0, q6_k"),
        (["a", "b", "iq1_s"], "'iq1_s' needs an importance matrix"),
        (["a", "b", "q4_0", "--threads", "0"], "--threads: '0' is not a whole number from 1 to 1024"),
        (["a", "b", "q4_0", "--threads", "1025"], "--threads: '1025' is not a whole number from 1 to 1024"),
        (["a", "b", "q4_0", "--threads", "9" * 5000], "is not a whole number from 1 to 1024"),
        (["a", "b"], "the following arguments are required: KIND"),
    ],
)
def test_a_call_that_makes_no_sense_is_refused(tmp_path: Path, arguments: list[str], complaint: str) -> None:
    assert complaint in refusal(tmp_path, *arguments, status=2)


def test_force_and_allow_requantize_do_what_they_say(tmp_path: Path) -> None:
    (tmp_path / "old.gguf").write_text("precious")
    done = run(tmp_path, str(BUNDLED_MODEL), "old.gguf", "q4_0", "--force", "--allow-requantize")
    assert done.returncode == 0, done.stderr
    assert check_gguf(str(tmp_path / "old.gguf")).quantised


def test_a_bad_configuration_stops_it(full: Path, tmp_path: Path) -> None:
    assert "JARVIS_PROT" in refusal(tmp_path, str(full), "small.gguf", "q4_0", status=2, JARVIS_PROT="1")


def test_a_write_that_fails_on_the_way_leaves_nothing(full: Path, tmp_path: Path) -> None:
    limited = ["bash", "-c", 'ulimit -f 1000; exec "$@"', "bash", *COMMAND, str(full), "small.gguf", "q8_0"]
    done = subprocess.run(
        limited, env=environment({}), cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 1
    assert f"cannot quantise full.gguf: writing to {tmp_path} failed; is the disk full" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("end", "status", "said"),
    [
        (signal.SIGINT, 130, "interrupted: nothing was written\n"),
        (signal.SIGTERM, -signal.SIGTERM, ""),
        (signal.SIGKILL, -signal.SIGKILL, ""),
    ],
)
def test_ended_in_the_middle_it_leaves_nothing(tmp_path: Path, end: signal.Signals, status: int, said: str) -> None:
    source = slow_model(tmp_path / "slow.gguf")
    command = [*COMMAND, "slow.gguf", "small.gguf", "iq3_s", "--threads", "1"]
    with subprocess.Popen(
        command,
        env=environment({}),
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests in the background ignore it
    ) as running:
        assert running.stderr is not None
        assert running.stderr.readline().startswith("quantising:   0 %")
        running.send_signal(end)
        assert (running.wait(PATIENCE_S), running.stderr.read()) == (status, said)
    give_up = time.monotonic() + PATIENCE_S
    while list(tmp_path.iterdir()) != [source]:  # after SIGKILL it is the child that cleans up
        assert time.monotonic() < give_up, list(tmp_path.iterdir())
        time.sleep(0.02)


def test_a_terminal_sees_one_line_that_is_written_over() -> None:
    terminal = Terminal()
    line = ProgressLine(terminal)
    for tensors in (0, 1, 2):
        line.show(Progress(tensors, 2, tensors * 500_000, 1_000_000))
    line.close()
    line.close()
    assert terminal.getvalue().split("\r\x1b[K") == [
        "",
        "quantising:   0 %, 0 of 2 tensors, 0 B of 1.0 MB",
        "quantising:  50 %, 1 of 2 tensors, 500.0 kB of 1.0 MB",
        "quantising: 100 %, 2 of 2 tensors, 1.0 MB of 1.0 MB\n",
    ]


def test_a_file_gets_a_line_every_few_seconds() -> None:
    now, file = [0.0], io.StringIO()
    line = ProgressLine(file, lambda: now[0])
    for tensors in range(7):
        now[0] = tensors * LINE_EVERY_S / 2
        line.show(Progress(tensors, 6, tensors, 6))
    line.close()
    assert [text.split(",")[0] for text in file.getvalue().splitlines()] == [
        "quantising:   0 %",
        "quantising:  33 %",
        "quantising:  67 %",
        "quantising: 100 %",
    ]
