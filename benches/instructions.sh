#!/usr/bin/env bash
# Instructions of the hot paths, as callgrind counts them: they repeat where times do not.
#
#   benches/instructions.sh            prints them beside those of benches/instructions.toml
#   benches/instructions.sh --check    fails where one has grown by more than TOLERANCE percent
#   benches/instructions.sh --update   writes benches/instructions.toml anew
#
# On a processor with other vector instructions than those that were recorded, --check only compares.
#
# A count is what three runs of a path need more than one, by two: what comes before is left out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

record=benches/instructions.toml
tolerance="${TOLERANCE:-5}"
mode="${1:-}"
program="${CARGO_TARGET_DIR:-target}/release/examples/performance"

say() { printf 'benches/instructions.sh: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

case $mode in '' | --check | --update) ;; *) die "$mode is not known; --check and --update are" ;; esac
# shellcheck source=tests/packages.sh
source tests/packages.sh
command -v valgrind >/dev/null || install_packages valgrind
cargo build --locked --release --quiet --example performance || die "it does not build"

# Instructions of one path, run so often.
counted() {
    local said
    said=$(valgrind --tool=callgrind --callgrind-out-file=/dev/null \
        "$program" instructions "$1" "$2" 2>&1 >/dev/null) || die "$1 does not run: $said"
    sed -n 's/^==[0-9]*== Collected : //p' <<<"$said"
}

measure() {
    local once thrice
    once=$(counted "$1" 1)
    thrice=$(counted "$1" 3)
    printf '%s = %d\n' "$1" $(((thrice - once) / 2))
}
export -f say die counted measure
export program

# Libraries choose their code by these.
vectors=$(grep -om1 avx2 /proc/cpuinfo || echo none)

counts=$("$program" instructions | xargs -P "$(nproc)" -I{} bash -euo pipefail -c 'measure {}' | sort) ||
    die "not every path could be counted"

if [[ $mode == --update ]]; then
    {
        printf '# Instructions by path; written by benches/instructions.sh --update. Pages, polls, lines and\n'
        printf '# events are 1,000 each. %s, %s, vectors: %s.\n' \
            "$(rustc --version | cut -d' ' -f1,2)" "$(uname -m)" "$vectors"
        printf '%s\n' "$counts"
    } >"$record"
    say "$record is written"
    exit
fi

if [[ $mode == --check ]] && ! grep -q "vectors: $vectors\." "$record"; then
    say "$record is of a processor with other vector instructions: counts are compared, and none is judged"
    mode=
fi
awk -v tolerance="$tolerance" -v check="$mode" '
    BEGIN { FS = " = " }
    /^#/ { next }
    NR == FNR { recorded[$1] = $2; next }
    {
        seen[$1] = 1
        if (!($1 in recorded)) { printf "%-24s %12d  not recorded\n", $1, $2; missing = missing " " $1; next }
        grown = ($2 / recorded[$1] - 1) * 100
        printf "%-24s %12d  was %12d  %+.1f %%\n", $1, $2, recorded[$1], grown
        if (grown > tolerance) worse = worse sprintf(" %s by %.1f %%;", $1, grown)
        if (grown < -tolerance) better = better " " $1
    }
    END {
        for (path in recorded) if (!(path in seen)) missing = missing " " path
        if (better) printf "cheaper by more than %s %%:%s; record it with --update\n", tolerance, better
        if (check && missing) { printf "paths and record differ:%s; record them with --update\n", missing; failed = 1 }
        if (check && worse) {
            printf "hot paths need more than %s %% more instructions than recorded:%s\n", tolerance, worse
            printf "make them cheaper, or say in the commit why it is worth it and run benches/instructions.sh --update\n"
            failed = 1
        }
        exit failed
    }' "$record" <(printf '%s\n' "$counts")
