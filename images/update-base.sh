#!/usr/bin/env bash
# Pins the base image: asks its registry for the digest that the tag has now, and writes both to images/base-image
# (`make update-base`; BASE_IMAGE= names another).
. "$(dirname "$0")/lib.sh"
name=${base_image%%@*}
if command -v skopeo >/dev/null; then
  ask() { skopeo inspect --raw "docker://$name" | sha256sum | cut -d' ' -f1; }
elif command -v crane >/dev/null; then
  ask() { crane digest "$name" | cut -d: -f2; }
elif command -v docker >/dev/null; then
  ask() { docker buildx imagetools inspect "$name" --format '{{.Manifest.Digest}}' | cut -d: -f2; }
else
  stop "nothing here asks a registry for a digest (looked for: skopeo, crane, docker); install one"
fi
digest=$(ask) && [[ $digest =~ ^[0-9a-f]{64}$ ]] || stop "the registry of $name gave no digest"
echo "$name@sha256:$digest" >images/base-image
echo "images/base-image: $(<images/base-image)"
