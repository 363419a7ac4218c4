#!/usr/bin/env bash
# Prints how large the images are: unpacked on a node, and packed as a registry holds them and a node pulls them
# (`make image-sizes`). Fails where the controller's is over its limit.
. "$(dirname "$0")/lib.sh"
LIMIT_MB=250
find_builder

selected=("${names[@]}")
status=0
for name in "${selected[@]}"; do
  names=("$name")
  write_archives
  unpacked=$(($(stat -c %s "${archives[0]}") / 1000000))
  packed=$(($(gzip -c "${archives[0]}" | wc -c) / 1000000))
  rm -rf "$folder"
  echo "$name: $packed MB packed, $unpacked MB unpacked"
  if [[ $name == */syntrial-controller:* ]] && [ "$packed" -ge $LIMIT_MB ]; then
    echo "images: the controller's image is $packed MB, its limit is $LIMIT_MB MB" >&2
    status=1
  fi
done
exit $status
