#!/usr/bin/env bash
# Writes what each image holds, as CycloneDX, into the folder SBOM (`make sbom`; default: build/sbom).
. "$(dirname "$0")/lib.sh"
export TAG=$tag BASE_IMAGE=$base_image REVISION=$revision
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || echo 0) \
  .venv/bin/python -m images.sbom "${SBOM:-build/sbom}" "${images[@]}"
