#!/bin/sh
# Checks that a program runs with an old glibc: fails if it, or a library given, needs a symbol of a
# later version than the floor. Usage: deploy/glibc-floor.sh 2.34 PROGRAM…
set -eu

[ $# -ge 2 ] || { echo "usage: $0 VERSION PROGRAM…" >&2; exit 2; }
floor=$1
shift
status=0
for program; do
    # A line of the dynamic symbols such as: 0000 DF *UND* 0000 (GLIBC_2.34) pthread_create
    symbols=$(objdump -T "$program")
    versions=$(printf '%s\n' "$symbols" | sed -n 's/.*(\{0,1\}GLIBC_\([0-9][0-9.]*\))\{0,1\} .*/\1/p' | sort -Vu)
    [ -n "$versions" ] || { echo "$program: no symbol of glibc: is it dynamically linked?" >&2; exit 2; }
    newest=$(printf '%s\n' "$versions" | tail -n 1)
    if [ "$(printf '%s\n%s\n' "$newest" "$floor" | sort -V | tail -n 1)" = "$floor" ]; then
        echo "$program: needs glibc $newest, and $floor is promised"
    else
        echo "$program: needs glibc $newest, but $floor is promised; symbols of later versions:" >&2
        for version in $versions; do
            [ "$(printf '%s\n%s\n' "$version" "$floor" | sort -V | tail -n 1)" = "$floor" ] ||
                printf '%s\n' "$symbols" | grep -F "GLIBC_$version)" | sed 's/.*(/  (/' >&2
        done
        status=1
    fi
done
exit $status
