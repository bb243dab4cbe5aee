# cosign for the tests: it must accept what we sign, and we what it signs.
# shellcheck shell=bash disable=SC2034
version=$COSIGN_VERSION
inputs=go/cosign
minutes=3

recipe_build() {
  local package=sigs.k8s.io/release-utils/version
  PACKAGES=. go_build cosign github.com/sigstore/cosign/v3 "$COSIGN_VERSION" "$1/bin" \
    -ldflags "-s -w -X $package.gitVersion=$COSIGN_VERSION"
}
