"""run.sh, with a Python that only writes down what it is asked to do: no network, no pip, no compiler."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ("run.sh", ".ci/run", ".ci/aarch64", "kernels/build.sh")
AMX_TILES = "backends/llama_cpp/native/amx_tiles.h"
SOURCES = "backends/llama_cpp/native/sources.py"

RECORDER = r"""#!/bin/sh
# Stands for Python, in the virtual environment and outside of it.
echo "$* | CMAKE_ARGS=${CMAKE_ARGS:-}" >>"$RECORD"
case "$*" in
    *version_info*) exit "${PYTHON_TOO_OLD:-0}" ;;
    *ensurepip*) exit "${NO_VENV_MODULE:-0}" ;;
    --version) echo "Python 3.99" ;;
    "-m venv --clear "*) mkdir -p "$4/bin" && ln -sf "$RECORDER" "$4/bin/python" ;;
    "-m app build-plan")
        printf '%s\n' "${JARVIS_INFERENCE_ENGINE:-llama_cpp}" "$JARVIS_CACHE_DIR" "${CMAKE_ARGS:-}"
        printf '%s\n' "${JARVIS_VLLM_PYTHON:-}" "${JARVIS_EMBEDDING_MODEL:-}"
        ;;
    *"install -r requirements-vllm-"*) exit "${VLLM_FAILS:-0}" ;;
    *"install -r /dev/stdin"*) cat >/dev/null ;;
    *" download "*) [ -z "${DOWNLOAD_FAILS:-}" ] || exit 1 ;;
    *native/sources.py*) [ -z "${SOURCES_FAIL:-}" ] || exit 1; echo "changed sources" ;;
    *" wheel "*)
        [ -z "${BUILD_FAILS:-}" ] || exit 1
        [ -z "${BUILD_HANGS:-}" ] || sleep 60
        while [ "$1" != -w ]; do shift; done
        touch "$2/llama_cpp_python-0-none.whl"
        eval "set -- $CXXFLAGS" && touch "$RECORD.flags" && printf '%s\n' "$@" >"$RECORD.flags"
        ;;
    "-m app serve") echo "serving as $$" ;;
esac
"""

KERNELS = r"""#!/bin/sh
# Stands for the script that compiles the kernels.
echo "kernels in $1 with $CC" >>"$RECORD"
[ "$CC" != broken ] || { echo "it is broken" >&2; exit 1; }
mkdir -p "$1" && touch "$1/$CC.so" && echo "$1/$CC.so"
"""


class Clone:
    """A copy of what run.sh reads, in which it is run with the recorder as Python."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        self.record = folder / "record"
        (folder / "app" / "settings").mkdir(parents=True)
        (folder / "app" / "settings" / "__init__.py").touch()
        for name in ("run.sh", *(path.name for path in ROOT.glob("requirements-*.txt"))):
            shutil.copy(ROOT / name, folder / name)
        (folder / AMX_TILES).parent.mkdir(parents=True)
        for name in (AMX_TILES, SOURCES):
            shutil.copy(ROOT / name, folder / name)
        (folder / "kernels" / "csrc").mkdir(parents=True)
        (folder / "kernels" / "csrc" / "scalar.c").touch()
        (folder / "kernels" / "build.sh").write_text(KERNELS)
        (folder / "kernels" / "build.sh").chmod(0o755)
        recorder = cache / "recorder"
        recorder.write_text(RECORDER)
        recorder.chmod(0o755)
        self.environ = {
            "PATH": os.environ["PATH"],
            "PYTHON": str(recorder),
            "RECORDER": str(recorder),
            "RECORD": str(self.record),
            "JARVIS_CACHE_DIR": str(cache),
        }

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end; the record then holds the calls of this run only."""
        self.record.write_text("")
        command = [str(self.folder / "run.sh"), *arguments]
        return subprocess.run(
            command, env=self.environ | environ, cwd="/", capture_output=True, text=True, timeout=60, check=False
        )

    def calls(self, part: str = "") -> list[str]:
        """The recorded calls that contain `part`."""
        return [line for line in self.record.read_text().splitlines() if part in line]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    folder = tmp_path / "cache of mine"
    folder.mkdir()
    return folder


@pytest.fixture
def clone(tmp_path: Path, cache: Path) -> Clone:
    return Clone(tmp_path / "clone", cache)


def test_it_is_clean_shell() -> None:
    checker = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if checker is None:
        pytest.skip("shellcheck is not installed")
    subprocess.run([checker, *(str(ROOT / name) for name in SCRIPTS)], check=True)


def test_the_first_start_installs_builds_and_serves(clone: Clone) -> None:
    done = clone.run()
    assert done.returncode == 0, done.stderr
    assert clone.calls("install -r requirements-base.txt")
    assert "-DLLAMA_BUILD_SERVER=OFF" in clone.calls(" wheel ")[0]
    assert clone.calls("llama_cpp_python-0-none.whl")
    assert done.stdout.startswith("serving as ")


def test_the_second_start_only_serves(clone: Clone) -> None:
    clone.run()
    clone.run()
    assert clone.calls() == ["-m app serve | CMAKE_ARGS="]


def test_python_replaces_the_shell_so_that_signals_arrive(clone: Clone) -> None:
    clone.run()
    with subprocess.Popen([clone.folder / "run.sh"], env=clone.environ, stdout=subprocess.PIPE, text=True) as running:
        assert running.communicate(timeout=60)[0] == f"serving as {running.pid}\n"


def test_changed_requirements_are_installed_again(clone: Clone) -> None:
    clone.run()
    with (clone.folder / "requirements-base.txt").open("a") as file:
        file.write("# newer\n")
    clone.run()
    assert len(clone.calls(" install ")) == 1


def test_what_llama_cpp_needs_beside_it_is_installed_again_without_compiling(clone: Clone) -> None:
    clone.run()
    with (clone.folder / "requirements-llama-cpp.txt").open("a") as file:
        file.write("# newer\n")
    clone.run()
    assert clone.calls("install -r /dev/stdin")
    assert not clone.calls(" wheel ")


def test_a_fresh_clone_takes_the_kept_wheel(clone: Clone, tmp_path: Path, cache: Path) -> None:
    clone.run()
    other = Clone(tmp_path / "other", cache)
    other.run()
    assert other.calls("llama_cpp_python-0-none.whl")
    assert not other.calls(" wheel ")


def test_which_wheel_is_installed_is_written_down(clone: Clone, cache: Path) -> None:
    clone.run()
    wheel = (clone.folder / ".venv" / ".stamp-llama-cpp-wheel").read_text()
    assert list((cache / "wheels" / wheel).glob("*.whl"))


def test_other_cmake_arguments_build_another_wheel_and_both_are_kept(clone: Clone) -> None:
    clone.run()
    clone.run(CMAKE_ARGS="-DGGML_CUDA=on")
    assert clone.calls(" wheel ")[0].endswith("-DGGML_CUDA=on")
    clone.run()
    assert clone.calls("llama_cpp_python-0-none.whl")
    assert not clone.calls(" wheel ")


def test_llama_cpp_is_compiled_with_the_correction_for_amx_and_the_users_flags(clone: Clone) -> None:
    clone.run(CXXFLAGS="-O1")
    flags = clone.record.with_suffix(".flags").read_text().splitlines()
    assert flags == ["-include", str(clone.folder / AMX_TILES), "-O1"]
    (clone.folder / AMX_TILES).write_text("/* another one */")
    clone.run()
    assert clone.calls(" wheel ")


def test_llama_cpp_is_compiled_from_changed_sources(clone: Clone, cache: Path) -> None:
    clone.run()
    [download], [change], [wheel] = clone.calls(" download "), clone.calls(SOURCES), clone.calls(" wheel ")
    assert "--no-binary llama-cpp-python" in download
    assert change.split()[1] in download
    assert "changed sources" in wheel
    assert [path.name for path in (cache / "wheels").glob("*/*")] == ["llama_cpp_python-0-none.whl"]
    (clone.folder / SOURCES).write_text("# another change")
    clone.run()
    assert clone.calls(" wheel ")


def test_the_kernels_are_compiled_once_and_python_finds_them(clone: Clone, cache: Path) -> None:
    assert clone.run(JARVIS_INFERENCE_ENGINE="stub").returncode == 0
    assert clone.calls("kernels") == [f"kernels in {cache}/kernels with cc"]
    assert (clone.folder / ".venv" / ".kernels").read_text() == f"{cache}/kernels/cc.so\n"
    clone.run(JARVIS_INFERENCE_ENGINE="stub")
    assert not clone.calls("kernels")


def test_they_are_compiled_again_where_something_has_changed_or_is_gone(clone: Clone, cache: Path) -> None:
    clone.run()
    for change in (
        lambda: (clone.folder / "kernels" / "csrc" / "scalar.c").write_text("int x;"),
        lambda: (cache / "kernels" / "cc.so").unlink(),
        lambda: clone.environ.update(CC="c++"),
    ):
        change()
        clone.run()
        assert clone.calls("kernels")


def test_without_kernels_it_serves_and_says_so_in_one_line(clone: Clone) -> None:
    done = clone.run(CC="broken", JARVIS_INFERENCE_ENGINE="stub")
    assert done.returncode == 0
    (line,) = [line for line in done.stderr.splitlines() if "kernels" in line]
    assert line.startswith("run.sh: NumPy does the work of the kernels, not compiled: it is broken (CC=broken ")
    assert (clone.folder / ".venv" / ".kernels").read_text() == "not compiled: it is broken\n"
    assert "NumPy" not in clone.run(CC="broken", JARVIS_INFERENCE_ENGINE="stub").stderr


@pytest.mark.parametrize("engine", ["stub", "vllm"])
def test_other_engines_do_not_build_llama_cpp(clone: Clone, engine: str) -> None:
    assert clone.run(JARVIS_INFERENCE_ENGINE=engine).returncode == 0
    assert not clone.calls("llama")
    assert bool(clone.calls("requirements-vllm.txt")) == (engine == "vllm")


def test_vllm_gets_an_environment_of_its_own_that_other_clones_share(clone: Clone, tmp_path: Path, cache: Path) -> None:
    assert clone.run(JARVIS_INFERENCE_ENGINE="vllm").returncode == 0
    leads_to = (clone.folder / ".venv-vllm").readlink()
    assert leads_to.parent == cache / "vllm" and (leads_to / ".complete").exists()
    assert not [call for call in clone.calls(" install ") if "vllm" in call and "requirements-base" in call]
    other = Clone(tmp_path / "other", cache)
    other.run(JARVIS_INFERENCE_ENGINE="vllm")
    assert not other.calls("requirements-vllm")
    assert (other.folder / ".venv-vllm").readlink() == leads_to


def test_changed_requirements_of_vllm_make_another_environment(clone: Clone) -> None:
    clone.run(JARVIS_INFERENCE_ENGINE="vllm")
    before = (clone.folder / ".venv-vllm").readlink()
    with (clone.folder / "requirements-vllm.txt").open("a") as file:
        file.write("# newer\n")
    clone.run(JARVIS_INFERENCE_ENGINE="vllm")
    assert clone.calls("requirements-vllm.txt")
    assert (clone.folder / ".venv-vllm").readlink() != before


def test_vllm_on_a_cpu_is_installed_after_its_torch_and_without_what_does_not_match(clone: Clone) -> None:
    if Path("/proc/driver/nvidia/version").exists():
        pytest.skip("there is a GPU")
    clone.run(JARVIS_INFERENCE_ENGINE="vllm")
    steps = [
        call.partition("version-check ")[2] for call in clone.calls("torch") + clone.calls("requirements-vllm-cpu")
    ]
    assert steps[0].startswith("install torch==")
    assert steps[1].startswith("uninstall -y torchvision torchaudio torchcodec")
    assert clone.calls().index(clone.calls("requirements-vllm-cpu")[0]) < clone.calls().index(
        clone.calls("uninstall")[0]
    )


def test_a_failed_installation_of_vllm_is_explained_and_tried_again(clone: Clone) -> None:
    failed = clone.run(JARVIS_INFERENCE_ENGINE="vllm", VLLM_FAILS="1")
    assert failed.returncode == 75
    assert "could not be installed" in failed.stderr
    assert clone.run(JARVIS_INFERENCE_ENGINE="vllm").returncode == 0


def test_a_machine_that_cannot_run_vllm_gets_one_line(clone: Clone, tmp_path: Path) -> None:
    if Path("/proc/driver/nvidia/version").exists():
        pytest.skip("there is a GPU")
    clone.run()
    uname = tmp_path / "uname"
    uname.write_text("#!/bin/sh\necho Plan9 mips\n")
    uname.chmod(0o755)
    done = clone.run(JARVIS_INFERENCE_ENGINE="vllm", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode == 75
    (line,) = [line for line in done.stderr.splitlines() if "error" in line]
    assert "Plan9 mips" in line and line.endswith("set JARVIS_INFERENCE_ENGINE=llama_cpp")
    assert not clone.calls("requirements-vllm")


def test_an_interpreter_of_the_users_own_is_taken_as_it_is(clone: Clone) -> None:
    assert clone.run(JARVIS_INFERENCE_ENGINE="vllm", JARVIS_VLLM_PYTHON="/opt/python").returncode == 0
    assert not clone.calls("requirements-vllm")


def test_an_embedding_model_needs_llama_cpp_whatever_writes(clone: Clone) -> None:
    assert clone.run(JARVIS_INFERENCE_ENGINE="vllm", JARVIS_EMBEDDING_MODEL="e.gguf").returncode == 0
    assert clone.calls("--no-binary llama-cpp-python")


def test_the_tests_of_vllm_are_run_after_it_is_installed(clone: Clone) -> None:
    assert clone.run("test-vllm", "-k", "one").returncode == 0
    assert clone.calls("requirements-vllm.txt") and clone.calls("--no-binary llama-cpp-python")
    assert clone.calls("-m pytest -m vllm -k one")


def test_check_installs_no_engine(clone: Clone) -> None:
    assert clone.run("check").returncode == 0
    assert not clone.calls("llama")
    assert clone.calls("-m app check")


def test_tests_get_the_tools_the_engine_and_their_arguments(clone: Clone) -> None:
    assert clone.run("test", "-k", "two words", JARVIS_INFERENCE_ENGINE="stub").returncode == 0
    assert clone.calls("requirements-dev.txt")
    assert clone.calls("requirements-bench.txt")
    assert clone.calls("--no-binary llama-cpp-python")
    assert clone.calls("-m pytest -k two words")


def test_the_benchmark_gets_the_engine_its_own_tools_and_the_folder_that_it_is_called_in(clone: Clone) -> None:
    assert clone.run("bench", "--quick", "--json", "two words.json", JARVIS_INFERENCE_ENGINE="stub").returncode == 0
    assert clone.calls("--no-binary llama-cpp-python")
    assert clone.calls("requirements-bench.txt")
    assert not clone.calls("requirements-dev.txt")
    assert clone.calls("-m benchmarks.engines --folder / --quick --json two words.json")


@pytest.mark.parametrize("engine", ["llama_cpp", "stub", "vllm"])
def test_quantize_gets_llama_cpp_and_the_folder_that_it_is_called_in(clone: Clone, engine: str) -> None:
    assert clone.run("quantize", "in.gguf", "two words.gguf", "q4_0", JARVIS_INFERENCE_ENGINE=engine).returncode == 0
    assert clone.calls("--no-binary llama-cpp-python")
    assert not clone.calls("requirements-vllm.txt")
    assert clone.calls("-m app quantize --folder / in.gguf two words.gguf q4_0")
    assert clone.run("quantize").returncode == 2


@pytest.mark.parametrize(
    ("environ", "fix"),
    [
        ({"PYTHON_TOO_OLD": "1"}, "is not a Python 3.11 or newer"),
        ({"NO_VENV_MODULE": "1"}, "apt-get install python3-venv"),
        ({"CC": "no-such-compiler"}, "apt-get install build-essential"),
        ({"BUILD_FAILS": "1"}, "llama.cpp could not be built"),
        ({"DOWNLOAD_FAILS": "1"}, "llama.cpp could not be built"),
        ({"SOURCES_FAIL": "1"}, "llama.cpp could not be built"),
    ],
)
def test_what_is_missing_is_one_line_with_the_fix(clone: Clone, environ: dict[str, str], fix: str) -> None:
    done = clone.run(**environ)
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if fix in line and line.startswith("run.sh: error: ")]
    assert not clone.calls("-m app serve")


def test_a_failed_build_leaves_nothing_and_is_tried_again(clone: Clone, cache: Path) -> None:
    clone.run(BUILD_FAILS="1")
    assert list((cache / "wheels").iterdir()) == []
    assert clone.run().returncode == 0


def test_an_ended_start_ends_its_compiler(clone: Clone, cache: Path) -> None:
    environ = clone.environ | {"BUILD_HANGS": "1"}
    with subprocess.Popen([clone.folder / "run.sh"], env=environ, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        next(line for line in running.stderr if "compiling" in line)
        running.send_signal(signal.SIGTERM)
        running.communicate(timeout=60)  # returns once nobody holds the pipe: the compiler is gone
    assert list((cache / "wheels").iterdir()) == []


def test_the_environment_file_is_not_executed(clone: Clone) -> None:
    (clone.folder / ".env").write_text("touch ran\nJARVIS_MODEL_ALIAS=$(touch ran)\n")
    assert clone.run().returncode == 0
    assert not (clone.folder / "ran").exists()


def test_help_is_shown_and_an_unknown_command_refused(clone: Clone) -> None:
    assert "./run.sh test" in clone.run("--help").stdout
    assert clone.run("srve").returncode == 2
    assert clone.calls() == []
