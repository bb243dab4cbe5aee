# Debian's root file system for nodes: what kind's base image installs, less what needs hardware or NFS.
# shellcheck shell=bash disable=SC2034
version=$DEBIAN_SUITE
inputs=root/base.sh
minutes=2

recipe_build() {
  as_root bash "$IMAGES_DIR/root/base.sh" "$DEBIAN_SUITE" "$(debian_mirror)" "$PIPE_PART/root" "$1/base.tar.zst"
}

# The mirror that this host itself uses for Debian, else the public one.
debian_mirror() {
  local uri=''
  if [ -n "${PIPE_DEBIAN_MIRROR:-}" ]; then
    uri=$PIPE_DEBIAN_MIRROR
  elif command -v apt-get >/dev/null; then
    # shellcheck disable=SC2016
    uri=$(apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' 2>/dev/null |
      awk '$1 == "Debian" && $2 !~ /security/ {print $2; exit}') || true
  fi
  printf '%s\n' "${uri:-http://deb.debian.org/debian}"
}
