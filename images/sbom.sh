#!/usr/bin/env bash
# Writes what each image holds, as CycloneDX, into the folder SBOM (`make sbom`; default: build/sbom).
. "$(dirname "$0")/lib.sh"
# MinIO's program carries the list of its modules in itself: `go version -m`, or syft. What a generator's image has beside
# that of its stage is its own lock.
ours=()
for image in "${images[@]}"; do [[ $image == minio || $image == generator ]] || ours+=("$image"); done
export TAG=$tag BASE_IMAGE=$base_image REVISION=$revision
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || echo 0) \
  .venv/bin/python -m images.sbom "${SBOM:-build/sbom}" "${ours[@]}"
