#!/usr/bin/env bash
# As root: two small root file systems out of the node's Debian. BASE_TAR OUT
#   OUT/shell    busybox and its commands
#   OUT/network  the same, with iptables (both kinds), nft, ip and conntrack, and the libraries they link
set -euo pipefail
base_tar=$1 out=$2

base=$out/base
mkdir -p "$base" "$out/shell/bin" "$out/network"
zstd -dc "$base_tar" | tar -C "$base" --numeric-owner -xf -

cp "$base/bin/busybox" "$out/shell/bin/"
"$out/shell/bin/busybox" --list | while read -r command; do
  [ "$command" = busybox ] || ln -s busybox "$out/shell/bin/$command"
done
mkdir -p "$out"/shell/{etc,tmp,usr/local/bin,usr/sbin}

cp -a "$out/shell/." "$out/network/"
# Real programs instead of busybox's of the same name.
rm -f "$out"/network/bin/{ip,ipcalc,iptables}
copy() { # a file of base, its links followed
  mkdir -p "$out/network/$(dirname "$1")"
  cp -L "$base/$1" "$out/network/$1"
}
for program in usr/sbin/xtables-legacy-multi usr/sbin/xtables-nft-multi usr/sbin/nft usr/sbin/conntrack usr/bin/ip; do
  copy "$program"
  chroot "$base" ldd "/$program" | grep -oE '/[^ ]+\.so[^ ]*' | while read -r library; do copy "${library#/}"; done
done
for folder in "$base"/usr/lib/*/xtables; do
  mkdir -p "$out/network/${folder#"$base"/}"
  cp -a "$folder/." "$out/network/${folder#"$base"/}/"
done
for library in "$base"/usr/lib/*/xtables/*.so; do
  chroot "$base" ldd "${library#"$base"}" | grep -oE '/[^ ]+\.so[^ ]*' || true
done | sort -u | while read -r library; do copy "${library#/}"; done
for kind in legacy nft; do
  for command in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
    ln -sf "xtables-$kind-multi" "$out/network/usr/sbin/${command/tables/tables-$kind}"
  done
done
rm -rf "$base"
chown -R "${SUDO_UID:-0}:${SUDO_GID:-0}" "$out"
