# A stand-in for ClickHouse: Debian's 18.16 in the place of a release eight years newer, of which there is no package. Enough
# for SQL over HTTP on a table engine of today; never proof of the real one.
# shellcheck shell=bash disable=SC2034
version=18.16.1
upstream=docker.io/clickhouse/clickhouse-server:$CLICKHOUSE_RELEASE
digest=$CLICKHOUSE_UPSTREAM_DIGEST
standin="ClickHouse 18.16.1 from Debian $DEBIAN_SUITE, instead of $CLICKHOUSE_RELEASE"
inputs="root/clickhouse.sh recipes/node-base.sh"
minutes=2

recipe_build() {
  local mirror
  # For debian_mirror.
  # shellcheck source=scripts/images/recipes/node-base.sh
  mirror=$(. "$IMAGES_DIR/recipes/node-base.sh" && debian_mirror)
  as_root bash "$IMAGES_DIR/root/clickhouse.sh" "$DEBIAN_SUITE" "$mirror" "$PIPE_PART/base" "$PIPE_PART/root"
  oci_image "$1/oci" "$(image_local clickhouse)" "$PIPE_PART/root" \
    '{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin","TZ=UTC"],"Entrypoint":["/usr/bin/clickhouse-server"],"ExposedPorts":{"8123/tcp":{},"9000/tcp":{}}}'
}
