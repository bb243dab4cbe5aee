#!/usr/bin/env bash
# As root, in mount and PID namespaces of its own: import images with the node's own containerd, so that a node has them
# unpacked when it boots. ROOT IMAGES
set -euo pipefail
root=$1 images=$2

mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mkdir "$root/tmp/images"
mount --bind "$images" "$root/tmp/images"
inside() { chroot "$root" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"; }

# The hook hides the host's product name from pods; see kind's Dockerfile.
inside sh -c 'ctr oci spec |
  jq ".hooks.createContainer[.hooks.createContainer | length] |= . + {\"path\": \"/kind/bin/mount-product-files.sh\"} | del(.process.rlimits)" \
    >/etc/containerd/cri-base.json'

inside containerd >"$root/tmp/containerd.log" 2>&1 &
daemon=$!
deadline=$(($(date +%s) + 60))
# `ctr version` answers only when the daemon does; it hangs on a socket that is not there.
until [ -S "$root/run/containerd/containerd.sock" ] && inside timeout 5 ctr version >/dev/null 2>&1; do
  if ! kill -0 "$daemon" 2>/dev/null || [ "$(date +%s)" -ge "$deadline" ]; then
    echo "containerd did not start:" >&2
    cat "$root/tmp/containerd.log" >&2
    exit 1
  fi
  sleep 0.1
done

for archive in "$images"/*.tar; do
  echo "importing $(basename "$archive")"
  # Pinned, as kind's own: kubelet's garbage collection must not remove what cannot be pulled again.
  inside ctr --namespace=k8s.io images import --label=io.cri-containerd.pinned=pinned --all-platforms \
    --snapshotter=overlayfs "/tmp/images/$(basename "$archive")"
done
inside ctr --namespace=k8s.io images ls
inside ctr --namespace=k8s.io images check --snapshotter=overlayfs | tee "$root/tmp/check"
if awk 'NR > 1 && $NF != "true"' "$root/tmp/check" | grep -q .; then
  echo "an image is not unpacked" >&2
  exit 1
fi

kill "$daemon"
wait "$daemon" || true
sync
rm -rf "$root"/var/lib/containerd/tmpmounts/*
