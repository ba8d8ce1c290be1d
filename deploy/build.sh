#!/bin/sh
# Builds the program for a release: DIRECTORY/jeton, stripped, and its symbols in DIRECTORY/jeton.debug.
# Usage: deploy/build.sh DIRECTORY
#
# The same commit, built with the same compilers in another directory, shall give the same bytes: no
# path of this machine gets into the program. It runs where glibc is as old as GLIBC_FLOOR.
set -eu

GLIBC_FLOOR=2.34

[ $# = 1 ] || { echo "usage: $0 DIRECTORY" >&2; exit 2; }
mkdir -p "$1"
out=$(realpath "$1")
cd "$(dirname "$0")/.."
top=$(pwd -P)
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
cargo_home=$(realpath "${CARGO_HOME:-$HOME/.cargo}")
sysroot=$(rustc --print sysroot)

# The day of the build is that of the commit: the page "Clocks" says what it is for.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
# For Rust, and for the C of the allocator and of AWS-LC. Later ones win.
rust= c=
for map in "$sysroot=/rust" "$cargo_home=/cargo" "$top=/jeton" "$target=/target"; do
    rust="$rust,\"--remap-path-prefix=$map\""
    c="$c -ffile-prefix-map=$map"
done
export CFLAGS="${CFLAGS:-}$c"
# Not RUSTFLAGS: it would replace the flags of .cargo/config.toml, and with them the AES instructions.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
cargo build --release --locked --bin jeton --config "target.\"cfg(all())\".rustflags=[${rust#,}]"

objcopy --only-keep-debug --compress-debug-sections=zlib "$target/release/jeton" "$out/jeton.debug"
chmod 644 "$out/jeton.debug"
strip -o "$out/jeton" "$target/release/jeton"
(cd "$out" && objcopy --add-gnu-debuglink=jeton.debug jeton)
deploy/glibc-floor.sh "$GLIBC_FLOOR" "$out/jeton"
