# The node image: what `kind build node-image` makes, from our own builds; without a CNI manifest (kindnetd cannot be had).
# shellcheck shell=bash disable=SC2034
version=$KUBERNETES_VERSION
upstream=docker.io/kindest/node:$KUBERNETES_VERSION
digest=$NODE_UPSTREAM_DIGEST
needs="node-base node-images kubernetes containerd runc cni-plugins"
inputs="root/node.sh root/preload.sh files/node go/kind"
minutes=2

NODE_CONFIG='{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin","container=docker"],"Entrypoint":["/usr/local/bin/entrypoint","/sbin/init"],"StopSignal":"SIGRTMIN+3","Labels":{"pipe.dev/pod-network":"none"}}'

recipe_build() {
  local out=$1 kind_module
  kubeadm_agrees
  kind_module=$(go_module kind sigs.k8s.io/kind)
  storage_manifest "$kind_module" >"$PIPE_PART/default-storage.yaml"
  mkdir -p "$out/oci"
  as_root env \
    BASE_TAR="$(need node-base)/base.tar.zst" KIND_FILES="$kind_module/images/base/files" OWN_FILES="$IMAGES_DIR/files/node" \
    KUBERNETES="$(need kubernetes)/bin" CONTAINERD="$(need containerd)/bin" RUNC="$(need runc)/bin" CNI="$(need cni-plugins)/bin" \
    NODE_IMAGES="$(need node-images)" STORAGE_MANIFEST="$PIPE_PART/default-storage.yaml" \
    KUBERNETES_VERSION="$KUBERNETES_VERSION" PAUSE_IMAGE="registry.k8s.io/pause:$PAUSE_TAG" \
    bash "$IMAGES_DIR/root/node.sh" "$PIPE_PART/rootfs" "$out/oci/layer.tar"
  oci_layer "$out/oci" "$out/oci/layer.tar" gzip
  oci_finish "$out/oci" "$(image_local node)" "$NODE_CONFIG" "$LAYER" "\"$DIFF_ID\""
  # For the variant, which adds a layer.
  printf '%s' "$LAYER" >"$out/layer"
  printf '%s' "$DIFF_ID" >"$out/diff-id"
}

# The tags in versions.env must be those that this kubeadm pulls, or nodes would look for images they have not.
kubeadm_agrees() {
  local image name
  for image in $("$(need kubernetes)/bin/kubeadm" config images list --kubernetes-version "$KUBERNETES_VERSION"); do
    name=$(basename "${image%:*}")
    grep -aq "\"io.containerd.image.name\":\"$image\"" "$(need node-images)/$name.tar" ||
      { echo "kubeadm wants $image, which node-images does not make" >&2; return 1; }
  done
}

# kind's own manifest, with the two images that the node carries.
storage_manifest() {
  # shellcheck disable=SC2016
  sed -n '/^const defaultStorageManifest = `/,/^`/p' "$1/pkg/build/nodeimage/const_storage.go" | sed '1d;$d' |
    sed -e "s#\` + storageProvisionerImage + \`#localhost/pipe/local-path-provisioner:$LOCAL_PATH_VERSION#" \
      -e "s#\` + storageHelperImage + \`#localhost/pipe/local-path-helper:$LOCAL_PATH_VERSION#" >"$PIPE_PART/storage"
  if grep -q '`' "$PIPE_PART/storage" || ! grep -q 'kind: StorageClass' "$PIPE_PART/storage"; then
    echo "kind's storage manifest has changed its shape" >&2
    return 1
  fi
  cat "$PIPE_PART/storage"
}
