# Host set-up for scripts/quickstart and scripts/test: everything that a fresh Debian 12+ or Ubuntu 24.04+ lacks.
# Sourced, never run. With HOST_DRY_RUN=1 it prints what it would install and changes nothing.
# shellcheck shell=bash

HOST_LIB_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib/log.sh
. "$HOST_LIB_DIR/log.sh"
# shellcheck source=scripts/lib/root.sh
. "$HOST_LIB_DIR/root.sh"
# shellcheck source=scripts/lib/engine.sh
. "$HOST_LIB_DIR/engine.sh"
# shellcheck source=scripts/images/versions.env
. "$HOST_LIB_DIR/../images/versions.env"
# shellcheck source=scripts/lib/go.sh
. "$HOST_LIB_DIR/go.sh"

RUST_MINIMUM=${RUST_MINIMUM:-1.95}

host_field() ( # a field of os-release: ID, VERSION_ID, …
  ID='' VERSION_ID='' PRETTY_NAME=''
  # shellcheck disable=SC1091
  . /etc/os-release 2>/dev/null
  printf '%s\n' "${!1}"
)

host_at_least() { [ "$(printf '%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# host_check: is this a distribution whose packages we know?
host_check() {
  local id version minimum
  id=$(host_field ID) version=$(host_field VERSION_ID)
  case $id in
    debian) minimum=12 ;;
    ubuntu) minimum=24.04 ;;
    *) die "$(host_field PRETTY_NAME) is not set up by these scripts: they know Debian 12+ and Ubuntu 24.04+" \
      "install by hand what \`HOST_DRY_RUN=1\` lists there, then set HOST_SKIP_PACKAGES=1" ;;
  esac
  # Debian testing has no VERSION_ID: it is newer than any.
  if [ -n "$version" ] && ! host_at_least "$version" "$minimum"; then
    die "$(host_field PRETTY_NAME) is too old: $id $minimum or newer is needed"
  fi
}

# host_require_packages NAME…: install those that are missing. The package lists are fetched at most once, and only if a
# package is missing.
HOST_UPDATED=''
host_require_packages() {
  local package missing=()
  [ -z "${HOST_SKIP_PACKAGES:-}" ] || return 0
  for package in "$@"; do
    dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ -n "${HOST_DRY_RUN:-}" ]; then
    say "would install: ${missing[*]}"
    return
  fi
  host_check
  say "installing: ${missing[*]}"
  if [ -z "$HOST_UPDATED" ]; then
    host_apt update
    HOST_UPDATED=1
  fi
  host_apt install --no-install-recommends "${missing[@]}"
}

# Quiet unless it fails; waits for another apt instead of failing on its lock.
host_apt() {
  local log
  log=$(mktemp)
  if ! as_root env DEBIAN_FRONTEND=noninteractive apt-get -y -q -o DPkg::Lock::Timeout=300 "$@" >"$log" 2>&1; then
    tail -n 20 "$log" | sed 's/^/        | /' >&3
    rm -f "$log"
    die "apt-get $1 failed" "is the network there, and do you have root or sudo?"
  fi
  rm -f "$log"
}

# Podman and what it calls: networks with DNS, init for containers, rootless user namespaces.
host_engine_packages() {
  host_require_packages podman netavark aardvark-dns runc iptables catatonit uidmap slirp4netns conntrack
  # From Podman 5 on the rootless network is passt's.
  case $(podman --version 2>/dev/null) in
    'podman version '[5-9]*) host_require_packages passt ;;
  esac
  [ -n "${HOST_DRY_RUN:-}" ] || host_engine_works
}

# Said now, not after twenty minutes of building. The very first call of a Podman also warns about networks of the kind
# that it then does not choose; nobody needs to read that.
host_engine_works() {
  local answer
  answer=$(engine info 2>&1) || die "podman does not work here: $(tail -n 1 <<<"$answer")" "see for yourself: podman info"
}

# What the image factory compiles and packs with.
host_build_packages() {
  host_require_packages gcc binutils libc6-dev pkg-config libseccomp-dev debootstrap debian-archive-keyring \
    zstd tar curl ca-certificates unzip util-linux
}

# A C compiler and the rest for the Rust side.
host_rust_packages() { host_require_packages gcc libc6-dev pkg-config curl ca-certificates git; }

# host_ensure_rust: afterwards `cargo` on PATH is at least RUST_MINIMUM.
host_ensure_rust() {
  local installer
  PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
  export PATH
  if host_rust_new_enough; then return; fi
  if [ -n "${HOST_DRY_RUN:-}" ]; then
    say "would install Rust (stable, at least $RUST_MINIMUM) by rustup"
    return
  fi
  if command -v rustup >/dev/null; then
    say "Rust is older than $RUST_MINIMUM: updating it by rustup"
    rustup toolchain install stable --profile minimal --component rustfmt,clippy >&2 ||
      die "rustup could not install the stable toolchain" "is static.rust-lang.org reachable? Else install Rust $RUST_MINIMUM or newer by hand"
    rustup default stable >&2
  else
    say "installing Rust by rustup"
    installer=$(mktemp)
    if ! curl -fsSL --proto '=https' --tlsv1.2 --retry 3 -o "$installer" https://sh.rustup.rs; then
      rm -f "$installer"
      die "https://sh.rustup.rs could not be reached" \
        "behind a mirror, set RUSTUP_DIST_SERVER and install rustup by hand; or put a cargo of at least $RUST_MINIMUM on PATH (Debian's own is older)" \
        "then run this again: it does only what is left"
    fi
    sh "$installer" -y --no-modify-path --profile minimal --component rustfmt --component clippy >&2 ||
      die "rustup could not install Rust" "its message is above"
    rm -f "$installer"
  fi
  host_rust_new_enough || die "cargo is still older than $RUST_MINIMUM" "a cargo earlier on PATH hides the new one: $(command -v cargo)"
}

host_rust_new_enough() {
  local version
  version=$(cargo --version 2>/dev/null | cut -d' ' -f2) && [ -n "$version" ] && host_at_least "$version" "$RUST_MINIMUM"
}

# host_ensure_go: afterwards `go` on PATH is new enough for the image factory.
host_ensure_go() {
  if go_new_enough go "$GO_MINIMUM"; then return; fi
  host_require_packages curl unzip ca-certificates
  ensure_go
}
