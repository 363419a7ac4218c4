#!/usr/bin/env bash
# Pushes the images to the registry that IMAGE_REPOSITORY names (`make push`), and prints their digests as values of the
# chart: Jobs then run the very images that were pushed.
. "$(dirname "$0")/lib.sh"
[ -n "${IMAGE_REPOSITORY:-}" ] || stop "IMAGE_REPOSITORY names no registry, for example IMAGE_REPOSITORY=registry.example.org/syntrial"
find_builder

file=$(mktemp)
trap 'rm -f "$file"' EXIT
for image in "${images[@]}"; do
  name=$repository/syntrial-$image:$tag
  if [ "$builder" = docker ]; then
    docker push --quiet "$name" >&2
    docker image inspect --format '{{index .RepoDigests 0}}' "$name" | cut -d@ -f2 >"$file"
  else
    "$builder" push --quiet --digestfile "$file" "$name" >&2
  fi
  echo "image.digests.$image=$(<"$file")"
done
