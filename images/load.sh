#!/usr/bin/env bash
# Puts the images into kubectl's current cluster, without a registry (`make load`); lib.sh says which images.
#
#   LOAD_COMMAND           for any other cluster: is given the images' names
#
# Without it, the current context says what the cluster is: kind, k3d or minikube.
. "$(dirname "$0")/lib.sh"

if [ -n "${LOAD_COMMAND:-}" ]; then
  read -ra command <<<"$LOAD_COMMAND"
  exec "${command[@]}" "${names[@]}"
fi
find_builder
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
