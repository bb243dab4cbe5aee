# The factory's own machinery: where things are, what a recipe is, when it must be built. It changes no artefact's
# content, so it is no input of any; what does is in build.sh. Sourced, never run.
# shellcheck shell=bash

IMAGES_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
LIB_DIR=$(cd "$IMAGES_DIR/../lib" && pwd)
# shellcheck source=scripts/lib/log.sh
. "$LIB_DIR/log.sh"
# shellcheck source=scripts/lib/root.sh
. "$LIB_DIR/root.sh"
# shellcheck source=scripts/lib/engine.sh
. "$LIB_DIR/engine.sh"
# shellcheck source=scripts/images/versions.env
. "$IMAGES_DIR/versions.env"
# shellcheck source=scripts/lib/go.sh
. "$LIB_DIR/go.sh"
# shellcheck source=scripts/images/build.sh
. "$IMAGES_DIR/build.sh"

CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/pipe
ARTEFACTS=$CACHE/factory/artefacts
LOGS=$CACHE/factory/logs
WORK=$CACHE/factory/work
ENTRIES=$CACHE/images/entries
mkdir -p "$ARTEFACTS" "$LOGS" "$WORK" "$ENTRIES" "$CACHE/tools"

recipe_exists() { [ -f "$IMAGES_DIR/recipes/$1.sh" ]; }

# recipe_get NAME VARIABLE: one field of a recipe (needs, inputs, upstream, version, standin, minutes).
recipe_get() (
  # shellcheck disable=SC2034
  needs='' inputs='' upstream='' digest='' version='' standin='' minutes=1
  # shellcheck disable=SC1090
  . "$IMAGES_DIR/recipes/$1.sh"
  printf '%s\n' "${!2}"
)

declare -A HASHES=()

# recipe_hash NAME: sha256 over all that goes into the artefact, in the variable HASH. The host's Go version is left out
# on purpose: an upgrade of Go must not rebuild a cluster's images.
recipe_hash() {
  local name=$1 need list='' file variable path
  if [ -n "${HASHES[$name]:-}" ]; then
    HASH=${HASHES[$name]}
    return
  fi
  list="machine $(uname -m)"$'\n'
  for path in "recipes/$name.sh" build.sh $(recipe_get "$name" inputs); do
    while read -r file; do
      list+="file $file $(sha256sum <"$IMAGES_DIR/$file")"$'\n'
    done < <(cd "$IMAGES_DIR" && find "$path" ! -type d | LC_ALL=C sort)
  done
  # Every name of versions.env that the recipe mentions.
  for variable in $(grep -oE '^[A-Z0-9_]+=' "$IMAGES_DIR/versions.env" | tr -d =); do
    if grep -qw "$variable" "$IMAGES_DIR/recipes/$name.sh"; then list+="version $variable=${!variable}"$'\n'; fi
  done
  for need in $(recipe_get "$name" needs); do
    recipe_hash "$need"
    list+="needs $need $HASH"$'\n'
  done
  HASH=$(printf '%s' "$list" | sha256sum | cut -c1-64)
  HASHES[$name]=$HASH
}

# artefact_path NAME: the folder of the artefact, in the variable ARTEFACT. It exists only when it is complete.
artefact_path() {
  recipe_hash "$1"
  ARTEFACT=$ARTEFACTS/$1/${HASH:0:12}
}

# make_artefact NAME: build it, and first what it needs, unless it is there.
make_artefact() {
  local name=$1 need start log part old
  artefact_path "$name"
  if [ -d "$ARTEFACT" ]; then return; fi
  for need in $(recipe_get "$name" needs); do make_artefact "$need"; done

  log=$LOGS/$name.log part=$WORK/$name
  start=$(date +%s)
  say "$name: building, about $(recipe_get "$name" minutes) min (log: $log)"
  as_root rm -rf "$part"
  mkdir -p "$part/out"
  # A process of its own, so that `set -e` holds inside the recipe.
  if ! PIPE_PART=$part bash "$IMAGES_DIR/factory" __recipe "$name" "$part/out" >"$log" 2>&1; then
    tail -n 25 "$log" | sed 's/^/        | /' >&3
    as_root rm -rf "$part"
    die "$name could not be built" "the whole log: $log"
  fi
  artefact_path "$name"
  mkdir -p "$(dirname "$ARTEFACT")"
  for old in "$(dirname "$ARTEFACT")"/*; do as_root rm -rf "$old"; done
  mv "$part/out" "$ARTEFACT"
  as_root rm -rf "$part"
  say "$name: done in $(($(date +%s) - start)) s, $(du -sh "$ARTEFACT" | cut -f1)"
}

# ---- images in the engine ----

image_local() { # NAME: the tag it has in the engine
  recipe_hash "$1"
  printf 'localhost/pipe/%s:%s-%s\n' "$1" "$(recipe_get "$1" version)" "${HASH:0:12}"
}

# install_image NAME: in the engine and in built.json; loaded from the archive where the engine lacks it.
install_image() {
  local name=$1 tag old size class='"built"' standin
  tag=$(image_local "$name")
  if ! engine image exists "$tag"; then
    make_artefact "$name"
    artefact_path "$name"
    say "$name: loading into the engine"
    # As an archive: Podman 4 refuses a folder whose path has a part that begins with a dot.
    tar -C "$ARTEFACT/oci" -cf - . | engine load --quiet >>"$LOGS/$name.log" 2>&1 ||
      die "podman could not load $ARTEFACT/oci" "see $LOGS/$name.log"
    engine image exists "$tag" || die "podman loaded $ARTEFACT/oci, but not as $tag"
    # Earlier builds of the same image; one that a container uses stays.
    while read -r old; do
      [ "$old" = "$tag" ] || engine rmi "$old" >/dev/null 2>&1 || true
    done < <(engine images --filter "reference=localhost/pipe/$name" --format '{{.Repository}}:{{.Tag}}')
  fi
  size=$(engine image inspect --format '{{.Size}}' "$tag")
  recipe_hash "$name"
  standin=$(recipe_get "$name" standin)
  if [ -n "$standin" ]; then class="\"stand-in\",\"instead\":\"$standin\""; fi
  printf '{"upstream":"%s","local":"%s","recipe":"%s","version":"%s","class":%s,"size":%s}\n' \
    "$(recipe_get "$name" upstream)" "$tag" "$HASH" "$(recipe_get "$name" version)" "$class" "$size" >"$ENTRIES/$name.new"
  mv "$ENTRIES/$name.new" "$ENTRIES/$name"
  write_built_json
  say "$name: $tag, $((size / 1000000)) MB"
}

# forget_image NAME: it is no longer served from a build.
forget_image() {
  rm -f "$ENTRIES/$1"
  write_built_json
}

write_built_json() {
  local entry separator='' target=$CACHE/images/built.json
  {
    printf '{"schema":1,"images":['
    for entry in "$ENTRIES"/*; do
      case $entry in *'*' | *.new) continue ;; esac
      printf '%s\n%s' "$separator" "$(cat "$entry")"
      separator=,
    done
    printf '\n]}\n'
  } >"$target.new"
  mv "$target.new" "$target"
}

# ---- tools ----

install_tool() {
  local name=$1 version target
  version=$(recipe_get "$name" version)
  make_artefact "$name"
  artefact_path "$name"
  target=$CACHE/tools/$name/$version/$name
  if ! cmp -s "$ARTEFACT/bin/$name" "$target"; then
    mkdir -p "$(dirname "$target")"
    cp "$ARTEFACT/bin/$name" "$target.new"
    chmod 755 "$target.new"
    mv "$target.new" "$target"
  fi
  say "$name: $target"
}
