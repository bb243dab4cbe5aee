# Rancher's local path provisioner: the default storage class.
# shellcheck shell=bash disable=SC2034
version=$LOCAL_PATH_VERSION
inputs=go/local-path-provisioner
minutes=2

recipe_build() {
  go_build local-path-provisioner github.com/rancher/local-path-provisioner "$LOCAL_PATH_VERSION" "$1/bin" \
    -ldflags "-s -w -X main.VERSION=$LOCAL_PATH_VERSION"
}
