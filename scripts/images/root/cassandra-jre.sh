#!/usr/bin/env bash
# As root: Debian's headless Java with the libraries that it links, and nothing else. SUITE MIRROR WORK OUT
set -euo pipefail
suite=$1 mirror=$2 base=$3 out=$4

keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -f "$keyring" ] || { echo "$keyring is missing: install debian-archive-keyring" >&2; exit 1; }
rm -rf "$base" "$out"
# Unpacked, not set up: no script of a package is needed here, and that is most of the time.
debootstrap --variant=minbase --keyring="$keyring" --download-only --include=openjdk-17-jre-headless "$suite" "$base" "$mirror"
mkdir -p "$out"
for package in libc6 libgcc-s1 libstdc++6 zlib1g openjdk-17-jre-headless; do
  for file in "$base/var/cache/apt/archives/$package"_*.deb; do dpkg-deb --extract "$file" "$out"; done
done
rm -rf "$base" "$out"/usr/share/{doc,man,lintian,gdb,locale,bug} "$out"/usr/lib/*/gconv "$out/usr/lib/debug"
ln -s "$(cd "$out/usr/lib/jvm" && ls -d java-17-openjdk-*)" "$out/usr/lib/jvm/java"
# It is run from this folder too, when the image is made.
find "$out/usr/lib/jvm" -lname '/etc/java-17-openjdk*' | while read -r link; do
  ln --symbolic --relative --force --no-dereference "$out$(readlink "$link")" "$link"
done
mkdir -p "$out/tmp" "$out/etc" "$out/var/lib/cassandra"
chmod 1777 "$out/tmp"
printf 'root:x:0:0:root:/:/bin/false\ncassandra:x:999:999::/nonexistent:/bin/false\n' >"$out/etc/passwd"
printf 'root:x:0:\ncassandra:x:999:\n' >"$out/etc/group"
printf 'passwd: files\ngroup: files\nhosts: files dns\n' >"$out/etc/nsswitch.conf"
chown -R "${SUDO_UID:-0}:${SUDO_GID:-0}" "$out"
