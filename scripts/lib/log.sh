# How every script here speaks: one line per step on stderr, with the seconds since the start. Sourced, never run.
# shellcheck shell=bash

: "${PIPE_T0:=$(date +%s)}"
export PIPE_T0

# Builders send their own output to a log and keep descriptor 3 for these lines.
if ! { true >&3; } 2>/dev/null; then exec 3>&2; fi

say() { printf '[%4ds] %s\n' "$(($(date +%s) - PIPE_T0))" "$*" >&3; }
warn() { say "warning: $*"; }
die() {
  say "error: $1"
  shift
  local remedy
  for remedy in "$@"; do printf '        %s\n' "$remedy" >&3; done
  exit 1
}
