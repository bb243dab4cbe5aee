# A stand-in for Zot, which no package registry has: the CNCF distribution registry. It keeps and serves images; it has no
# referrers API, and who may read may write.
# shellcheck shell=bash disable=SC2034
version=${DISTRIBUTION_VERSION#v}
upstream=ghcr.io/project-zot/zot:$ZOT_RELEASE
digest=$ZOT_UPSTREAM_DIGEST
standin="distribution ${DISTRIBUTION_VERSION#v}, instead of Zot ${ZOT_RELEASE#v}"
inputs=go/registry
minutes=1

recipe_build() {
  local module=github.com/distribution/distribution/v3 root=$1/root
  PACKAGES=. go_build registry $module "$DISTRIBUTION_VERSION" "$1/bin" \
    -ldflags "-s -w -X $module/version.version=$DISTRIBUTION_VERSION"
  mkdir -p "$root/bin" "$root/var/lib/registry" "$root/tmp"
  chmod 1777 "$root/tmp"
  mv "$1/bin/registry" "$root/bin/registry"
  rmdir "$1/bin"
  oci_image "$1/oci" "$(image_local registry)" "$root" \
    '{"Env":["PATH=/bin","OTEL_TRACES_EXPORTER=none"],"Entrypoint":["/bin/registry"],"Cmd":["serve","/etc/distribution/config.yml"],"ExposedPorts":{"5000/tcp":{}},"Volumes":{"/var/lib/registry":{}}}'
  rm -r "$root"
}
