"""The peers, fetched and built once into the cache folder: what is there is found, what is not is made with progress.

llama.cpp's server and bench come from the source distribution of llama-cpp-python, so that the peer and our engine are
the same llama.cpp. The two Python servers of that package run in a virtual environment of their own, with the wheel
that `run.sh` compiled for us.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backends.machine import physical_cores
from benchmarks import sdist

CMAKE_OPTIONS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DGGML_NATIVE=ON",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",
    "-DLLAMA_OPENSSL=OFF",
)
TARGETS = ("llama-server", "llama-bench")
CMAKE = "cmake==3.31.10"
"""Installed where the system has none."""
REQUIREMENTS = sdist.ROOT / "requirements-peers.txt"
AMX_TILES = sdist.ROOT / "backends" / "llama_cpp" / "native" / "amx_tiles.h"
"""What `run.sh` compiles our llama.cpp with, too."""
PROGRESS_S = 20.0


class NotAvailableError(Exception):
    """A peer cannot be had on this machine; the message says why."""


@dataclass(frozen=True)
class Peers:
    """Where the peers are or will be: `folder` below the cache folder. `options` are the user's own for CMake."""

    cache: Path
    options: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """All peers."""
        return self.cache / "peers"

    @property
    def build_folder(self) -> Path:
        """Where llama.cpp is built: another one for every version, processor and set of options."""
        made_from = (sdist.version(), *CMAKE_OPTIONS, *self.options, AMX_TILES.read_text())
        machine = (platform.system(), platform.machine(), processor())
        return self.folder / f"llama.cpp-{sdist.version()}-{digest(*made_from, *machine)}"

    def llama_cpp(self) -> Path:
        """The folder with llama.cpp's programs and libraries, built for this processor.

        Raises:
            NotAvailableError: the sources cannot be fetched or built.
        """
        folder = self.build_folder
        folder.mkdir(parents=True, exist_ok=True)
        programs = folder / "build" / "bin"
        with sdist.locked(folder / ".lock"):
            if not (folder / "complete").exists():
                self._build(folder)
                (folder / "complete").touch()
        return programs

    def python(self) -> Path:
        """The interpreter of an environment that has llama-cpp-python and what its servers import.

        Raises:
            NotAvailableError: something cannot be installed.
        """
        wheel = kept_wheel(self.cache)
        made_from = (sys.version, REQUIREMENTS.read_text(), wheel.parent.name)
        folder = self.folder / f"python-{digest(*made_from)}"
        interpreter = folder / "bin" / "python"
        self.folder.mkdir(parents=True, exist_ok=True)
        with sdist.locked(self.folder / ".lock"):
            if not (folder / "complete").exists():
                say(f"installing what the Python servers need into {folder}")
                run([sys.executable, "-m", "venv", "--clear", str(folder)])
                install(interpreter, "-r", str(REQUIREMENTS))
                install(interpreter, "--no-deps", str(wheel))
                (folder / "complete").touch()
        return interpreter

    def example_server(self) -> Path:
        """The batching server among the package's examples: one file. Raises `NotAvailableError`."""
        return self._sources() / "examples" / "server" / "server.py"

    def _sources(self) -> Path:
        try:
            return sdist.unpacked(self.cache)
        except (subprocess.SubprocessError, OSError) as error:
            raise NotAvailableError(f"its sources cannot be fetched: {last_line(error)}") from None

    def _build(self, folder: Path) -> None:
        source, build = self._sources() / "vendor" / "llama.cpp", folder / "build"
        cmake = self._cmake()
        say(f"building {' and '.join(TARGETS)} in {build}, once; about eight minutes on two cores")
        flags = f'-include "{AMX_TILES}" {os.environ.get("CXXFLAGS", "")}'
        run([cmake, "-S", str(source), "-B", str(build), *CMAKE_OPTIONS, *self.options], CXXFLAGS=flags)
        command = [cmake, "--build", str(build), "-j", str(physical_cores()), "--target", *TARGETS]
        run_with_progress(command, folder / "build.log")

    def _cmake(self) -> str:
        if (found := shutil.which("cmake")) is not None:
            return found
        folder = self.folder / "cmake"
        if not (folder / "bin" / "cmake").exists():
            say(f"installing {CMAKE} into {folder}")
            run([sys.executable, "-m", "venv", "--clear", str(folder)])
            install(folder / "bin" / "python", CMAKE)
        return str(folder / "bin" / "cmake")


def kept_wheel(cache: Path) -> Path:
    """The wheel that this environment's llama-cpp-python was installed from: `run.sh` wrote down which.

    Raises:
        NotAvailableError: it is not kept any more.
    """
    stamp = Path(sys.prefix) / ".stamp-llama-cpp-wheel"
    wheels = cache / "wheels" / (stamp.read_text() if stamp.exists() else "none")
    found = next(wheels.glob(f"llama_cpp_python-{sdist.version()}-*.whl"), None)
    if found is None:
        raise NotAvailableError(f"there is no wheel of {sdist.PACKAGE} in {wheels}; ./run.sh bench makes it")
    return found


def say(text: str) -> None:
    """Tell the user, who may wait for minutes, what is happening."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def processor() -> str:
    """What a build for this processor depends on, as run.sh sees it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def digest(*parts: str) -> str:
    """A short name for what something was made from."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def install(interpreter: Path, *what: str) -> None:
    """pip install into another environment. Raises `NotAvailableError`."""
    run([str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what])


def run(command: Sequence[str], **variables: str) -> None:
    """Run to the end, in silence, with `variables` in the environment.

    Raises `NotAvailableError` with the last line that explains a failure.
    """
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | variables)
    except (subprocess.CalledProcessError, OSError) as error:
        raise NotAvailableError(f"'{' '.join(command[:4])} …' failed: {last_line(error)}") from None


def run_with_progress(command: Sequence[str], log: Path) -> None:
    """Run to the end with the output in `log`, and say from time to time how far it is. Raises as `run`."""
    with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as process:
        began = time.monotonic()
        try:
            while not ended(process):
                say(f"{percentage(log.read_text(errors='replace'))} built after {time.monotonic() - began:.0f} s")
        finally:
            process.terminate()
    if process.returncode:
        raise NotAvailableError(f"the build failed ({first_error(log.read_text(errors='replace'))}); see {log}")


def ended(process: subprocess.Popen[bytes]) -> bool:
    """Wait a while; whether the process has ended."""
    try:
        process.wait(PROGRESS_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def percentage(log: str) -> str:
    """How far a CMake build is, by its output."""
    found = re.findall(r"^\[ *(\d+%)\]", log, re.MULTILINE)
    return found[-1] if found else "0%"


def first_error(log: str) -> str:
    """The line of a compiler's output that says what is wrong."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "it said nothing")[:300]


def last_line(error: Exception) -> str:
    """What a failed command said last, else the error itself."""
    said = (getattr(error, "stderr", None) or "").strip()
    return said.splitlines()[-1][:300] if said else str(error)
