#!/usr/bin/env bash
# The regression gate as CI runs it: compares HEAD with where it left the target branch.
#
#   loadtest/ci/gate.sh [BASE] [-- further arguments of `loadtest gate`]
#
# BASE is a branch or commit, origin/main without one; HEAD is compared with their merge base, so
# that changes which others have merged meanwhile do not count. Exit codes are those of
# the gate: 0 no regression, 1 a regression, 2 it could not run, 3 nothing could be compared.
#
# GATE_OUT            where gate.json and gate.md go; target/gate/report without it
# GITHUB_STEP_SUMMARY set by GitHub Actions: gate.md is appended there
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

fail() { printf 'gate.sh: %s\n' "$*" >&2; exit 2; }

base=origin/main
if [ $# -gt 0 ] && [ "$1" != -- ]; then
    base=$1
    shift
fi
if [ $# -gt 0 ]; then
    [ "$1" = -- ] || fail "what is \`$1\`? Arguments of the gate go behind --"
    shift
fi
out=${GATE_OUT:-target/gate/report}

if ! command -v valgrind >/dev/null; then
    if command -v apt-get >/dev/null && command -v sudo >/dev/null && [ -n "${CI:-}" ]; then
        { sudo apt-get update -qq && sudo apt-get install -y -qq --no-install-recommends valgrind; } >&2 ||
            fail "valgrind could not be installed"
    else
        fail "valgrind is missing: apt-get install valgrind"
    fi
fi

git rev-parse --quiet --verify --end-of-options "$base^{commit}" >/dev/null ||
    fail "\`$base\` is no revision here; fetch it first (fetch-depth: 0)"
merge_base=$(git merge-base "$base" HEAD) ||
    fail "HEAD and \`$base\` have no common commit; fetch the whole history (fetch-depth: 0)"

# Of an earlier run: it must not be taken for this one's.
rm -f "$out/gate.json" "$out/gate.md"
cargo build --release --locked -p loadtest >&2 || fail "the harness could not be built"
target=${CARGO_TARGET_DIR:-target}
code=0
"$target/release/loadtest" gate --base "$merge_base" --head HEAD --out "$out" "$@" || code=$?
if [ -n "${GITHUB_STEP_SUMMARY:-}" ]; then
    if [ -f "$out/gate.md" ]; then
        cat "$out/gate.md" >>"$GITHUB_STEP_SUMMARY"
    else
        printf '## Regression gate: it could not run (exit code %s)\n' "$code" >>"$GITHUB_STEP_SUMMARY"
    fi
fi
exit "$code"
