# Takes an archive from standard input, empties the database, and fills it from the archive.
# Arguments: the archive's bytes, and the version that the database had.
size=$1 version=$2
abort() { timeout 30 fdbrestore abort --dest-cluster-file "$FDB_CLUSTER_FILE" -t "$tag"; }

prepare "$((size / 1024))"
say send
head -c "$size" <&3 | tar -C "$folder" -xf - || fail archive
set -- "$folder"/backup-*
[ -d "$1" ] || fail archive
url=file://$1
# Without a change: whether it can be done at all.
fdbrestore start -r "$url" -v "$version" --user-data -n >&2 || fail unusable
# Whoever asked knows whether anything was touched: it is they who say so.
say ready
read -r _ <&3 || exit 1
watch
# One that was cut off holds the database locked.
abort > /dev/null 2>&1
cleared=$(fdbcli --timeout 60 --exec 'writemode on; clearrange "" \xff' 2>&1)
case "$cleared" in
  *'Committed ('*) ;;
  *)
    printf '%s\n' "$cleared" >&2
    fail clear
    ;;
esac
undo=abort
work fdbrestore start -r "$url" --dest-cluster-file "$FDB_CLUSTER_FILE" -t "$tag" -v "$version" --user-data -w
undo=''
