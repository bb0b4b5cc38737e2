#!/usr/bin/env bash
# Collects everything the container image holds into an empty directory.
#
# Usage: rootfs.sh BINARY DEST
#
# The image has no base: what is not listed here is not in it. Run as root, so that the writable
# directories can be given to the service's user.
set -euo pipefail

readonly uid=65532 # "nonroot", as other shell-less images number it
readonly ca_bundle=/etc/ssl/certs/ca-certificates.crt

fail() {
    echo "rootfs.sh: $*" >&2
    exit 1
}

[ $# -eq 2 ] || fail "usage: rootfs.sh BINARY DEST"
binary=$1
dest=${2%/}
[ -f "$binary" ] || fail "no binary at $binary"
[ -f "$ca_bundle" ] || fail "no CA certificates at $ca_bundle; install the package ca-certificates"
if [ -e "$dest" ]; then
    [ -z "$(ls -A "$dest")" ] || fail "$dest is not empty"
fi

# Absolute paths of the shared libraries and the loader, one a line; nothing for a static binary.
shared_libraries() {
    local listing
    if ! listing=$(LC_ALL=C ldd "$1" 2>&1); then
        case $listing in
        *"not a dynamic executable"*) return 0 ;;
        *) fail "ldd $1: $listing" ;;
        esac
    fi
    case $listing in
    *"not found"*) fail "a library of $1 is missing:"$'\n'"$listing" ;;
    esac
    # "libc.so.6 => /lib/.../libc.so.6 (0x...)" or "/lib64/ld-linux-x86-64.so.2 (0x...)"
    awk '$2 == "=>" && $3 ~ /^\// { print $3; next } $1 ~ /^\// { print $1 }' <<<"$listing"
}

libraries=$(shared_libraries "$binary")
mkdir -p "$dest"
chmod 0755 "$dest"
install -D -m 0755 "$binary" "$dest/usr/bin/sluicegate"
while IFS= read -r library; do
    [ -z "$library" ] || install -D -m 0755 "$library" "$dest$library"
done <<<"$libraries"
install -D -m 0644 "$ca_bundle" "$dest$ca_bundle"

cat >"$dest/etc/passwd" <<EOF
root:x:0:0:root:/:/sbin/nologin
sluicegate:x:$uid:$uid:sluicegate:/var/lib/sluicegate:/sbin/nologin
EOF
cat >"$dest/etc/group" <<EOF
root:x:0:
sluicegate:x:$uid:
EOF
echo "hosts: files dns" >"$dest/etc/nsswitch.conf"
chmod 0644 "$dest/etc/passwd" "$dest/etc/group" "$dest/etc/nsswitch.conf"

install -d -m 0755 "$dest/etc/sluicegate"
install -d -m 1777 "$dest/tmp"
install -d -m 0750 "$dest/var/lib/sluicegate"
if [ "$(id -u)" -eq 0 ]; then
    chown "$uid:$uid" "$dest/var/lib/sluicegate"
else
    echo "rootfs.sh: not root: /var/lib/sluicegate stays owned by $(id -un)" >&2
fi
