# The program that holds a pod's namespaces, compiled from the source that Kubernetes' module carries.
# shellcheck shell=bash disable=SC2034
version=$PAUSE_TAG
inputs=go/kubernetes

recipe_build() {
  local source
  source=$(go_module kubernetes k8s.io/kubernetes)/build/pause/linux/pause.c
  mkdir -p "$1/bin"
  gcc -Os -Wall -static -DVERSION="v$PAUSE_TAG" -o "$1/bin/pause" "$source"
  strip "$1/bin/pause"
}
