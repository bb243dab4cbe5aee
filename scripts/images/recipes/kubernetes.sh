# Kubernetes from its published modules: k8s.io/kubernetes with every staging module replaced by its released version.
# shellcheck shell=bash disable=SC2034
version=$KUBERNETES_VERSION
inputs="go/kubernetes flags/kubernetes.sh"
minutes=10

recipe_build() {
  # shellcheck source=scripts/images/flags/kubernetes.sh
  . "$IMAGES_DIR/flags/kubernetes.sh"
  go_build kubernetes k8s.io/kubernetes "$KUBERNETES_VERSION" "$1/bin" -tags "$KUBE_TAGS" -ldflags "$(kube_ldflags)"
}
