#!/usr/bin/env bash
# Serves, tests, measures or checks the Jarvis LLM Proxy, after installing what that needs. What is installed is
# remembered in stamps below .venv, so that the next start only compares them: no network, no pip, no build.
set -euo pipefail
caller=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")"

readonly VENV=.venv
readonly PYTHON_NEEDED="3.11"
# Parts of llama.cpp that this server does not use; they are most of the time that compiling takes.
readonly LEAN="-DLLAVA_BUILD=OFF -DMTMD_BUILD=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_EXAMPLES=OFF \
-DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_SERVER=OFF"
# Corrects what GCC gets wrong about Intel AMX; without it llama.cpp crashes on processors that have it.
readonly AMX_TILES="backends/llama_cpp/native/amx_tiles.h"
# Makes attention pass over the cells of other sequences, which share one KV cache here.
readonly SOURCES="backends/llama_cpp/native/sources.py"

usage() {
    cat <<'HELP'
usage: ./run.sh [serve]         serve the model that JARVIS_MODEL_NAME names, or the bundled one
       ./run.sh test [ARGS]     run the tests; ARGS go to pytest
       ./run.sh test-vllm [ARGS]
                                run the tests that need vLLM, which is installed first; exit status 75 where it cannot be
       ./run.sh check           print the effective configuration and what is wrong with it
       ./run.sh quantize IN OUT KIND [--force] [--threads N] [--allow-requantize]
                                write the GGUF model IN to OUT with fewer bits per weight; KIND is q8_0, q4_k_m, q4_0, …
                                (quantize --help lists all)
       ./run.sh route TEXT      say which route the router finds for TEXT, and why
       ./run.sh route eval FILE judge the router by FILE, JSON lines with `text` and `domain`
       ./run.sh route fit       fit the routes of the file that JARVIS_ROUTES names, and say what they are worth
       ./run.sh bench [ARGS]    measure the server beside llama-server and others, which it builds first, once;
                                bench --help tells what ARGS may be
       ./run.sh --help

Configuration: JARVIS_* variables, in the environment or in .env; .env.example describes them all.
Build:         CMAKE_ARGS adds options for llama.cpp, for example CMAKE_ARGS="-DGGML_CUDA=on" (also in .env);
               PYTHON names the interpreter to use.
HELP
}

say() { printf 'run.sh: %s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

digest() {  # of standard input
    if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -c 1-24
}

stamped() { [ -f "$VENV/.stamp-$1" ] && [ "$(cat "$VENV/.stamp-$1")" = "$2" ]; }
stamp() { printf '%s' "$2" >"$VENV/.stamp-$1.$$" && mv "$VENV/.stamp-$1.$$" "$VENV/.stamp-$1"; }

lock() {  # $1: an open descriptor; held until it is closed. Without flock (macOS) starts are not kept apart.
    command -v flock >/dev/null || return 0
    flock -n "$1" || { say "waiting for another start that is installing"; flock "$1"; }
}

# ---- the virtual environment ----------------------------------------------------------------------------------------

new_enough() { "$1" -c "import sys; sys.exit(sys.version_info < (${PYTHON_NEEDED/./, }))" 2>/dev/null; }

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        new_enough "$PYTHON" || die "PYTHON='$PYTHON' is not a Python $PYTHON_NEEDED or newer"
        printf '%s' "$PYTHON"
        return
    fi
    local candidate
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if new_enough "$candidate"; then
            printf '%s' "$candidate"
            return
        fi
    done
    die "Python $PYTHON_NEEDED or newer is needed: install it (Debian, Ubuntu: apt-get install python3 python3-venv) or name one with PYTHON=/path/to/python3"
}

make_venv() {
    local python
    python=$(find_python)
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        die "$python has no venv module: apt-get install python3-venv (or your system's package of that kind)"
    say "making $VENV with $("$python" --version)"
    "$python" -m venv --clear "$VENV"
}

interpreter() {  # identifies the Python of the environment: its real path changes with its version
    readlink -f "$VENV/bin/python" 2>/dev/null || readlink "$VENV/bin/python" 2>/dev/null || true
}

pip() { "$VENV/bin/python" -m pip -qq --disable-pip-version-check "$@"; }

install_requirements() {  # $1: name of the stamp and of requirements-$1.txt
    local want
    want=$({ cat "requirements-$1.txt"; interpreter; uname -sm; } | digest)
    stamped "$1" "$want" && return
    say "installing requirements-$1.txt"
    pip install -r "requirements-$1.txt" || die "requirements-$1.txt could not be installed; pip's output is above"
    stamp "$1" "$want"
}

ensure_base() {
    if ! stamped python "$(interpreter)" || ! { [ -z "${PYTHON:-}" ] || stamped asked-for "$PYTHON"; }; then
        make_venv
        stamp asked-for "${PYTHON:-}"
        stamp python "$(interpreter)"
    fi
    install_requirements base
}

# ---- which engine ---------------------------------------------------------------------------------------------------

# Sets engine, cache_dir, user_cmake_args, own_vllm_python and embedding_model. Python reads .env and the variables; its answer holds as long as they do.
read_plan() {
    local want plan="$VENV/.plan"
    want=$({ cat .env 2>/dev/null || true; env | grep -E '^(JARVIS_|CMAKE_ARGS=|HOME=)' | sort; cat app/settings/*.py; } | digest)
    if [ "$(head -n 1 "$plan" 2>/dev/null)" != "$want" ]; then
        { printf '%s\n' "$want"; "$VENV/bin/python" -m app build-plan; } >"$plan.$$" || { rm -f "$plan.$$"; exit 2; }
        mv "$plan.$$" "$plan"
    fi
    { read -r want; read -r engine; read -r cache_dir; IFS= read -r user_cmake_args || true
        IFS= read -r own_vllm_python || true; IFS= read -r embedding_model || true; } <"$plan"
}

# ---- llama.cpp ------------------------------------------------------------------------------------------------------

processor() {  # ggml is compiled for the processor at hand, so a build serves only processors with the same features
    grep -m 1 -E '^(flags|Features)' /proc/cpuinfo 2>/dev/null || sysctl -n machdep.cpu.brand_string 2>/dev/null || true
    uname -sm
}

llama_requirement() { grep '^llama-cpp-python==' requirements-llama-cpp.txt; }

ensure_llama_cpp() {
    local args="$LEAN $user_cmake_args" wheels="$cache_dir/wheels" wheel want
    wheel=$({ llama_requirement; printf '%s\n' "$args"; interpreter; processor; cat "$AMX_TILES" "$SOURCES"; } | digest)
    want=$({ printf '%s\n' "$wheel"; cat requirements-llama-cpp.txt; } | digest)
    if stamped llama-cpp "$want"; then
        stamped llama-cpp-wheel "$wheel" || stamp llama-cpp-wheel "$wheel"
        return
    fi
    mkdir -p "$wheels"
    [ -d "$wheels/$wheel" ] || build_llama_cpp "$args" "$wheels/$wheel"
    say "installing $(llama_requirement)"
    grep -v '^llama-cpp-python==' requirements-llama-cpp.txt | pip install -r /dev/stdin
    pip install --no-deps --force-reinstall "$wheels/$wheel"/*.whl
    stamp llama-cpp-wheel "$wheel"  # the peers of ./run.sh bench are installed from the same
    stamp llama-cpp "$want"
}

build_llama_cpp() {  # $1: CMake arguments; $2: the folder that the wheel is kept in
    exec 8<"$(dirname "$2")"
    lock 8
    if [ ! -d "$2" ]; then compile_llama_cpp "$1" "$2"; fi  # not if another start has built it meanwhile
    exec 8<&-
}

compile_llama_cpp() {
    need_compiler "${CC:-cc}"
    need_compiler "${CXX:-c++}"
    build=$(mktemp -d "$2.XXXXXX")
    trap end_compilation EXIT
    say "compiling llama.cpp for this processor: about five minutes on two cores, once"
    set -m  # a process group for each of the two jobs, so that ending this script ends the compilers as well
    while sleep 30; do say "still compiling ($SECONDS s)"; done 8<&- 9<&- &
    wheel_from_sources "$1" 8<&- 9<&- &
    set +m
    wait $! || die "llama.cpp could not be built; the output above says why"
    rm -rf "$build/sources"
    mv "$build" "$2"
    end_compilation
    trap - EXIT
    say "compiled in $SECONDS s, kept in $2"
}

wheel_from_sources() {  # $1: CMake arguments
    local sources
    mkdir "$build/sources"
    pip download --no-deps --no-binary llama-cpp-python -d "$build/sources" "$(llama_requirement)" >&2 || return
    sources=$("$VENV/bin/python" "$SOURCES" "$build/sources") || return
    # pip's own cache is left out: it does not know that a wheel depends on CMAKE_ARGS.
    CMAKE_ARGS="$1" CXXFLAGS="-include \"$PWD/$AMX_TILES\" ${CXXFLAGS:-}" CMAKE_BUILD_PARALLEL_LEVEL="${CMAKE_BUILD_PARALLEL_LEVEL:-$(cores)}" \
        pip wheel --no-cache-dir --no-deps -w "$build" "$sources"
}

end_compilation() {
    local job
    for job in $(jobs -p); do kill -- "-$job" 2>/dev/null || true; done
    rm -rf "$build"
}

need_compiler() {  # $1: a command, perhaps with arguments
    command -v "${1%% *}" >/dev/null ||
        die "'$1' is missing, and llama.cpp is compiled here: apt-get install build-essential (macOS: xcode-select --install)"
}

cores() { nproc 2>/dev/null || sysctl -n hw.ncpu; }

# ---- vLLM -----------------------------------------------------------------------------------------------------------

cannot_run_vllm() { say "error: $*"; exit 75; }

vllm_build() {  # prints which build of vLLM is for this machine: its requirements are in requirements-vllm-BUILD.txt
    local system
    system=$(uname -sm)
    if [ -e /proc/driver/nvidia/version ] || { command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; }; then
        printf cuda
    elif [ "$system" = "Linux x86_64" ] && grep -q -m 1 -w avx2 /proc/cpuinfo; then
        printf cpu
    elif [ "$system" = "Linux aarch64" ]; then
        printf cpu
    else
        cannot_run_vllm "vLLM runs on Linux, with an NVIDIA GPU or a processor that is aarch64 or x86-64 with AVX2, and not on this machine ($system): set JARVIS_INFERENCE_ENGINE=llama_cpp"
    fi
}

ensure_vllm() {  # in an environment of its own below the cache folder; .venv-vllm leads there
    [ -z "${own_vllm_python:-}" ] || return 0
    local build home
    build=$(vllm_build)
    home="$cache_dir/vllm/env-$({ cat requirements-vllm.txt "requirements-vllm-$build.txt"; interpreter; uname -sm; } | digest)"
    mkdir -p "$cache_dir/vllm"
    exec 8<"$cache_dir/vllm"
    lock 8
    [ -f "$home/.complete" ] || install_vllm "$build" "$home" 8<&- 9<&-
    exec 8<&-
    [ "$(readlink .venv-vllm 2>/dev/null)" = "$home" ] || ln -sfn "$home" .venv-vllm
}

install_vllm() {  # $1: the build; $2: the folder of the environment
    local python="$2/bin/python"
    local pip=("$python" -m pip -qq --disable-pip-version-check)
    local torch
    say "installing vLLM ($1) into $2: some gigabytes and minutes, once"
    "$VENV/bin/python" -m venv --clear "$2"
    torch=$(grep '^torch==' "requirements-vllm-$1.txt" || true)
    if [ -n "$torch" ]; then  # first and alone, so that vLLM takes it as it is
        "${pip[@]}" install "$torch" || cannot_run_vllm "$torch could not be installed; pip's output is above"
    fi
    "${pip[@]}" install -r "requirements-vllm-$1.txt" -r requirements-vllm.txt ||
        cannot_run_vllm "requirements-vllm-$1.txt could not be installed; pip's output is above"
    if [ "$1" = cpu ]; then  # their builds do not match a torch for CPUs, and text models do not need them
        "${pip[@]}" uninstall -y torchvision torchaudio torchcodec
    fi
    touch "$2/.complete"
}

# ---- kernels --------------------------------------------------------------------------------------------------------

# Notes for Python where the library is, or why there is none: NumPy does its work then.
ensure_kernels() {
    local want note="$VENV/.kernels" compiler=${CC:-cc}
    # shellcheck disable=SC2086
    want=$({ cat kernels/build.sh kernels/csrc/*; printf '%s\n' "$compiler" "${CFLAGS:-}" "$cache_dir"; $compiler --version; uname -sm; } 2>&1 | digest)
    stamped kernels "$want" && { [ -f "$(cat "$note" 2>/dev/null)" ] || grep -qs '^not compiled' "$note"; } && return
    if ! CC=$compiler kernels/build.sh "$cache_dir/kernels" >"$note.$$" 2>"$note.$$.said"; then
        printf 'not compiled: %s\n' "$(tail -n 1 "$note.$$.said")" >"$note.$$"
        say "NumPy does the work of the kernels, $(cat "$note.$$") (CC=$compiler kernels/build.sh FOLDER tells more)"
    fi
    rm "$note.$$.said"
    mv "$note.$$" "$note"
    stamp kernels "$want"
}

# ---- commands -------------------------------------------------------------------------------------------------------

prepare() {  # $1: the command
    ensure_base
    [ "$1" = check ] && return
    read_plan
    ensure_kernels
    [ "$1" = route ] && return
    if [ "$engine" = llama_cpp ] || [ -n "${embedding_model:-}" ] || [ "$1" != serve ]; then ensure_llama_cpp; fi
    if [ "$1" = test-vllm ] || { [ "$engine" = vllm ] && [ "$1" = serve ]; }; then ensure_vllm; fi
    case "$1" in bench | test | test-vllm) install_requirements bench ;; esac
    case "$1" in test | test-vllm) install_requirements dev ;; esac
}

command=${1:-serve}
[ $# -eq 0 ] || shift
case "$command" in
    serve | check) [ $# -eq 0 ] || { usage >&2; exit 2; } ;;
    quantize | route) [ $# -gt 0 ] || { usage >&2; exit 2; } ;;
    bench | test | test-vllm) ;;
    -h | --help | help) usage; exit 0 ;;
    *) usage >&2; say "error: there is no command '$command'"; exit 2 ;;
esac

exec 9<run.sh
lock 9
prepare "$command"
exec 9<&-
if [ "$command" = test ]; then exec "$VENV/bin/python" -m pytest "$@"; fi
if [ "$command" = test-vllm ]; then exec "$VENV/bin/python" -m pytest -m vllm "$@"; fi
if [ "$command" = bench ]; then exec "$VENV/bin/python" -m benchmarks.engines --folder "$caller" "$@"; fi
if [ "$command" = quantize ]; then exec "$VENV/bin/python" -m app quantize --folder "$caller" "$@"; fi
if [ "$command" = route ]; then exec "$VENV/bin/python" -m app route --folder "$caller" -- "$@"; fi
exec "$VENV/bin/python" -m app "$command"
