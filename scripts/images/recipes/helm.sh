# helm for the host.
# shellcheck shell=bash disable=SC2034
version=$HELM_VERSION
inputs=go/helm
minutes=3

recipe_build() {
  local package=helm.sh/helm/v4/internal/version
  go_build helm helm.sh/helm/v4 "$HELM_VERSION" "$1/bin" \
    -ldflags "-s -w -X $package.version=$HELM_VERSION -X $package.gitTreeState=archive"
}
