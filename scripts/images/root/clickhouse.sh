#!/usr/bin/env bash
# As root: Debian's ClickHouse server with the libraries that it links, and nothing else. SUITE MIRROR WORK OUT
set -euo pipefail
suite=$1 mirror=$2 base=$3 out=$4

keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -f "$keyring" ] || { echo "$keyring is missing: install debian-archive-keyring" >&2; exit 1; }
rm -rf "$base" "$out"
debootstrap --variant=minbase --keyring="$keyring" --include=clickhouse-server,tzdata,ca-certificates "$suite" "$base" "$mirror"

copy() { # a file of base, its links followed
  mkdir -p "$out/$(dirname "$1")"
  cp -L "$base/$1" "$out/$1"
}
program=usr/sbin/clickhouse-server
copy "$program"
chroot "$base" ldd "/$program" | grep -oE '/[^ ]+\.so[^ ]*' | while read -r library; do copy "${library#/}"; done
# Found by name at run time, not linked: user names.
for library in "$base"/lib/*/libnss_files.so.2; do [ ! -e "$library" ] || copy "${library#"$base"/}"; done
for file in etc/ssl/certs/ca-certificates.crt usr/share/zoneinfo/UTC; do copy "$file"; done

# As in the image that it stands in for: the name of the program, the user, the folders.
mkdir -p "$out/usr/bin" "$out/tmp" "$out"/var/{lib,log}/clickhouse "$out/etc/clickhouse-server"
chmod 1777 "$out/tmp"
mv "$out/$program" "$out/usr/bin/clickhouse-server"
# It does not start without knowing its time zone.
ln -s ../usr/share/zoneinfo/UTC "$out/etc/localtime"
printf 'root:x:0:0:root:/:/bin/false\nclickhouse:x:101:101::/nonexistent:/bin/false\n' >"$out/etc/passwd"
printf 'root:x:0:\nclickhouse:x:101:\n' >"$out/etc/group"
printf 'passwd: files\ngroup: files\nhosts: files dns\n' >"$out/etc/nsswitch.conf"
rm -rf "$base"
chown -R "${SUDO_UID:-0}:${SUDO_GID:-0}" "$out"
