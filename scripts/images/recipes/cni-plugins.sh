# The reference CNI plugins.
# shellcheck shell=bash disable=SC2034
version=$CNI_PLUGINS_VERSION
inputs=go/cni-plugins
minutes=1

recipe_build() {
  local package=github.com/containernetworking/plugins
  go_build cni-plugins $package "$CNI_PLUGINS_VERSION" "$1/bin" \
    -ldflags "-s -w -X $package/pkg/utils/buildversion.BuildVersion=$CNI_PLUGINS_VERSION"
}
