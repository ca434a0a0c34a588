"""The house rules: who may import whom, what the edge must not load, and sizes."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from statistics import median, quantiles

import pytest

ROOT = Path(__file__).resolve().parents[1]
PRODUCT = ("app", "backends", "kernels")
ALL_CODE = (*PRODUCT, "tests", "tools", "benchmarks")

LEVELS: tuple[tuple[str, ...], ...] = (
    ("app.__main__",),
    ("app.cli",),
    ("app.server", "app.check", "app.quantize", "app.route"),
    ("app.main",),
    ("app.api", "app.intake"),
    ("app.state",),
    ("app.orchestrator", "app.dispatch"),
    ("app.routers",),
    ("app.routing", "app.rag", "app.tools", "app.experts"),
    ("app.errors", "app.interleave", "app.logs", "app.embedding", "app.pins"),
    ("app.settings", "app.hashed_file"),
    ("app",),
    ("backends",),
    ("kernels",),
)
"""The rooms, from top to bottom. A room imports itself and rooms of lower levels."""

THIRD_PARTY_BELOW = {"msgspec", "numpy", "jinja2"}
"""What `backends` and `kernels` may import besides the standard library and their engines."""
ENGINES = {
    "llama_cpp": "backends.llama_cpp",
    "llguidance": "backends.constraints",
    "vllm": "backends.vllm",
    "torch": "backends.vllm",
    "transformers": "backends.vllm",
    "tokenizers": "backends.vllm",
    "huggingface_hub": "backends.vllm",
    "safetensors": "backends.vllm",
    "gguf": "backends.vllm",
}
"""Native engines and what they work with, and the room that may import each."""
VAGUE_NAMES = re.compile(r"\b(utils?|helpers?|managers?|services?|misc|common)\b")


def files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in files(*PRODUCT)}


def imports(path: Path) -> Iterator[str]:
    """Full names of all that a file imports, lazily or not; a name from a package counts as its submodule."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield submodule if submodule in MODULES else str(node.module)


def level_of(module: str) -> int:
    """The level of the room that a module belongs to: the one with the longest matching name."""
    rooms = {room: level for level, names in enumerate(LEVELS) for room in names}
    room = module
    while room not in rooms:
        room = room.rpartition(".")[0]
    assert room != "app" or module == "app", f"{module} belongs to no room: name its level in LEVELS"
    return rooms[room]


def functions(*folders: str) -> Iterator[tuple[str, int]]:
    """Name and number of lines of every function."""
    for path in files(*folders):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path.relative_to(ROOT)}:{node.name}", (node.end_lineno or 0) - node.lineno + 1


def in_python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_go_down_or_stay_in_the_room(module: str) -> None:
    for imported in imports(MODULES[module]):
        if imported.split(".")[0] in PRODUCT:
            here, there = level_of(module), level_of(imported)
            same_room = module.split(".")[:2] == imported.split(".")[:2]
            package = module.split(".")[0]
            in_package = package == imported.split(".")[0] and package in ("backends", "kernels")
            assert there > here or same_room or in_package, imported


def test_only_llama_cpp_looks_into_the_kernels_from_the_backends() -> None:
    for module, path in MODULES.items():
        if module.startswith("backends") and any(name.split(".")[0] == "kernels" for name in imports(path)):
            assert module.startswith("backends.llama_cpp")


def test_there_is_no_import_cycle() -> None:
    graph = {module: set(imports(path)) & set(MODULES) - {module} for module, path in MODULES.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError


@pytest.mark.parametrize("path", files("backends", "kernels"), ids=module_name)
def test_workers_need_little_more_than_their_engine(path: Path) -> None:
    for name in imports(path):
        package = name.split(".")[0]
        if package in ENGINES:
            assert ENGINES[package] and module_name(path).startswith(ENGINES[package]), name
        else:
            assert package in {*sys.stdlib_module_names, *THIRD_PARTY_BELOW, "backends", "kernels"}, name


@pytest.mark.parametrize("module", ["app.main", "app.experts.pool", "backends.gguf_backend", "backends.worker.client"])
def test_neither_engine_is_loaded_before_it_is_chosen(module: str) -> None:
    loaded = in_python(f"import sys, {module}; print(sorted(set({sorted(ENGINES)}) & set(sys.modules)))")
    assert loaded == "[]"


def test_only_the_settings_read_the_environment() -> None:
    reading = re.compile(r"\bos\.(environ|getenv|putenv)|from os import .*\b(environ|getenv)")
    readers = {module for module, path in MODULES.items() if reading.search(path.read_text())}
    assert {".".join(module.split(".")[:2]) for module in readers} == {"app.settings"}


def test_only_the_command_line_prints() -> None:
    for module, path in MODULES.items():
        calls = (node.func for node in ast.walk(tree(path)) if isinstance(node, ast.Call))
        printing = any(isinstance(called, ast.Name) and called.id == "print" for called in calls)
        assert not printing or module == "app.cli", module


def test_every_error_is_caught_by_name() -> None:
    """Two places may catch whatever comes: the outermost handler and a background sweeper."""
    broad = re.compile(r"except(\s+\(?(Base)?Exception\b|\s*:)")
    catching = [module for module, path in MODULES.items() for _ in broad.findall(path.read_text())]
    assert len(catching) <= 2, catching


@pytest.mark.parametrize("path", files(*PRODUCT), ids=module_name)
def test_every_room_says_what_it_is_for(path: Path) -> None:
    assert not path.read_text().strip() or ast.get_docstring(tree(path))
    assert not VAGUE_NAMES.search(path.stem)


def test_files_are_short() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files(*ALL_CODE)}
    assert {name: lines for name, lines in lengths.items() if lines >= 400} == {}
    assert median(lines for lines in lengths.values() if lines) <= 120


def test_functions_are_short() -> None:
    assert {name: lines for name, lines in functions(*ALL_CODE) if lines > 50} == {}
    lengths = [lines for _, lines in functions(*PRODUCT)]
    assert median(lengths) <= 8
    assert quantiles(lengths, n=10)[-1] <= 27


def test_every_folder_of_tests_is_a_package() -> None:
    assert [
        folder for folder in {path.parent for path in files("tests")} if not (folder / "__init__.py").exists()
    ] == []


def test_only_models_are_large_files() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    tracked = [Path(name) for name in listed.stdout.split("\0") if name]
    large = [path for path in tracked if (ROOT / path).exists() and (ROOT / path).stat().st_size > 2_000_000]
    assert [path for path in large if not (path.match("models/*/*.gguf") or path.match("models/*/*.bin"))] == []


def test_ruff_finds_nothing() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--no-cache", *ALL_CODE],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout
