# CoreDNS with a main of our own (go/coredns/main.go): only the plugins that clusters use.
# shellcheck shell=bash disable=SC2034
version=$COREDNS_VERSION
inputs=go/coredns
minutes=1

recipe_build() {
  PACKAGES=. go_build coredns github.com/coredns/coredns "$COREDNS_VERSION" "$1/bin" \
    -ldflags "-s -w -X github.com/coredns/coredns/coremain.gitTag=$COREDNS_VERSION -X github.com/coredns/coredns/coremain.GitCommit=module"
}
