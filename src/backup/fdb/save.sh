# Backs the database up, says `described JSON`, and sends the folder as an archive to standard output.
# Arguments: KiB that it may take.
abort() { timeout 30 fdbbackup abort -t "$tag"; }

watch
prepare "$1"
# One that nobody waits for any more would keep the tag, and have every change of the database logged.
abort > /dev/null 2>&1
undo=abort
work fdbbackup start -d "file://$folder" -t "$tag" -w
undo=''
set -- "$folder"/backup-*
[ -d "$1" ] || fail empty
described=$(fdbbackup describe -d "file://$1" --json) || fail describe
say "described $(printf '%s' "$described" | tr -d '\n')"
# Only this looks for every file: an agent elsewhere writes its part to a disk of its own.
fdbrestore start -r "file://$1" --user-data -n >&2 || fail unusable
tar -C "$folder" -cf - . 3<&- &
job=$!
wait "$job" || fail archive
job=''
