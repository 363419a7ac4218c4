# Shared by the scripts beside it: what the images are called, and which tool builds them.
#
#   IMAGE_REPOSITORY, TAG  an image is $IMAGE_REPOSITORY/syntrial-$IMAGE:$TAG (default: localhost/syntrial, the version)
#   IMAGES                 which of them (default: all six, or the generator's alone)
#   GENERATOR              a folder with a generator's code: `generator` is the image with its environment, and is called
#                          $IMAGE_REPOSITORY/syntrial-generator-FOLDER:$TAG
#   BASE_IMAGE             what all stand on (default: what images/base-image names; `make update-base` pins it)
#   BUILDER                docker, podman or buildah (default: the first of them that works)
set -euo pipefail
[ -z "${GENERATOR:-}" ] || GENERATOR=$(realpath -m -- "$GENERATOR")
cd "$(dirname "${BASH_SOURCE[0]}")/.."

ALL='controller data-prep generation filtering classification minio'
repository=${IMAGE_REPOSITORY:-localhost/syntrial}
tag=${TAG:-$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)}
base_image=${BASE_IMAGE:-$(<images/base-image)}
revision=$(git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null || echo unknown)
read -ra images <<<"${IMAGES:-${GENERATOR:+generator}}"
[ ${#images[@]} -gt 0 ] || read -ra images <<<"$ALL"

stop() { echo "images: $*" >&2; exit 2; }

# Sets `name` to what an image is called.
name_of() {
  name=$repository/syntrial-$1:$tag
  [ "$1" = generator ] || return 0
  local folder=${GENERATOR##*/}
  [ -f "${GENERATOR:-}/requirements.lock" ] ||
    stop "GENERATOR names a folder with generator.py and requirements.lock; there is no ${GENERATOR:-}/requirements.lock"
  [[ $folder =~ ^[a-z0-9]+([._-][a-z0-9]+)*$ ]] ||
    stop "an image is called after its folder, in lower-case letters, digits and single . _ - between; rename $folder"
  name=$repository/syntrial-generator-$folder:$tag
}

names=()
for image in "${images[@]}"; do
  [[ " $ALL generator " == *" $image "* ]] || stop "there is no image $image; IMAGES names some of: $ALL generator"
  name_of "$image"
  names+=("$name")
done

# A client without its daemon does not count.
find_builder() {
  local tool
  for tool in ${BUILDER:-docker podman buildah}; do
    if command -v "$tool" >/dev/null && "$tool" info >/dev/null 2>&1; then builder=$tool; return; fi
  done
  stop "no builder works here (looked for: ${BUILDER:-docker, podman, buildah}); install one, or start its daemon"
}

# Writes `archives` of the images: a single one, with each layer once, where the builder can do that.
write_archives() {
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  archives=("$folder/images.tar")
  case $builder in
    docker) docker save -o "$folder/images.tar" "${names[@]}" ;;
    podman) podman save --quiet --multi-image-archive -o "$folder/images.tar" "${names[@]}" ;;
    buildah)
      archives=()
      for name in "${names[@]}"; do
        archives+=("$folder/${#archives[@]}.tar")
        buildah push --quiet "$name" "docker-archive:${archives[-1]}:$name" >/dev/null
      done
      ;;
  esac
}
