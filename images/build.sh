#!/usr/bin/env bash
# Builds the images and what they stand on (`make images`); lib.sh says how they are named and chosen.
#
#   GO_IMAGE               what compiles MinIO (default: golang:1.26-bookworm)
#   IMAGE_SOURCE           where the code is published, for the label org.opencontainers.image.source
#   BUILD_FLAGS            further flags of the builder's `build`
#   TORCH_LOCK             another lock for torch's layer, for example one with torch's wheels for the processor alone
#
# Settings of the package clients that are set here (PIP_*, UV_*, GOPROXY, GOSUMDB) reach the build as a secret, those of a proxy as build
# arguments; neither stays in an image.
. "$(dirname "$0")/lib.sh"
find_builder

settings=$(mktemp)
trap 'rm -f "$settings"' EXIT
for name in "${!PIP_@}" "${!UV_@}" "${!GOPROXY@}" "${!GOSUMDB@}"; do
  printf 'export %s=%q\n' "$name" "${!name}" >>"$settings"
done
read -ra flags <<<"${BUILD_FLAGS:-}"
flags+=(--secret "id=package-client,src=$settings")
[ "$builder" = docker ] || flags+=(--layers)
flags+=(--build-arg "BASE_IMAGE=$base_image")
for name in HTTP_PROXY HTTPS_PROXY NO_PROXY GO_IMAGE TORCH_LOCK; do
  [ -z "${!name:-}" ] || flags+=(--build-arg "$name=${!name}")
done
[[ $base_image == *@sha256:* ]] || echo "images: $base_image is named by its tag, which may move: \`make update-base\` pins it" >&2

# The labels of the OCI's annotations, of the image specification 1.1.
prefix=org.opencontainers.image
labels=(--label "$prefix.version=$tag" --label "$prefix.revision=$revision" --label "$prefix.licenses=Apache-2.0"
  --label "$prefix.vendor=Syntrial" --label "$prefix.base.name=${base_image%%@*}")
[[ $base_image != *@* ]] || labels+=(--label "$prefix.base.digest=${base_image#*@}")
[ -z "${IMAGE_SOURCE:-}" ] || labels+=(--label "$prefix.source=$IMAGE_SOURCE")

# build IMAGE FILE [FLAG…]; `context` is the folder that is sent along.
context=.
build() {
  local name file=$2 started=$SECONDS
  name_of "$1"
  shift 2
  DOCKER_BUILDKIT=1 "$builder" build -q "${flags[@]}" "$@" -t "$name" -f "$file" "$context" >"$settings.log" 2>&1 ||
    { cat "$settings.log" >&2; stop "$file does not build"; }
  echo "$name: $((SECONDS - started)) s"
}
trap 'rm -rf "$settings" "$settings.log" "$settings.context"' EXIT

[ "${images[*]}" = minio ] || build build images/base.Dockerfile --target build
done=' '
for image in "${images[@]}"; do
  case $image in
    minio)
      build minio images/minio/Dockerfile
      continue
      ;;
    generator)
      # Nothing but what its environment is made of: the code is part of no image, so that a change of it changes none.
      context=$settings.context
      mkdir "$context"
      for file in requirements.lock python-version; do
        [ ! -f "$GENERATOR/$file" ] || cp "$GENERATOR/$file" "$context"
      done
      build generator images/generator.Dockerfile --label "$prefix.title=syntrial-generator-${GENERATOR##*/}" \
        --build-arg "BUILD_IMAGE=$repository/syntrial-build:$tag" \
        --build-arg "RUNTIME_IMAGE=$repository/syntrial-generation:$tag"
      context=.
      continue
      ;;
    controller) file=syntrial/controller/Dockerfile runtime=python ;;
    data-prep) file=services/data_prep/Dockerfile runtime=python ;;
    *) file=services/$image/Dockerfile runtime=torch ;;
  esac
  if [[ $done != *" $runtime "* ]]; then
    build $runtime images/base.Dockerfile --target $runtime
    done+="$runtime "
  fi
  build "$image" "$file" "${labels[@]}" --label "$prefix.title=syntrial-$image" --build-arg "BUILD_IMAGE=$repository/syntrial-build:$tag" \
    --build-arg "RUNTIME_IMAGE=$repository/syntrial-$runtime:$tag" \
    --build-arg "SYNTRIAL_LOCK_HASH=$(sha256sum requirements.lock | cut -d' ' -f1)"
done
