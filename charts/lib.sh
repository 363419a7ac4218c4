# Shared by deploy.sh and undeploy.sh: the tools, the cluster, and what the release looks after.
set -euo pipefail
charts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
release=${RELEASE:-syntrial}
namespace=${NAMESPACE:-syntrial}
timeout=${TIMEOUT:-300s}
crd=experiments.syntrial.dev
# Where the cluster that the tests use keeps its tools, after those of the machine.
export PATH=$PATH:${CLUSTER_HOME:-$HOME/.cache/test-cluster}/bin

say() { printf '%s\n' "$*"; }
stop() { printf 'error: %s\n' "$*" >&2; exit 1; }

need_tools() {
  command -v helm >/dev/null || stop "helm is missing. Install Helm 3.12 or later (https://helm.sh/docs/intro/install), or use kubectl apply -k k8s/base (k8s/README.md)."
  command -v kubectl >/dev/null || stop "kubectl is missing. Install it (https://kubernetes.io/docs/tasks/tools)."
  local context
  context=$(kubectl config current-context 2>/dev/null) || stop "kubectl has no current context. Choose one: kubectl config use-context NAME."
  kubectl get --raw /readyz --request-timeout=20s >/dev/null 2>&1 || stop "the cluster of context $context does not answer; see kubectl cluster-info."
  say "context $context, namespace $namespace, release $release"
}

has_release() { helm status "$release" -n "$namespace" >/dev/null 2>&1; }

# experiments: each as namespace/name.
experiments() {
  kubectl get crd "$crd" >/dev/null 2>&1 || return 0
  kubectl get "$crd" --all-namespaces -o 'jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name}{"\n"}{end}'
}

# crd_owner: namespace/release that the definition of Experiments belongs to; nothing where helm did not make it.
crd_owner() {
  kubectl get crd "$crd" --ignore-not-found \
    -o 'jsonpath={.metadata.annotations.meta\.helm\.sh/release-namespace}/{.metadata.annotations.meta\.helm\.sh/release-name}' | grep -vx / || true
}
