"""The command line, and one short run of our own server with the smallest model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.contenders import CHOICES, CONTENDERS, LLAMA_SERVER, OURS, UNIFIED, VARIANTS
from benchmarks.engines import parsed
from benchmarks.random_model import Shape, cached
from benchmarks.rows import ROWS
from tests.serving import ROOT


def test_everything_is_measured_on_everybody_unless_somebody_chooses() -> None:
    options = parsed([])
    assert options.rows == list(ROWS)
    assert set(options.servers) == set(CONTENDERS)
    assert options.repeat == 3


def test_a_quick_run_has_short_rows_and_one_peer() -> None:
    options = parsed(["--quick"])
    assert 0 < len(options.rows) < len(ROWS)
    assert all(row.quick for row in options.rows)
    assert options.servers == (OURS, *VARIANTS, LLAMA_SERVER, UNIFIED)


def test_what_is_chosen_wins_over_quick() -> None:
    options = parsed(["--quick", "--rows", "16-clients, full-cache", "--servers", "none", "--repeat", "5"])
    assert [row.key for row in options.rows] == ["16-clients", "full-cache"]
    assert options.servers == (OURS, *VARIANTS)
    assert options.repeat == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rows", "1-client,nonesuch"], "--rows: there is no 'nonesuch'; choose of 1-client, 4-clients"),
        (["--rows", ","], "--rows: there is no ''"),
        (["--servers", "vllm"], f"--servers: there is no 'vllm'; choose of {', '.join(CHOICES)}"),
        (["--model", "none.gguf"], "none.gguf is not a file"),
        (["--repeat", "0"], "--repeat is 0; it must be at least 1"),
        (["--slots", "0"], "--slots is 0; it must be at least 1"),
    ],
)
def test_bad_arguments_are_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as ended:
        parsed(["--folder", str(tmp_path), *arguments])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_paths_count_from_the_callers_folder(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").touch()
    options = parsed(["--folder", str(tmp_path), "--model", "x.gguf", "--json", "out.json"])
    assert (options.model, options.json) == (tmp_path / "x.gguf", tmp_path / "out.json")


def test_every_row_names_contenders_and_keys_differ() -> None:
    assert {name for row in ROWS for name in row.servers} <= set(CONTENDERS)
    assert len({row.key for row in ROWS}) == len(ROWS)
    for row in ROWS:
        compared = {name for figure in row.figures for servers, _ in figure.comparisons for name in servers}
        assert compared - {LLAMA_SERVER, UNIFIED} <= set(row.servers), row.key


def test_a_short_run_prints_a_table_and_writes_json(tmp_path: Path) -> None:
    model = cached(tmp_path, Shape(layers=1, width=64, vocabulary=600, context=1024))
    command = [sys.executable, "-m", "benchmarks.engines", "--folder", str(tmp_path), "--model", model.name]
    command += ["--rows", "1-client,memory", "--servers", "none", "--repeat", "1", "--json", "found.json"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("JARVIS_")}
    environ |= {"JARVIS_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("load")
    assert "bench: 1 client, turn 1 of 1, jarvis: " in done.stderr
    one, memory = json.loads((tmp_path / "found.json").read_text())["rows"]
    [figures] = one["samples"]["jarvis"]
    assert figures["prompt tokens"] == 120
    assert figures["decode"] > 0
    assert memory["samples"]["jarvis"][0]["worker's own"] > 0
