#!/usr/bin/env bash
# Puts the images into kubectl's current cluster, without a registry (`make load`); lib.sh says which images.
#
#   LOAD_COMMAND           for any other cluster: is given the images' names
#   CONTAINERD_ADDRESS     for a node on this machine: the socket of its containerd; with buildah only what changed is copied
#
# Without either, the current context says what the cluster is: kind, k3d or minikube.
. "$(dirname "$0")/lib.sh"

if [ -n "${LOAD_COMMAND:-}" ]; then
  read -ra command <<<"$LOAD_COMMAND"
  exec "${command[@]}" "${names[@]}"
fi
find_builder
if [ -n "${CONTAINERD_ADDRESS:-}" ]; then
  [ "$builder" != buildah ] || exec "${PYTHON:-python3}" images/containerd.py "${names[@]}"
  write_archives
  ctr --address "$CONTAINERD_ADDRESS" --namespace "${CONTAINERD_NAMESPACE:-k8s.io}" images import "${archives[0]}"
  exit
fi
context=$(kubectl config current-context) || stop "kubectl has no current context: name a cluster to load into"
case $context in
  kind-*)
    write_archives
    for archive in "${archives[@]}"; do kind load image-archive "$archive" --name "${context#kind-}"; done
    ;;
  k3d-*)
    write_archives
    k3d image import "${archives[@]}" --cluster "${context#k3d-}"
    ;;
  *)
    if ! command -v minikube >/dev/null || ! minikube --profile "$context" status >/dev/null 2>&1; then
      stop "the context $context is none of kind, k3d and minikube." \
        "Set LOAD_COMMAND, or IMAGE_REPOSITORY to a registry that the cluster pulls from, and run \`make images push\`."
    fi
    write_archives
    for archive in "${archives[@]}"; do minikube --profile "$context" image load "$archive"; done
    ;;
esac
