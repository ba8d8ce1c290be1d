#!/bin/sh
# Packs a program that deploy/build.sh has built, with what is needed to run it:
# DIRECTORY/jeton-VERSION-ARCHITECTURE-linux.tar.gz, and its symbols beside it.
# Usage: deploy/archive.sh DIRECTORY
set -eu

[ $# = 1 ] || { echo "usage: $0 DIRECTORY" >&2; exit 2; }
out=$(realpath "$1")
cd "$(dirname "$0")/.."
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
version=$("$out/jeton" --version | cut -d ' ' -f 2)
name=jeton-$version-$(uname -m)-linux
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkdir -p "$work/$name/examples"
install -m 755 "$out/jeton" "$work/$name/"
install -m 644 LICENSE README.md CHANGELOG.md "$work/$name/"
install -m 644 examples/jeton.toml "$work/$name/examples/"
cp -r deploy "$work/$name/"
"$out/jeton" man "$work/$name/man"
mkdir "$work/$name/completions"
for shell in bash zsh fish elvish powershell; do
    "$out/jeton" completions "$shell" >"$work/$name/completions/jeton.$shell"
done
chmod -R u=rwX,go=rX "$work/$name"
tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --numeric-owner --owner=0 --group=0 \
    -C "$work" -cf - "$name" | gzip -9n >"$out/$name.tar.gz"
# The program looks for its symbols under this name, beside it or below /usr/lib/debug.
cp "$out/jeton.debug" "$out/$name.debug"
