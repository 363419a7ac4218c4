#!/usr/bin/env bash
# Installs or upgrades Syntrial in kubectl's current context, and waits until it works (`make deploy`).
#
#   NAMESPACE, RELEASE   where, and as what (default: syntrial)
#   VALUES               files of values, separated by spaces
#   IMAGE_REPOSITORY     images are IMAGE_REPOSITORY/syntrial-PART:TAG
#   TAG                  their tag
#   TIMEOUT              how long to wait (default: 300s; images must be pulled in it)
. "$(dirname "$0")/lib.sh"

# What stands in the way: pods that are not ready, claims without a volume, the last warnings, the ends of logs.
diagnose() {
  {
    say "== not ready in namespace $namespace:"
    kubectl get pods,persistentvolumeclaims -n "$namespace" -l "app.kubernetes.io/instance=$release" || true
    say "== last warnings:"
    kubectl get events -n "$namespace" --field-selector type=Warning --sort-by=.lastTimestamp \
      -o 'custom-columns=OBJECT:.involvedObject.name,REASON:.reason,MESSAGE:.message' | tail -n 8 || true
    local component
    for component in minio-setup controller minio; do
      say "== $component:"
      kubectl logs -n "$namespace" -l "app.kubernetes.io/instance=$release,app.kubernetes.io/component=$component" --tail=15 || true
    done
  } >&2
}

need_tools
options=()
for file in ${VALUES:-}; do
  [ -f "$file" ] || stop "VALUES names $file, which is no file."
  options+=(--values "$file")
done
[ -z "${IMAGE_REPOSITORY:-}" ] || options+=(--set-string "image.repository=$IMAGE_REPOSITORY")
[ -z "${TAG:-}" ] || options+=(--set-string "image.tag=$TAG")

if ! kubectl get namespace "$namespace" >/dev/null 2>&1; then
  # Every pod of Syntrial keeps to `restricted`; a namespace that was there already keeps its own rule.
  kubectl create -f - >/dev/null <<YAML
apiVersion: v1
kind: Namespace
metadata:
  name: $namespace
  labels: {syntrial.dev/made-by: deploy, pod-security.kubernetes.io/enforce: restricted}
YAML
fi

# The definition of Experiments is the cluster's. One that another release looks after stays its; one without an owner,
# from kubectl or left by a release that went, becomes ours.
owner=$(crd_owner)
if [ -n "$owner" ]; then
  say "the definition of Experiments belongs to release ${owner#*/} in namespace ${owner%/*}, which upgrades it"
  options+=(--set crd.create=false)
elif kubectl get crd "$crd" >/dev/null 2>&1; then
  kubectl annotate crd "$crd" --overwrite "meta.helm.sh/release-name=$release" "meta.helm.sh/release-namespace=$namespace" >/dev/null
  kubectl label crd "$crd" --overwrite app.kubernetes.io/managed-by=Helm >/dev/null
fi

if ! helm upgrade --install "$release" "$charts/syntrial" --namespace "$namespace" --wait --wait-for-jobs \
    --timeout "$timeout" "${options[@]}" >/dev/null; then
  diagnose
  stop "release $release does not work; see above. \`make deploy\` may be repeated."
fi
kubectl wait --for=condition=Established "crd/$crd" --timeout=60s >/dev/null
say "the definition of Experiments is established, the controller is ready"

# A pod in each namespace with a store opens it. Its log is read here, since helm reads those of its own namespace alone.
checks() { helm get hooks "$release" --namespace "$namespace" | kubectl "$@" -f -; }
works=yes
helm test "$release" --namespace "$namespace" --timeout 180s >/dev/null 2>&1 || works=no
checks get --ignore-not-found --no-headers -o custom-columns=NAMESPACE:.metadata.namespace,NAME:.metadata.name |
  while read -r place pod; do kubectl logs -n "$place" "$pod" | sed "s/^error:/namespace $place:/"; done
if [ $works = no ]; then
  checks get --ignore-not-found >&2
  stop "the object store cannot be used; see above, and the store's Secret in each namespace."
fi
checks delete --ignore-not-found --wait=false >/dev/null
helm get notes "$release" --namespace "$namespace" | sed -n '/^Then run/,$p'
