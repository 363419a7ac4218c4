#!/usr/bin/env bash
# Removes Syntrial from kubectl's current context, all but data (`make undeploy`).
#
#   NAMESPACE, RELEASE   where, and as what (default: syntrial)
#   FORCE=1              also where Experiments exist: they go, their artifacts stay
#   KEEP_CRD=1           leave the definition of Experiments
#
# Data are the claim of a bundled MinIO and the Secret that opens it. The namespace goes if `make deploy` made it and
# nothing else is in it. The definition of Experiments goes where there are none in any namespace and no other release.
. "$(dirname "$0")/lib.sh"

need_tools
if has_release; then
  watched=$(watched)
else
  watched=$namespace
  say "no release $release in namespace $namespace"
fi

ours=$(experiments | while IFS=/ read -r place name; do
  if [ "$watched" = "*" ] || grep -qxF "$place" <<<"$watched"; then say "$place/$name"; fi
done)
if [ -n "$ours" ] && [ "${FORCE:-}" != 1 ]; then
  say "These experiments would go (their artifacts would stay in the store):" >&2
  sed 's/^/  /' <<<"$ours" >&2
  stop "nothing was removed, since experiments exist. \`make undeploy FORCE=1\` removes them too."
fi

if [ -n "$ours" ]; then
  # While the controller still runs, so that it does what each one's \`retention\` says.
  while IFS=/ read -r place name; do
    kubectl delete "$crd" "$name" -n "$place" --timeout=60s >/dev/null
    say "experiment $place/$name is removed"
  done <<<"$ours"
  for place in $(cut -d/ -f1 <<<"$ours" | sort -u); do
    kubectl wait --for=delete jobs,pods -n "$place" -l app.kubernetes.io/managed-by=syntrial-controller --timeout=120s >/dev/null
  done
fi

if has_release; then
  helm uninstall "$release" -n "$namespace" --wait --timeout "$timeout" >/dev/null
fi
places=$namespace
[ "$watched" = "*" ] || places=$(printf '%s\n' "$namespace" "$watched" | sort -u)
for place in $places; do
  kubectl delete pods -n "$place" -l "app.kubernetes.io/instance=$release,app.kubernetes.io/component=store-check" >/dev/null
  kubectl wait --for=delete pods -n "$place" -l "app.kubernetes.io/instance=$release" --timeout=120s >/dev/null
done
say "release $release is removed"

if [ "${KEEP_CRD:-}" = 1 ] || ! kubectl get crd "$crd" >/dev/null 2>&1; then
  :
elif [ -n "$(experiments)" ]; then
  say "the definition of Experiments stays: there are some in other namespaces"
elif [ -n "$(releases)" ]; then
  say "the definition of Experiments stays: release $(releases | head -n 1) uses it"
else
  kubectl delete crd "$crd" --timeout=60s >/dev/null
  say "the definition of Experiments is removed"
fi

kept=$(kubectl get persistentvolumeclaims,secrets -n "$namespace" -l "app.kubernetes.io/instance=$release" -o name)
if [ -n "$kept" ]; then
  say "data stay in namespace $namespace: $(tr '\n' ' ' <<<"$kept")"
  say "  a new \`make deploy\` finds them; to remove them: kubectl delete -n $namespace $(tr '\n' ' ' <<<"$kept")"
elif [ "$(kubectl get namespace "$namespace" --ignore-not-found -o 'jsonpath={.metadata.labels.syntrial\.dev/made-by}')" = deploy ]; then
  others=$(kubectl get all,persistentvolumeclaims,secrets,configmaps -n "$namespace" -o name | grep -vx configmap/kube-root-ca.crt || true)
  if [ -n "$others" ]; then
    say "namespace $namespace stays, since others' objects are in it"
  else
    kubectl delete namespace "$namespace" --timeout=120s >/dev/null
    say "namespace $namespace is removed"
  fi
fi
