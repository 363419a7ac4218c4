#!/usr/bin/env bash
# build.sh: makes localhost/minio:test from the test cluster's MinIO, and loads it into the node, unless it is there.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cluster=${SYNTRIAL_SHARED_CLUSTER:-$here/../../../../shared/cluster}
home=${CLUSTER_HOME:-$HOME/.cache/test-cluster}
image=localhost/minio:test

[ -x "$cluster/load" ] || { echo "no test cluster: $cluster is missing"; exit 1; }
"$cluster/base-image"
if ! buildah images -q "$image" >/dev/null 2>&1; then
  context=$(mktemp -d)
  trap 'rm -rf "$context"' EXIT
  ln "$home/bin/minio" "$context/minio" 2>/dev/null || cp "$home/bin/minio" "$context/minio"
  buildah bud -q --isolation chroot -t "$image" -f "$here/Dockerfile" "$context" >/dev/null
fi
if ! ctr --address /run/test-cluster/containerd.sock --namespace k8s.io images ls -q | grep -qx "$image"; then
  "$cluster/load" "$image"
fi
