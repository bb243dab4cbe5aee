# Root where it is needed, and only there. Sourced, never run.
# shellcheck shell=bash

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo -- "$@"
  else
    die "this step needs root: $*" "run it as root, or install sudo"
  fi
}
