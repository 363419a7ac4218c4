#!/usr/bin/env bash
# Pushes the images to the registry that IMAGE_REPOSITORY names (`make push`), and prints their digests as values of the
# chart, a generator's as the field of an experiment: Jobs then run the very images that were pushed. Where cosign is at hand each is signed by its digest, and its
# list of packages (`make sbom`) is attested.
#
#   COSIGN_KEY             the key to sign with, as cosign takes it; without one cosign asks who you are
. "$(dirname "$0")/lib.sh"
[ -n "${IMAGE_REPOSITORY:-}" ] || stop "IMAGE_REPOSITORY names no registry, for example IMAGE_REPOSITORY=registry.example.org/syntrial"
find_builder

file=$(mktemp)
bills=$(mktemp -d)
trap 'rm -rf "$file" "$bills"' EXIT
key=()
[ -z "${COSIGN_KEY:-}" ] || key=(--key "$COSIGN_KEY")
if command -v cosign >/dev/null; then
  SBOM=$bills images/sbom.sh >&2
else
  echo "images: not signed, since there is no cosign here" >&2
fi
for image in "${images[@]}"; do
  name_of "$image"
  if [ "$builder" = docker ]; then
    docker push --quiet "$name" >&2
    docker image inspect --format '{{index .RepoDigests 0}}' "$name" | cut -d@ -f2 >"$file"
  else
    "$builder" push --quiet --digestfile "$file" "$name" >&2
  fi
  digest=$(<"$file")
  pinned=${name%:*}@$digest
  if command -v cosign >/dev/null; then
    cosign sign --yes "${key[@]}" "$pinned" >&2
    [[ $image == minio || $image == generator ]] || cosign attest --yes "${key[@]}" --type cyclonedx --predicate "$bills/$image.cdx.json" "$pinned" >&2
  fi
  case $image in
    generator) echo "external.image=$pinned" ;;
    *) echo "image.digests.$image=$digest" ;;
  esac
done
