# What recipes build with. Every artefact depends on this file: a change here builds everything anew. Sourced, never run.
# shellcheck shell=bash

# A fixed date in what we pack, so that equal inputs give equal bytes where they can.
PACK_DATE=2026-01-01T00:00:00Z

# need NAME: the folder of an artefact this recipe declared in `needs`.
need() {
  artefact_path "$1"
  [ -d "$ARTEFACT" ] || { echo "recipe forgot to declare that it needs $1" >&2; return 1; }
  printf '%s\n' "$ARTEFACT"
}

# go_module NAME MODULE: the folder of a module at the version that go/NAME pins, checked against its go.sum.
go_module() (
  cd "$IMAGES_DIR/go/$1" || exit
  go mod download "$2" >&2
  go list -m -f '{{.Dir}}' "$2"
)

# go_build NAME MODULE VERSION OUT [go build flags…]: compile every program that go/NAME/go.mod lists as a tool.
# PACKAGES may name fewer.
go_build() {
  local name=$1 module=$2 version=$3 out=$4 pinned packages
  shift 4
  cd "$IMAGES_DIR/go/$name" || return
  pinned=$(go list -m -f '{{.Version}}' "$module")
  [ "$pinned" = "$version" ] || { echo "go/$name/go.mod pins $module $pinned, versions.env says $version" >&2; return 1; }
  mkdir -p "$out"
  # shellcheck disable=SC2206
  packages=(${PACKAGES:-$(awk '/^tool \(/ {in_block = 1; next} in_block && /^\)/ {exit} in_block {print $1} /^tool [^(]/ {print $2}' go.mod)})
  CGO_ENABLED=${CGO_ENABLED:-0} GOTOOLCHAIN=local GOWORK=off \
    go build -mod=readonly -trimpath "$@" -o "$out/" "${packages[@]}"
}

machine() { case $(uname -m) in x86_64) echo amd64 ;; aarch64) echo arm64 ;; *) uname -m ;; esac; }

# layer_tar FOLDER: a layer on stdout, owned by root, in a stable order.
layer_tar() {
  tar -C "$1" --sort=name --mtime="$PACK_DATE" --owner=0 --group=0 --numeric-owner -cf - .
}

sha_of() { sha256sum "$1" | cut -c1-64; }

# oci_blob FOLDER FILE: move FILE among the blobs; prints its digest.
oci_blob() {
  local digest
  digest=$(sha_of "$2")
  mkdir -p "$1/blobs/sha256"
  mv "$2" "$1/blobs/sha256/$digest"
  printf 'sha256:%s\n' "$digest"
}

# oci_layer FOLDER TAR KIND: compress a layer into the layout; sets DIFF_ID, LAYER (a descriptor).
# zstd is smaller by a third, for what a node carries; the engine's images need gzip, or `podman save` refuses them.
oci_layer() {
  local folder=$1 tar=$2 kind=$3 digest size
  DIFF_ID=sha256:$(sha_of "$tar")
  case $kind in
    gzip) gzip -n -1 <"$tar" >"$tar.packed" ;;
    zstd) zstd -q -T0 -12 -o "$tar.packed" "$tar" ;;
  esac
  rm -f "$tar"
  size=$(stat -c %s "$tar.packed")
  digest=$(oci_blob "$folder" "$tar.packed")
  LAYER="{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+$kind\",\"digest\":\"$digest\",\"size\":$size}"
}

# oci_finish FOLDER REFERENCE CONFIG LAYERS DIFF_IDS: write config, manifest and index of an OCI layout that both
# `podman load` and `ctr image import` name REFERENCE. LAYERS and DIFF_IDS are comma-separated JSON.
oci_finish() {
  local folder=$1 reference=$2 config=$3 layers=$4 diff_ids=$5 digest size
  printf '{"architecture":"%s","os":"linux","created":"%s","config":%s,"rootfs":{"type":"layers","diff_ids":[%s]},"history":[{"created":"%s","created_by":"pipe image factory"}]}' \
    "$(machine)" "$PACK_DATE" "$config" "$diff_ids" "$PACK_DATE" >"$folder/part"
  size=$(stat -c %s "$folder/part")
  digest=$(oci_blob "$folder" "$folder/part")
  printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":%s},"layers":[%s]}' \
    "$digest" "$size" "$layers" >"$folder/part"
  size=$(stat -c %s "$folder/part")
  digest=$(oci_blob "$folder" "$folder/part")
  printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"%s","size":%s,"platform":{"architecture":"%s","os":"linux"},"annotations":{"org.opencontainers.image.ref.name":"%s","io.containerd.image.name":"%s"}}]}' \
    "$digest" "$size" "$(machine)" "$reference" "$reference" >"$folder/index.json"
  printf '{"imageLayoutVersion":"1.0.0"}' >"$folder/oci-layout"
}

# oci_image FOLDER REFERENCE ROOTFS CONFIG [KIND]: an image of one layer.
oci_image() {
  mkdir -p "$1"
  layer_tar "$3" >"$1/layer.tar"
  oci_layer "$1" "$1/layer.tar" "${5:-gzip}"
  oci_finish "$1" "$2" "$4" "$LAYER" "\"$DIFF_ID\""
}
