"""build.sh, and what is in the libraries that it makes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kernels.levels import hash_of_sources
from tests.kernels.library import BUILD, EMULATED, ROOT, build

CROSS, OBJDUMP, NM = (f"aarch64-linux-gnu-{tool}" for tool in ("gcc", "objdump", "nm"))
pytestmark = pytest.mark.skipif(EMULATED, reason="compiling is the machine's business")
compiled = pytest.mark.skipif(shutil.which("cc") is None, reason="no compiler")
crossed = pytest.mark.skipif(shutil.which(CROSS) is None, reason=f"{CROSS} is not installed")


def run(folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BUILD, folder], env=os.environ | environ, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this module's libraries, whose name has a blank."""
    return tmp_path_factory.mktemp("cache of mine")


@compiled
def test_a_library_is_compiled_once(cache: Path) -> None:
    first = build(cache)
    assert first and hash_of_sources().encode() in first.read_bytes()
    made = first.stat().st_mtime_ns
    assert build(cache) == first
    assert first.stat().st_mtime_ns == made
    assert [path.name for path in first.parent.iterdir()] == ["libkernels.so"]


@compiled
def test_other_flags_make_another_library(cache: Path) -> None:
    assert len({build(cache), build(cache, CFLAGS="-g1")}) == 2


@pytest.mark.parametrize(
    ("compiler", "message"),
    [
        ("/bin/false", "'/bin/false' is no C compiler"),
        ("no-such-compiler", "there is no compiler 'no-such-compiler'"),
    ],
)
def test_without_a_compiler_it_fails_and_says_so(tmp_path: Path, compiler: str, message: str) -> None:
    done = run(tmp_path, CC=compiler)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == f"{message}\n"


@compiled
def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    done = run(tmp_path, CFLAGS="-DJK_BLOCK=nonsense")
    assert done.returncode != 0
    assert list(tmp_path.iterdir()) == []


def said_by(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@crossed
def test_instructions_of_extensions_stay_in_their_files(tmp_path: Path) -> None:
    """A baseline processor must never meet `sdot` or `smmla`: the files are compiled one by one to see it."""
    flags = {"scalar": "-march=armv8-a", "features": "-march=armv8-a", "dispatch": "-march=armv8-a"}
    flags |= {"neon": "-march=armv8-a", "dotprod": "-march=armv8.2-a+dotprod", "i8mm": "-march=armv8.2-a+dotprod+i8mm"}
    found = {}
    for name, flag in flags.items():
        target = tmp_path / f"{name}.o"
        source = ROOT / "kernels" / "csrc" / f"{name}.c"
        command: list[str | Path] = [
            CROSS,
            "-std=c11",
            "-O3",
            "-ffp-contract=off",
            flag,
            '-DJK_SOURCES=""',
            "-c",
            source,
            "-o",
            target,
        ]
        subprocess.run(command, check=True)
        words = set(said_by(OBJDUMP, "-d", target).split())
        found[name] = words & {"sdot", "udot", "usdot", "smmla", "ummla", "bfdot", "ptrue", "fcmla"}
    expected: dict[str, set[str]] = {name: set() for name in flags}
    assert found == expected | {"dotprod": {"sdot"}, "i8mm": {"smmla"}}


@crossed
def test_the_build_gives_the_baseline_no_flags_of_its_own(cache: Path) -> None:
    text = said_by(OBJDUMP, "-d", str(build(cache, CC=CROSS)))
    assert text.count("\tsdot\t") > 10 and text.count("\tsmmla\t") > 4
    assert "-march=native" not in BUILD.read_text().replace("No -march=native", "")


@crossed
def test_it_exports_only_its_own_names(cache: Path) -> None:
    listed = said_by(NM, "-D", "--defined-only", str(build(cache, CC=CROSS)))
    exported = {line.split()[-1] for line in listed.splitlines()}
    assert exported and all(name.startswith("jk_") for name in exported)
    assert not any(name.startswith("jk_install") for name in exported)


SUITE = ["test_rows.py", "test_matrices.py", "test_attention.py", "test_blocks.py", "test_gathering.py"]
SUITE += ["test_similarity.py", "test_logits.py", "test_features.py"]


@compiled
def test_no_kernel_reads_or_writes_beyond_its_arrays(tmp_path: Path) -> None:
    """The whole suite with AddressSanitizer and UndefinedBehaviorSanitizer in the library."""
    flags = "-O1 -g1 -fsanitize=address,undefined -fno-sanitize=alignment -fno-sanitize-recover=all"
    library = build(tmp_path, CFLAGS=flags)
    paths = [said_by("cc", f"-print-file-name=lib{name}.so").strip() for name in ("asan", "ubsan")]
    if library is None or not all(os.path.isabs(path) for path in paths):
        pytest.skip("this compiler has no sanitizers")
    environ = os.environ | {
        "KERNELS_LIBRARY": str(library),
        "KERNELS_EXAMPLES": "15",
        "LD_PRELOAD": ":".join(paths),
        "ASAN_OPTIONS": "detect_leaks=0:verify_asan_link_order=0",
        "PYTHONMALLOC": "malloc",  # so that arrays have red zones around them
    }
    tests = [str(ROOT / "tests" / "kernels" / name) for name in SUITE]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-s", "-k", "not numpy", *tests]
    done = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.count(".") > 500  # one for each test
