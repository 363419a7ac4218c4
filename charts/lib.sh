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

# watched: the namespaces that the release's controller serves; * for all.
watched() {
  helm get values "$release" -n "$namespace" --all -o json | python3 -c '
import json, sys
values = json.load(sys.stdin)
print("*" if values["clusterWide"] else "\n".join(values["watchNamespaces"] or sys.argv[1:]))' "$namespace"
}

# experiments: each as namespace/name.
experiments() {
  kubectl get crd "$crd" >/dev/null 2>&1 || return 0
  kubectl get "$crd" --all-namespaces -o 'jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name}{"\n"}{end}'
}

# releases: those of this chart in any namespace, each as namespace/release.
releases() {
  helm list --all-namespaces --all -o json | python3 -c '
import json, re, sys
for found in json.load(sys.stdin):
    if re.fullmatch(r"syntrial-[0-9].*", found["chart"]):
        print(found["namespace"] + "/" + found["name"])'
}

# crd_owner: namespace/release that looks after the definition of Experiments, if that is another one than ours.
crd_owner() {
  local owner
  owner=$(kubectl get crd "$crd" --ignore-not-found \
    -o 'jsonpath={.metadata.annotations.meta\.helm\.sh/release-namespace}/{.metadata.annotations.meta\.helm\.sh/release-name}')
  case $owner in "" | / | "$namespace/$release") return 0 ;; esac
  ! helm status "${owner#*/}" -n "${owner%/*}" >/dev/null 2>&1 || say "$owner"
}
