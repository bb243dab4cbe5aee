# A Go compiler that is new enough: the host's, else one from the Go module proxy, in our cache. Sourced, never run.
# shellcheck shell=bash

go_new_enough() { # GO MINIMUM
  local version
  version=$(GOTOOLCHAIN=local "$1" env GOVERSION 2>/dev/null) || return 1
  [ "$(printf '%s\n' "$2" "${version#go}" | sort -V | head -n1)" = "$2" ]
}

# The first proxy of the user's own setting.
go_proxy() {
  local setting=${GOPROXY:-}
  if [ -z "$setting" ] && command -v go >/dev/null; then setting=$(GOTOOLCHAIN=local go env GOPROXY); fi
  setting=${setting%%[,|]*}
  case $setting in '' | direct | off) setting=https://proxy.golang.org ;; esac
  printf '%s\n' "${setting%/}"
}

# ensure_go: afterwards `go` on PATH is at least GO_MINIMUM. Needs versions.env, curl and unzip where it downloads.
ensure_go() {
  local machine sum home zip
  if go_new_enough go "$GO_MINIMUM"; then return; fi
  case $(uname -m) in
    x86_64) machine=amd64 sum=$GO_TOOLCHAIN_SHA256_AMD64 ;;
    aarch64) machine=arm64 sum=$GO_TOOLCHAIN_SHA256_ARM64 ;;
    *) die "no Go toolchain is pinned for $(uname -m)" "install Go $GO_MINIMUM or newer" ;;
  esac
  home=${XDG_CACHE_HOME:-$HOME/.cache}/pipe/tools/go/$GO_TOOLCHAIN
  if [ ! -x "$home/bin/go" ]; then
    if [ -n "${HOST_DRY_RUN:-}" ]; then
      say "would download $GO_TOOLCHAIN from the Go module proxy"
      return
    fi
    say "go: none of at least $GO_MINIMUM here; downloading $GO_TOOLCHAIN from the Go module proxy"
    zip=$home.zip
    mkdir -p "$(dirname "$home")"
    curl -fsSL --retry 3 -o "$zip" "$(go_proxy)/golang.org/toolchain/@v/v0.0.1-$GO_TOOLCHAIN.linux-$machine.zip" ||
      die "the Go module proxy could not be reached" "install Go $GO_MINIMUM or newer, or set GOPROXY"
    echo "$sum  $zip" | sha256sum --check --quiet || die "$zip is not the file that versions.env pins"
    rm -rf "$home.new" "$home"
    mkdir "$home.new"
    unzip -q "$zip" -d "$home.new"
    # Everything lies below a folder named after the module; modules carry no executable bits.
    mv "$home.new/golang.org/toolchain@v0.0.1-$GO_TOOLCHAIN.linux-$machine" "$home.ready"
    chmod -R +x "$home.ready/bin" "$home.ready/pkg/tool"
    mv "$home.ready" "$home"
    rm -rf "$home.new" "$zip"
  fi
  PATH=$home/bin:$PATH
  export PATH
  go_new_enough go "$GO_MINIMUM" || die "$home/bin/go does not run"
}
