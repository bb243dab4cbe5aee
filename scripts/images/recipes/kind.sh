# kind for the host: it makes the clusters that ours are compared with.
# shellcheck shell=bash disable=SC2034
version=$KIND_VERSION
inputs=go/kind
minutes=1

recipe_build() {
  go_build kind sigs.k8s.io/kind "$KIND_VERSION" "$1/bin" -ldflags "-s -w"
}
