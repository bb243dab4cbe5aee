# MinIO, from the commit of the release that its last published image has: one program, as the image runs it.
# shellcheck shell=bash disable=SC2034
version=$MINIO_RELEASE
upstream=quay.io/minio/minio:$MINIO_RELEASE
digest=$MINIO_UPSTREAM_DIGEST
inputs=go/minio
minutes=4

recipe_build() {
  local package=github.com/minio/minio root=$1/root commit=${MINIO_VERSION##*-} time
  # RELEASE.2025-09-07T16-13-09Z is 2025-09-07T16:13:09Z.
  time=${MINIO_RELEASE#RELEASE.}
  time=${time%%T*}T$(tr - : <<<"${time#*T}")
  go_build minio $package "$MINIO_VERSION" "$1/bin" -tags kqueue \
    -ldflags "-s -w -X $package/cmd.Version=$time -X $package/cmd.ReleaseTag=$MINIO_RELEASE -X $package/cmd.CommitID=$commit -X $package/cmd.ShortCommitID=$commit -X $package/cmd.CopyrightYear=${time%%-*}"
  mkdir -p "$root/usr/bin" "$root/tmp"
  chmod 1777 "$root/tmp"
  mv "$1/bin/minio" "$root/usr/bin/minio"
  rmdir "$1/bin"
  oci_image "$1/oci" "$(image_local minio)" "$root" \
    '{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"Entrypoint":["/usr/bin/minio"],"ExposedPorts":{"9000/tcp":{}},"Volumes":{"/data":{}}}'
  rm -r "$root"
}
