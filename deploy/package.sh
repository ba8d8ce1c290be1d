#!/bin/sh
# Builds the Debian package of a program that is built and stripped (deploy/build.sh).
# Usage: deploy/package.sh PROGRAM DIRECTORY
# Needs cargo-deb (cargo install --locked cargo-deb), dpkg-dev.
set -eu

[ $# = 2 ] || { echo "usage: $0 PROGRAM DIRECTORY" >&2; exit 2; }
program=$(realpath "$1")
mkdir -p "$2"
out=$(realpath "$2")
cd "$(dirname "$0")/.."

# The times of all files in the package: that of the commit.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
# cargo-deb looks for the files of the list of assets (Cargo.toml) here.
CARGO_TARGET_DIR=$(mktemp -d)
export SOURCE_DATE_EPOCH CARGO_TARGET_DIR
trap 'rm -rf "$CARGO_TARGET_DIR"' EXIT

stage=$CARGO_TARGET_DIR/release
mkdir -p "$stage/completions"
install -m 755 "$program" "$stage/jeton"
"$stage/jeton" man "$stage/man"
gzip -9n "$stage"/man/*
gzip -9nc CHANGELOG.md >"$stage/changelog.gz"
"$stage/jeton" completions bash >"$stage/completions/jeton"
"$stage/jeton" completions zsh >"$stage/completions/_jeton"
"$stage/jeton" completions fish >"$stage/completions/jeton.fish"
cargo deb --locked --no-build --no-strip --output "$out/"
