"""Peers that cannot be had: the reason is one line, never a traceback."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import peers, sdist
from benchmarks.peers import NotAvailableError, Peers

BUILD_LOG = """\
[  3%] Building C object ggml/src/CMakeFiles/ggml-base.dir/ggml.c.o
[ 45%] Building CXX object src/CMakeFiles/llama.dir/llama.cpp.o
/src/llama.cpp:7:10: fatal error: missing.h: No such file or directory
make: *** [Makefile:136: all] Error 2
"""


def test_a_build_that_fails_is_said_with_the_compilers_reason(tmp_path: Path) -> None:
    log = tmp_path / "build.log"
    code = f"import sys; print({BUILD_LOG!r}); sys.exit(2)"
    with pytest.raises(NotAvailableError, match="fatal error: missing.h.*see .*build.log"):
        peers.run_with_progress([sys.executable, "-c", code], log)
    assert log.read_text().startswith("[  3%]")


def test_progress_is_the_last_percentage() -> None:
    assert peers.percentage(BUILD_LOG) == "45%"
    assert peers.percentage("") == "0%"


def test_a_command_that_fails_or_is_missing_is_said_with_its_last_words() -> None:
    with pytest.raises(NotAvailableError, match="no network"):
        peers.run([sys.executable, "-c", "import sys; sys.exit('line\\nno network')"])
    with pytest.raises(NotAvailableError, match="No such file"):
        peers.run(["no-such-command"])


def test_without_our_wheel_the_python_servers_are_not_available(tmp_path: Path) -> None:
    with pytest.raises(NotAvailableError, match="there is no wheel"):
        Peers(tmp_path).python()


def test_our_wheel_is_the_one_that_run_sh_wrote_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    (tmp_path / ".stamp-llama-cpp-wheel").write_text("ours")
    for name in ("other", "ours"):
        (tmp_path / "wheels" / name).mkdir(parents=True)
        (tmp_path / "wheels" / name / f"llama_cpp_python-{sdist.version()}-py3-none-any.whl").touch()
    assert peers.kept_wheel(tmp_path).parent.name == "ours"


def test_a_complete_build_is_found_again(tmp_path: Path) -> None:
    plain, other = Peers(tmp_path), Peers(tmp_path, ("-DGGML_CUDA=on",))
    for folder in (plain.build_folder, other.build_folder):
        folder.mkdir(parents=True)
        (folder / "complete").touch()
    assert plain.llama_cpp() == plain.build_folder / "build" / "bin"
    assert plain.llama_cpp() != other.llama_cpp()
