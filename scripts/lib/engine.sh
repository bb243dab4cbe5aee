# What Podman must be told on this host. Sourced, never run; the only place that decides it.
# shellcheck shell=bash

# Flags before the verb, one per line; none on a host with systemd and cgroup v2.
engine_flags() {
  # crun refuses a hybrid or pure v1 hierarchy.
  if [ "$(stat -fc %T /sys/fs/cgroup 2>/dev/null)" != cgroup2fs ] && engine_runc >/dev/null; then
    printf '%s\n' --runtime "$(engine_runc)"
  fi
  # Without systemd there is nobody to make cgroups for us, and no journal for events.
  if [ ! -d /run/systemd/system ]; then
    printf '%s\n' --cgroup-manager cgroupfs --events-backend file
  fi
}

engine_runc() { PATH="$PATH:/usr/sbin:/sbin" command -v runc; }

# Flags for `run` and `create`: Podman asks for more than a restricted process may have, and then the start fails with
# EPERM. Explicit limits, no higher than our own, avoid that; an unlimited host needs none.
engine_limits() {
  local files procs
  files=$(ulimit -Hn) procs=$(ulimit -Hu)
  if [ "$files" != unlimited ] && [ "$files" -lt 1048576 ]; then
    printf '%s\n' --ulimit "nofile=$files:$files"
    # Podman 4 lowers its own limit of processes to that of files, so that is the most that its children can have.
    if [ "$procs" = unlimited ] || [ "$procs" -gt "$files" ]; then procs=$files; fi
    printf '%s\n' --ulimit "nproc=$procs:$procs"
  fi
}

# The real podman: the first on PATH that is not our own wrapper.
engine_binary() {
  local candidate
  if [ -n "${PIPE_REAL_PODMAN:-}" ]; then
    printf '%s\n' "$PIPE_REAL_PODMAN"
    return
  fi
  while read -r candidate; do
    if ! grep -qs 'pipe: podman wrapper' "$candidate"; then
      printf '%s\n' "$candidate"
      return
    fi
  done < <(type -aP podman)
  echo "podman is not installed" >&2
  return 127
}

# Podman with this host's flags. It may leave processes behind (rootless, DNS), which must hold neither our log (3) nor the
# factory's lock (9).
engine() {
  local real flags
  real=$(engine_binary) || return
  mapfile -t flags < <(engine_flags)
  "$real" "${flags[@]}" "$@" 3>&- 9>&-
}
