# NATS, laid out as the official image is: one program in /, its configuration beside it, nothing else.
# shellcheck shell=bash disable=SC2034
version=${NATS_VERSION#v}
upstream=docker.io/library/nats:${NATS_VERSION#v}
digest=$NATS_UPSTREAM_DIGEST
inputs="go/nats files/nats"
minutes=1

recipe_build() {
  local package=github.com/nats-io/nats-server/v2 root=$1/root
  go_build nats $package "$NATS_VERSION" "$1/bin" -ldflags "-s -w -X $package/server.serverVersion=$NATS_VERSION"
  mkdir -p "$root"
  mv "$1/bin/nats-server" "$root/nats-server"
  rmdir "$1/bin"
  cp "$IMAGES_DIR/files/nats/nats-server.conf" "$root/"
  oci_image "$1/oci" "$(image_local nats)" "$root" \
    '{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/"],"Entrypoint":["/nats-server"],"Cmd":["--config","nats-server.conf"],"WorkingDir":"/","ExposedPorts":{"4222/tcp":{},"6222/tcp":{},"8222/tcp":{}}}'
  rm -r "$root"
}
