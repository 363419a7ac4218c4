#!/bin/sh
# install.sh LOCK, or install.sh FOLDER…: puts the packages of a lock, or the distributions in folders, into /opt/venv,
# compiled. Runs in the `build` image.
set -eu
# Where the images run the root is read-only, so what is not compiled here would be compiled at each start; and no file
# changes any more, so its age need not be compared with its bytecode's.
export VIRTUAL_ENV=/opt/venv PYC_INVALIDATION_MODE=UNCHECKED_HASH
if [ -d "$1" ]; then
  for folder in "$@"; do
    /opt/build/bin/uv build --quiet --offline --no-cache --wheel --no-sources --no-build-isolation \
      --python /opt/build/bin/python --out-dir /build/wheels "$folder"
  done
  exec /opt/build/bin/uv pip install --quiet --offline --no-cache --compile-bytecode --no-deps /build/wheels/*.whl
fi
# Settings of the package client come as a build secret: they are in no image and in no image's history.
[ ! -f /run/secrets/package-client ] || . /run/secrets/package-client
exec /opt/build/bin/uv pip install --quiet --no-cache --compile-bytecode --no-deps --no-build --require-hashes -r "$1"
