# runc: linked statically, so that the host's C library does not matter; without seccomp no pod would start.
# shellcheck shell=bash disable=SC2034
version=$RUNC_VERSION
inputs=go/runc
minutes=1

recipe_build() {
  CGO_ENABLED=1 go_build runc github.com/opencontainers/runc "$RUNC_VERSION" "$1/bin" \
    -tags seccomp,urfave_cli_no_docs,netgo,osusergo \
    -ldflags "-s -w -X main.gitCommit=module -linkmode external -extldflags -static"
}
