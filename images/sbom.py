"""What each image holds, as a CycloneDX list (`make sbom`): `python -m images.sbom FOLDER IMAGE…`.

Packages, versions and hashes are those of the image's locks, which it is installed from with `--require-hashes`;
licences are those that the packages state, as far as they are installed here. The same checkout gives the same bytes.
Debian's packages belong to the base image, which the list names: `syft IMAGE` lists those too.

Settings: BASE_IMAGE, TAG, REVISION (the commit) and SOURCE_DATE_EPOCH (its time, in seconds).
"""

import os
import re
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import Message
from importlib import metadata
from pathlib import Path
from typing import Final, cast

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import License
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.markers import Marker

from images.locks import ROOT, TORCH, TORCH_SERVICES, blocks

LOCKS: Final = {
    "controller": ("syntrial/controller/requirements.lock",),
    "data-prep": ("services/data_prep/requirements.lock",),
    **{name: (TORCH, f"services/{name}/requirements.lock") for name in TORCH_SERVICES},
}
"""What each image is installed from."""

_PLATFORM: Final = {
    **{"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "x86_64"},
    **{"python_version": "3.11", "python_full_version": "3.11.0", "implementation_name": "cpython"},
    "platform_python_implementation": "CPython",
}
_NAMESPACE: Final = uuid.UUID("6f5ff0a1-5f4c-5d0c-9a4b-6a0f5d2d6d6e")


def components(image: str) -> list[Component]:
    """The packages of an image, sorted by name; raises KeyError for an image that there is not."""
    text = "".join((ROOT / lock).read_text() for lock in LOCKS[image])
    return [found for block in blocks(text).values() for found in _components(block)]


def _components(block: str) -> Iterator[Component]:
    """Those of an entry's versions that Linux gets."""
    for version in re.findall(r"^[a-z0-9].*(?:\n    .*)*", block, flags=re.MULTILINE):
        head = version.partition("\\")[0].strip()
        pin, _, marker = head.partition(" ; ")
        if marker and not Marker(marker).evaluate(_PLATFORM):
            continue
        name, _, number = pin.partition("==")
        yield Component(
            name=name,
            version=number,
            type=ComponentType.LIBRARY,
            bom_ref=f"{name}=={number}",
            purl=PackageURL(type="pypi", name=name, version=number),
            licenses=_licences(name),
            hashes=[
                HashType(alg=HashAlgorithm.SHA_256, content=digest)
                for digest in re.findall(r"--hash=sha256:([0-9a-f]{64})", version)
            ],
        )


def _licences(name: str) -> list[License]:
    try:
        # What importlib types as its own protocol is an email's header.
        stated = cast(Message, metadata.metadata(name))
    except metadata.PackageNotFoundError:
        return []
    classifiers = [value.rpartition(" :: ")[2] for value in stated.get_all("Classifier", ()) if "License ::" in value]
    text = stated.get("License-Expression") or " AND ".join(classifiers) or (stated.get("License") or "").split("\n")[0]
    return [LicenseFactory().make_from_string(text)] if text else []


def bill(image: str, *, tag: str, base: str, revision: str, when: datetime) -> str:
    """The list of an image, as JSON."""
    bom = Bom(components=components(image))
    bom.metadata.timestamp = when
    bom.metadata.component = Component(
        name=f"syntrial-{image}",
        version=tag,
        type=ComponentType.CONTAINER,
        bom_ref=f"syntrial-{image}",
        licenses=[LicenseFactory().make_from_string("Apache-2.0")],
        properties=[
            Property(name="syntrial:base-image", value=base),
            Property(name="syntrial:revision", value=revision),
        ],
    )
    parts = sorted(str(found.bom_ref.value) for found in bom.components)
    bom.serial_number = uuid.uuid5(_NAMESPACE, "\n".join([image, tag, base, revision, *parts]))
    bom.register_dependency(bom.metadata.component, list(bom.components))
    return cast(str, JsonV1Dot6(bom).output_as_string(indent=1))


def main() -> None:
    """Writes FOLDER/IMAGE.cdx.json for each image."""
    folder, *images = sys.argv[1:]
    Path(folder).mkdir(parents=True, exist_ok=True)
    for image in images:
        path = Path(folder) / f"{image}.cdx.json"
        text = bill(
            image,
            tag=os.environ["TAG"],
            base=os.environ["BASE_IMAGE"],
            revision=os.environ["REVISION"],
            when=datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), UTC),
        )
        path.write_text(text)
        print(path)  # noqa: T201 - what the command says


if __name__ == "__main__":
    main()
