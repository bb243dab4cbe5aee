#!/usr/bin/env bash
# As root: a minimal Debian with a node's packages, as one archive. SUITE MIRROR FOLDER OUT
set -euo pipefail
suite=$1 mirror=$2 root=$3 out=$4

# As in kind's base image; without dbus, as there: nothing on a node talks to it.
packages=(
  systemd                                                               # runs the services
  conntrack iptables nftables iproute2 ethtool kmod mount util-linux    # Kubernetes' components
  socat procps e2fsprogs libseccomp2 pigz
  bash ca-certificates curl jq                                          # kind's own scripts
  busybox-static                                                        # the shell of small images in the node
)

keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -f "$keyring" ] || { echo "$keyring is missing: install debian-archive-keyring" >&2; exit 1; }
rm -rf "$root"
debootstrap --variant=minbase --keyring="$keyring" --include="$(IFS=,; echo "${packages[*]}")" "$suite" "$root" "$mirror"

# Documentation, package lists and caches: half of the size.
rm -rf "$root"/usr/share/{doc,man,info,locale,lintian,bash-completion,zsh}/* \
  "$root"/var/lib/apt/lists/* "$root"/var/cache/{apt,debconf,ldconfig}/* "$root"/var/log/* "$root"/debootstrap \
  "$root"/etc/hostname "$root"/etc/resolv.conf
: >"$root/etc/machine-id"

tar -C "$root" --xattrs --xattrs-include='*' --numeric-owner --sort=name -cf - . | zstd -q -T0 -3 -o "$out"
chown "${SUDO_UID:-0}:${SUDO_GID:-0}" "$out"
rm -rf "$root"
