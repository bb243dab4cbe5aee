# How Kubernetes' own release builds its programs. Sourced by the recipes of kubernetes and kubectl.
# shellcheck shell=bash disable=SC2034
KUBE_TAGS=selinux,notest,grpcnotrace

kube_ldflags() {
  local version=${KUBERNETES_VERSION#v} package flags="-s -w"
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=" -X $package.gitVersion=$KUBERNETES_VERSION"
    flags+=" -X $package.gitMajor=${version%%.*} -X $package.gitMinor=$(cut -d. -f2 <<<"$version")"
    # The module carries no commit; `archive` is what a build from a source archive says.
    flags+=" -X $package.gitTreeState=archive -X $package.gitCommit=unknown"
    flags+=" -X $package.buildDate=$KUBERNETES_DATE"
  done
  printf '%s\n' "$flags"
}
