#!/bin/sh
# Builds the container image of a program that is built and stripped (deploy/build.sh): the program,
# the libraries that it is linked with, the certificates of public authorities, and nothing else.
# Usage: deploy/image.sh PROGRAM [TAG]
# Runs where the program was built, and takes the libraries of that system. Needs buildah, podman or
# docker; CONTAINER_TOOL names one of them. No network.
set -eu

[ $# -ge 1 ] || { echo "usage: $0 PROGRAM [TAG]" >&2; exit 2; }
program=$1
tag=${2:-jeton}
here=$(dirname "$0")
user=65532
# The times of all files in the image: that of the commit.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$here" log -1 --format=%ct)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root

install -D -m 755 "$program" "$root/usr/bin/jeton"
# Lines of ldd such as: libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…), and the loader's without an arrow.
ldd "$program" | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p; s/^[[:space:]]*\(\/[^ ]*\) (.*/\1/p' | sort -u |
    while read -r library; do
        install -D -m 755 "$(realpath "$library")" "$root$library"
    done
install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
# Names of hosts: /etc/hosts, then DNS.
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
echo "jeton:x:$user:$user:jeton:/var/lib/jeton:/sbin/nologin" >"$root/etc/passwd"
echo "jeton:x:$user:" >"$root/etc/group"
chmod 644 "$root"/etc/nsswitch.conf "$root"/etc/passwd "$root"/etc/group
install -D -m 644 "$here/../LICENSE" "$root/usr/share/doc/jeton/LICENSE"
for package in libc6 libgcc-s1 ca-certificates; do
    notice=/usr/share/doc/$package/copyright
    [ ! -e "$notice" ] || install -D -m 644 "$notice" "$root$notice"
done
find "$root" -type d -exec chmod 755 {} +

tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --numeric-owner --owner=0 --group=0 \
    -C "$root" -cf "$work/rootfs.tar" .
# The directory of the data belongs to the user of the service.
mkdir -p "$work/state/var/lib/jeton"
chmod 700 "$work/state/var/lib/jeton"
tar --mtime="@$SOURCE_DATE_EPOCH" --numeric-owner --owner=$user --group=$user \
    -C "$work/state" -rf "$work/rootfs.tar" ./var/lib/jeton
mkdir "$work/context"
mv "$work/rootfs.tar" "$work/context/"

for tool in ${CONTAINER_TOOL:-buildah podman docker}; do
    command -v "$tool" >/dev/null || continue
    case $tool in
        docker) docker build -t "$tag" -f "$here/Dockerfile" "$work/context" ;;
        *) "$tool" build --timestamp "$SOURCE_DATE_EPOCH" -t "$tag" -f "$here/Dockerfile" "$work/context" ;;
    esac
    exit
done
echo "neither buildah, podman nor docker is installed" >&2
exit 1
