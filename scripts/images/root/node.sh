#!/usr/bin/env bash
# As root: a node's root file system, with its images unpacked in containerd, as one layer. FOLDER OUT_TAR
# The other inputs come as variables; see recipes/node.sh. The steps follow kind's images/base/Dockerfile and
# pkg/build/nodeimage, whose files are used as they are.
set -euo pipefail
root=$1 out=$2
here=$(cd "$(dirname "$0")" && pwd)

rm -rf "$root"
mkdir -p "$root"
zstd -dc "$BASE_TAR" | tar -C "$root" --xattrs --xattrs-include='*' --numeric-owner -xpf -
inside() { chroot "$root" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"; }

echo "== files"
cp -r --no-preserve=mode,ownership "$KIND_FILES"/etc "$KIND_FILES"/kind "$KIND_FILES"/LICENSES "$root/"
install -D -m 755 "$KIND_FILES/usr/local/bin/entrypoint" "$root/usr/local/bin/entrypoint"
chmod 755 "$root"/kind/bin/*
install -m 755 "$OWN_FILES/crictl" "$root/usr/local/bin/crictl"
install -m 755 "$CONTAINERD"/{containerd,ctr,containerd-shim-runc-v2} "$root/usr/local/bin/"
install -D -m 755 "$RUNC/runc" "$root/usr/local/sbin/runc"
install -d "$root/opt/cni/bin" "$root/etc/kubernetes/manifests" "$root/kind/manifests" "$root/etc/cni/net.d"
install -m 755 "$CNI"/* "$root/opt/cni/bin/"
install -m 755 "$KUBERNETES"/{kubeadm,kubectl,kubelet} "$root/usr/bin/"
printf '%s' "$KUBERNETES_VERSION" >"$root/kind/version"
install -m 644 "$STORAGE_MANIFEST" "$root/kind/manifests/default-storage.yaml"
printf 'runtime-endpoint: unix:///run/containerd/containerd.sock\n' >"$root/etc/crictl.yaml"

echo "== containerd"
# Our sandbox image; and never below our own OOM score: a host may withhold CAP_SYS_RESOURCE, and elsewhere containerd
# runs at -999, so that this changes nothing.
sed -i -e "s#sandbox_image = .*#sandbox_image = \"$PAUSE_IMAGE\"#" \
  -e 's/restrict_oom_score_adj = false/restrict_oom_score_adj = true/' "$root/etc/containerd/config.toml"
grep -q "\"$PAUSE_IMAGE\"" "$root/etc/containerd/config.toml"
grep -q 'restrict_oom_score_adj = true' "$root/etc/containerd/config.toml"

echo "== systemd"
# Only what a container needs: the rest would touch the host's devices or wait for hardware.
find "$root/lib/systemd/system/sysinit.target.wants/" -name systemd-tmpfiles-setup.service -delete
rm -f "$root"/lib/systemd/system/multi-user.target.wants/* "$root"/etc/systemd/system/*.wants/* \
  "$root"/lib/systemd/system/local-fs.target.wants/* "$root"/lib/systemd/system/sockets.target.wants/*udev* \
  "$root"/lib/systemd/system/sockets.target.wants/*initctl* "$root"/lib/systemd/system/basic.target.wants/*
echo "ReadKMsg=no" >>"$root/etc/systemd/journald.conf"
ln -sf /usr/lib/systemd/systemd "$root/sbin/init"
inside systemctl enable kubelet.service containerd.service undo-mount-hacks.service
inside systemctl mask systemd-binfmt.service

echo "== images"
# In namespaces of its own: whatever happens, no mount and no process outlives this step.
unshare --mount --pid --fork --kill-child --propagation private \
  bash "$here/preload.sh" "$root" "$NODE_IMAGES"

echo "== pack"
rm -rf "$root"/tmp/* "$root"/run/* "$root"/var/log/* "$root"/var/lib/apt/lists/* "$root/etc/resolv.conf" "$root/etc/hostname"
: >"$root/etc/machine-id"
tar -C "$root" --xattrs --xattrs-include='*' --numeric-owner --sort=name -cf "$out" .
chown "${SUDO_UID:-0}:${SUDO_GID:-0}" "$out"
rm -rf "$root"
