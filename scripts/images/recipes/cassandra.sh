# Apache Cassandra for the tests: the other server that speaks CQL, since no package registry has ScyllaDB. From Maven's
# artefacts, each by its hash, on Debian's Java. A variant of our own: its superuser comes from the environment, so that
# the one that everybody knows is never there; and it starts as fast as one node alone can.
# shellcheck shell=bash disable=SC2034
version=$CASSANDRA_VERSION
upstream=docker.io/library/cassandra:$CASSANDRA_VERSION-pipe
inputs="maven/cassandra files/cassandra root/cassandra-jre.sh recipes/node-base.sh"
minutes=2

recipe_build() {
  local mirror jars=$PIPE_PART/jars root=$PIPE_PART/root jar class_path=''
  grep -q "<version>$CASSANDRA_VERSION</version>" "$IMAGES_DIR/maven/cassandra/pom.xml" ||
    { echo "maven/cassandra/pom.xml has another version than $CASSANDRA_VERSION of versions.env" >&2; return 1; }
  # No jar of other systems than Linux.
  mvn --batch-mode --quiet --file "$IMAGES_DIR/maven/cassandra/pom.xml" \
    "org.apache.maven.plugins:maven-dependency-plugin:$MAVEN_DEPENDENCY_PLUGIN_VERSION:copy-dependencies" \
    -DincludeScope=runtime -DexcludeClassifiers=osx-x86_64,osx-aarch_64,windows-x86_64 -DoutputDirectory="$jars"
  (cd "$jars" && sha256sum -- *.jar) | diff - "$IMAGES_DIR/maven/cassandra/SHA256SUMS" >&2 ||
    { echo "the artefacts are not those of maven/cassandra/SHA256SUMS" >&2; return 1; }

  # For debian_mirror.
  # shellcheck source=scripts/images/recipes/node-base.sh
  mirror=$(. "$IMAGES_DIR/recipes/node-base.sh" && debian_mirror)
  as_root bash "$IMAGES_DIR/root/cassandra-jre.sh" "$DEBIAN_SUITE" "$mirror" "$PIPE_PART/base" "$root"
  mkdir -p "$root/opt/cassandra/lib"
  mv "$jars"/*.jar "$root/opt/cassandra/lib/"
  cp "$IMAGES_DIR/files/cassandra/logback.xml" "$root/opt/cassandra/"
  for jar in "$root"/opt/cassandra/lib/*.jar; do class_path+=$jar:; done
  # A class archive of Java's own classes: half a second of each start.
  "$root/usr/lib/jvm/java/bin/java" -Xshare:dump >&2
  # Eclipse's compiler is among what Cassandra asks for.
  "$root/usr/lib/jvm/java/bin/java" -jar "$root"/opt/cassandra/lib/ecj-*.jar -17 -proc:none -cp "$class_path" \
    -d "$root/opt/cassandra/classes" "$IMAGES_DIR/files/cassandra/SuperuserFromEnvironment.java"
  oci_image "$1/oci" "$(image_local cassandra)" "$root" \
    "{\"Env\":[\"PATH=/usr/lib/jvm/java/bin\"],\"Entrypoint\":[$(cassandra_command)],\"User\":\"999:999\",\"ExposedPorts\":{\"9042/tcp\":{}},\"Volumes\":{\"/var/lib/cassandra\":{}}}"
  as_root rm -rf "$root"
}

# What starts it, as JSON. cassandra.yaml comes from a chart, at /etc/cassandra; arguments after this are the daemon's.
cassandra_command() {
  local item command=(
    java -Xms256m -Xmx256m -Xss256k -XX:MaxDirectMemorySize=64m -XX:+ExitOnOutOfMemoryError
    # For seconds of use on few cores: no waiting for a better compiler or collector.
    -XX:+UseSerialGC -XX:TieredStopAtLevel=1
    # One node alone: nobody to wait for. The row overhead is what Cassandra else measures for four seconds.
    -Dcassandra.skip_wait_for_gossip_to_settle=0 -Dcassandra.ring_delay_ms=0 -Dcassandra.memtable.row_overhead_size=181
    -Dcassandra.storagedir=/var/lib/cassandra -Dcassandra.config=file:///etc/cassandra/cassandra.yaml
    # Settings of cassandra.yaml that are known only when a pod starts.
    -Dcassandra.config.allow_system_properties=true
    -Dlogback.configurationFile=/opt/cassandra/logback.xml
  )
  # What Cassandra reaches for within Java 17.
  for item in java.lang.module jdk.internal.loader jdk.internal.ref jdk.internal.reflect jdk.internal.math jdk.internal.module \
    jdk.internal.util.jar jdk.internal.misc sun.nio.ch java.io java.lang java.lang.reflect java.util java.util.concurrent \
    java.util.concurrent.atomic java.nio; do
    command+=("--add-opens=java.base/$item=ALL-UNNAMED" "--add-exports=java.base/$item=ALL-UNNAMED")
  done
  command+=(--add-exports=java.rmi/sun.rmi.registry=ALL-UNNAMED --add-exports=java.rmi/sun.rmi.server=ALL-UNNAMED
    --add-exports=java.management.rmi/com.sun.jmx.remote.internal.rmi=ALL-UNNAMED
    --add-exports=jdk.attach/sun.tools.attach=ALL-UNNAMED --add-opens=jdk.management/com.sun.management.internal=ALL-UNNAMED
    '-cp' '/opt/cassandra/classes:/opt/cassandra/lib/*' org.apache.cassandra.service.CassandraDaemon)
  printf -v item '"%s",' "${command[@]}"
  printf '%s' "${item%,}"
}
