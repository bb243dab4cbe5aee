# The images that a node carries: archives for its containerd, one program each.
# shellcheck shell=bash disable=SC2034
version=$KUBERNETES_VERSION
needs="kubernetes etcd coredns pause local-path-provisioner node-base"
inputs="root/network-tools.sh files/kube-proxy"
minutes=2

PATH_ENV='"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]'

recipe_build() {
  local out=$1 bin name
  tools_root "$PIPE_PART/tools"
  bin=$(need kubernetes)/bin
  for name in kube-apiserver kube-controller-manager kube-scheduler; do
    node_image "$out" "$name" "registry.k8s.io/$name:$KUBERNETES_VERSION" "$bin/$name" usr/local/bin "{$PATH_ENV}"
  done
  node_image "$out" etcd "registry.k8s.io/etcd:$ETCD_TAG" "$(need etcd)/bin/etcd" usr/local/bin "{$PATH_ENV}"
  node_image "$out" coredns "registry.k8s.io/coredns/coredns:$COREDNS_TAG" "$(need coredns)/bin/coredns" . \
    "{$PATH_ENV,\"Entrypoint\":[\"/coredns\"]}"
  node_image "$out" pause "registry.k8s.io/pause:$PAUSE_TAG" "$(need pause)/bin/pause" . \
    '{"User":"65535:65535","Entrypoint":["/pause"]}'
  node_image "$out" local-path-provisioner "localhost/pipe/local-path-provisioner:$LOCAL_PATH_VERSION" \
    "$(need local-path-provisioner)/bin/local-path-provisioner" usr/local/bin \
    "{$PATH_ENV,\"Entrypoint\":[\"local-path-provisioner\"]}"

  # These two also have a shell: the helper runs scripts, kube-proxy's image has iptables and ip (and serves as the
  # bundled network's image).
  ROOT=$PIPE_PART/tools/shell node_image "$out" local-path-helper "localhost/pipe/local-path-helper:$LOCAL_PATH_VERSION" \
    '' . "{$PATH_ENV,\"Cmd\":[\"/bin/sh\"]}"
  ROOT=$PIPE_PART/tools/network node_image "$out" kube-proxy "registry.k8s.io/kube-proxy:$KUBERNETES_VERSION" \
    "$bin/kube-proxy" usr/local/bin "{$PATH_ENV}"
}

tools_root() {
  as_root bash "$IMAGES_DIR/root/network-tools.sh" "$(need node-base)/base.tar.zst" "$1"
  cp -a "$IMAGES_DIR/files/kube-proxy/." "$1/network/"
}

# node_image OUT NAME REFERENCE PROGRAM FOLDER CONFIG: OUT/NAME.tar; on top of ROOT where that is set.
node_image() {
  local out=$1 name=$2 reference=$3 program=$4 folder=$5 config=$6 root=${ROOT:-$PIPE_PART/root-$2}
  mkdir -p "$root/$folder" "$root/tmp"
  chmod 1777 "$root/tmp"
  if [ -n "$program" ]; then install -m 755 "$program" "$root/$folder/"; fi
  oci_image "$PIPE_PART/oci-$name" "$reference" "$root" "$config" zstd
  tar -C "$PIPE_PART/oci-$name" -cf "$out/$name.tar" .
  rm -rf "$root" "$PIPE_PART/oci-$name"
}
