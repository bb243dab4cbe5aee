# Run by /bin/sh in the pod, in front of save.sh and of restore.sh, for as long as somebody listens.
# Standard error tells how it goes; lines of ours begin with "pipe: ".
set -u
# In the pod's own temporary folder: it goes with the pod, and fills no volume of the database.
folder=${TMPDIR:-/tmp}/pipe-backup
tag=pipe
# KiB that are left free on the disk, which is the node's.
reserve=65536
agent='' job='' watcher='' undo=''

say() { printf 'pipe: %s\n' "$*" >&2; }
fail() { say "fault $*"; exit 1; }

# Without a word of the shell about what it killed.
stop() {
  for process in "$@"; do kill -KILL "$process" && wait "$process"; done 2> /dev/null
}

# Whatever happens: nothing goes on by itself, and nothing stays. What a killed one left is undone by
# the next.
end() {
  code=$?
  trap - EXIT
  trap '' HUP INT TERM PIPE
  stop $watcher $job $agent
  [ -z "$undo" ] || $undo > /dev/null 2>&1
  rm -rf "$folder"
  exit "$code"
}
trap end EXIT
trap 'exit 1' HUP INT TERM PIPE

# Whoever asked keeps the input open, and is gone when it ends.
watch() {
  { while read -r _; do :; done; kill -TERM $$; } <&3 > /dev/null 2>&1 &
  watcher=$!
}

# KiB that are free where the folder is.
room() {
  set -- $(df -Pk "$folder" | tail -n 1)
  printf '%s\n' "$4"
}

# An empty folder, and room for so many KiB in it.
prepare() {
  rm -rf "$folder" && mkdir -m 700 "$folder" || fail folder
  free=$(room)
  [ "$free" -gt "$(($1 + reserve))" ] || fail "full $free $(($1 + reserve))"
}

# Runs the job's steps until it ends.
work() {
  backup_agent >&2 3<&- &
  agent=$!
  "$@" >&2 3<&- &
  job=$!
  while kill -0 "$job" 2> /dev/null; do
    kill -0 "$agent" 2> /dev/null || fail agent
    free=$(room)
    [ "$free" -gt "$reserve" ] || fail "full $free $reserve"
    set -- $(du -sk "$folder" 2> /dev/null)
    say "at ${1:-0}"
    sleep 0.5 &
    wait $!
  done
  wait "$job" || fail program
  job=''
  stop "$agent"
  agent=''
}

exec 3<&0 < /dev/null
