# kubectl for the host: the same build as the node's, alone, so that it is there without the other programs.
# shellcheck shell=bash disable=SC2034
version=$KUBERNETES_VERSION
inputs="go/kubernetes flags/kubernetes.sh"
minutes=3

recipe_build() {
  # shellcheck source=scripts/images/flags/kubernetes.sh
  . "$IMAGES_DIR/flags/kubernetes.sh"
  PACKAGES=k8s.io/kubernetes/cmd/kubectl \
    go_build kubernetes k8s.io/kubernetes "$KUBERNETES_VERSION" "$1/bin" -tags "$KUBE_TAGS" -ldflags "$(kube_ldflags)"
}
