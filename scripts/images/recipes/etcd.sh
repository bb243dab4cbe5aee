# etcd: the module's main package is named server, the program etcd.
# shellcheck shell=bash disable=SC2034
version=$ETCD_VERSION
inputs=go/etcd
minutes=1

recipe_build() {
  go_build etcd go.etcd.io/etcd/server/v3 "$ETCD_VERSION" "$1/bin" -ldflags "-s -w"
  mv "$1/bin/server" "$1/bin/etcd"
}
