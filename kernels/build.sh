#!/usr/bin/env bash
# Compiles the kernels for the machine that the compiler builds for, once, and prints the library's path.
#   kernels/build.sh FOLDER      CC (default: cc) names the compiler, CFLAGS adds flags
# The library's folder is named by a hash of sources, flags, compiler and architecture, so libraries for several of them
# lie side by side; it appears at once and whole. Without a compiler, or where one fails, the exit status is 1.
set -euo pipefail
export LC_ALL=C  # the order of the files is part of the hash

readonly SOURCES=${BASH_SOURCE[0]%/*}/csrc
# No -march=native: what a file may use is said below and nowhere else. No contraction: quantised blocks must not depend
# on whether the compiler fuses a product and a sum.
readonly FLAGS="-std=c11 -O3 -fPIC -fvisibility=hidden -fno-fast-math -ffp-contract=off -Wall -Wextra -Werror -Wno-unknown-pragmas"

digest() {  # of standard input
    if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -c 1-24
}

levels() {  # of $1, a machine: a file without its ending and the flags that it alone gets, per line
    printf '%s\n' dispatch features scalar
    case "$1" in
        x86_64-* | amd64-*) 
            printf '%s\n' "avx2 -mavx2 -mfma -mf16c" "vnni -mavx512f -mavx512bw -mavx512vl -mavx512vnni"
            ;;
        aarch64-* | arm64-*)
            printf '%s\n' "neon -march=armv8-a" "dotprod -march=armv8.2-a+dotprod" "i8mm -march=armv8.2-a+dotprod+i8mm"
            ;;
        *) printf 'kernels: nothing is known about %s: plain C only\n' "$1" >&2 ;;
    esac
}

compile() {  # $1: a folder for the objects; $2: the machine
    local name flags job jobs=()
    while read -r name flags; do
        # Flags are words, and so may be CC.
        # shellcheck disable=SC2086
        $compiler ${CFLAGS:-} $FLAGS $flags "-DJK_SOURCES=\"$sources\"" -c "$SOURCES/$name.c" -o "$1/$name.o" &
        jobs+=($!)
    done < <(levels "$2")
    for job in "${jobs[@]}"; do wait "$job"; done
    # shellcheck disable=SC2086
    $compiler ${CFLAGS:-} -shared -o "$1/libkernels.so" "$1"/*.o -lm
    rm "$1"/*.o
}

folder=${1:?kernels/build.sh FOLDER}
compiler=${CC:-cc}
command -v "${compiler%% *}" >/dev/null || { printf "there is no compiler '%s'\n" "$compiler" >&2; exit 1; }
# shellcheck disable=SC2086
machine=$($compiler -dumpmachine) || { printf "'%s' is no C compiler\n" "$compiler" >&2; exit 1; }
sources=$(cat "$SOURCES"/* | digest)
# shellcheck disable=SC2086
hash=$({ printf '%s\n' "$sources" "$machine" "$FLAGS" "${CFLAGS:-}"; levels "$machine"; $compiler --version; } | digest)
if [ ! -f "$folder/$hash/libkernels.so" ]; then
    mkdir -p "$folder"
    building=$(mktemp -d "$folder/$hash.XXXXXX")
    trap 'rm -rf "$building"' EXIT
    compile "$building" "$machine" >&2
    chmod 755 "$building"
    # Another start may have been faster: then a rename onto its folder fails, and its library is as good.
    mv -T "$building" "$folder/$hash" 2>/dev/null || [ -f "$folder/$hash/libkernels.so" ] || mv "$building" "$folder/$hash"
fi
printf '%s\n' "$folder/$hash/libkernels.so"
