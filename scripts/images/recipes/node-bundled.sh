# The node image with a network of its own (files/node-bundled/default-cni.yaml), for clusters that want the image's
# manifest, as upstream's images have one.
# shellcheck shell=bash disable=SC2034
version=$KUBERNETES_VERSION-bundled
upstream=docker.io/kindest/node:$KUBERNETES_VERSION-bundled
needs=node
inputs="files/node-bundled recipes/node.sh"

recipe_build() {
  local out=$1 node root=$PIPE_PART/root
  # For NODE_CONFIG.
  # shellcheck source=scripts/images/recipes/node.sh
  . "$IMAGES_DIR/recipes/node.sh"
  node=$(need node)
  mkdir -p "$out/oci" "$root/kind/manifests"
  # The same blobs, not copies: they never change.
  cp -al "$node/oci/blobs" "$out/oci/"
  sed -e "s#@KUBE_PROXY_IMAGE@#registry.k8s.io/kube-proxy:$KUBERNETES_VERSION#" \
    "$IMAGES_DIR/files/node-bundled/default-cni.yaml" >"$root/kind/manifests/default-cni.yaml"
  layer_tar "$root" >"$out/oci/layer.tar"
  oci_layer "$out/oci" "$out/oci/layer.tar" gzip
  oci_finish "$out/oci" "$(image_local node-bundled)" "${NODE_CONFIG/\"none\"/\"bundled\"}" \
    "$(cat "$node/layer"),$LAYER" "\"$(cat "$node/diff-id")\",\"$DIFF_ID\""
}
