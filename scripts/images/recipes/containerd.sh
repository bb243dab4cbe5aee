# containerd, its shim and ctr: static, without the snapshotters that no node uses.
# shellcheck shell=bash disable=SC2034
version=$CONTAINERD_VERSION
inputs=go/containerd
minutes=2

recipe_build() {
  local package=github.com/containerd/containerd/v2
  go_build containerd $package "$CONTAINERD_VERSION" "$1/bin" \
    -tags urfave_cli_no_docs,no_aufs,no_zfs,no_btrfs,no_devmapper \
    -ldflags "-s -w -X $package/version.Version=$CONTAINERD_VERSION -X $package/version.Revision=module -X $package/version.Package=$package"
}
