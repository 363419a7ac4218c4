"""Writes the CustomResourceDefinition (``make crd``); with ``--check``, fails on a difference (``make verify``).

The chart carries the same bytes, since helm packs no file from outside its folder.
"""

import json
import sys
import tempfile
from importlib import resources
from pathlib import Path

import yaml
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc

from syntrial.cluster.crd.definition import NAME, definition

REPOSITORY = Path(__file__).resolve().parents[2]
TARGETS = (
    REPOSITORY / "k8s" / "crd" / f"{NAME}.yaml",
    REPOSITORY / "charts" / "syntrial" / "files" / "crd.yaml",
)
MEANINGS = REPOSITORY / "syntrial" / "experiment" / "presets" / "meanings.json"
"""What `syntrial explain generator` and `explain classifier` say of fields: installed with the platform, which has no
protos beside it."""
_FIELD = 2
"""The number of `field` in DescriptorProto, and of the path of a field's comment: message, index, field, index."""


def field_comments() -> dict[str, str]:
    """The comment above each field of the protos, by the field's full name."""
    protos = REPOSITORY / "protos"
    with tempfile.TemporaryDirectory() as folder:
        # As in protos/generate.py: the package names the file otherwise than its descriptor does.
        longrunning = Path(folder, "google", "longrunning")
        longrunning.mkdir(parents=True)
        installed = resources.files("google.longrunning") / "operations_proto.proto"
        (longrunning / "operations.proto").write_bytes(installed.read_bytes())
        site = Path(str(installed)).parents[2]
        well_known = resources.files("grpc_tools") / "_proto"
        output = Path(folder, "protos.bin")
        status = protoc.main(
            [
                "protoc",
                f"-I{protos}",
                f"-I{folder}",
                f"-I{site}",
                f"-I{well_known}",
                "--include_source_info",
                f"--descriptor_set_out={output}",
                *sorted(str(path.relative_to(protos)) for path in protos.glob("syntrial/v1/*.proto")),
            ]
        )
        if status != 0:
            raise SystemExit(status)
        files = FileDescriptorSet.FromString(output.read_bytes()).file
    comments = {}
    for file in files:
        for location in file.source_code_info.location:
            if len(location.path) == 4 and location.path[0] == 4 and location.path[2] == _FIELD:
                message = file.message_type[location.path[1]]
                name = f"{file.package}.{message.name}.{message.field[location.path[3]].name}"
                comments[name] = " ".join(location.leading_comments.split())
    return comments


def text() -> str:
    """The generated file."""
    head = "# Generated from the Experiment model by `make crd`; not edited by hand.\n"
    # Through JSON, so that no two places share an object, which YAML would write as an anchor.
    tree = json.loads(json.dumps(definition(field_comments())))
    return head + yaml.safe_dump(tree, sort_keys=False, width=120, allow_unicode=True)


def meanings() -> str:
    """The comments of what generators and classifiers are made by, as JSON."""
    prefixes = tuple(f"syntrial.v1.{name}." for name in ("DiffusionConfig", "GanConfig", "LatentDiffusionConfig"))
    prefixes += tuple(
        f"syntrial.v1.{name}." for name in ("PcaConfig", "DiffusionSampler", "GanSampler", "TrainingRecipe")
    )
    found = {name: comment for name, comment in field_comments().items() if name.startswith(prefixes)}
    return json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> None:
    """Generates, or compares what stands in the tree with what would be generated."""
    crd = text()
    for target, generated in [*((target, crd) for target in TARGETS), (MEANINGS, meanings())]:
        if "--check" not in sys.argv[1:]:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(generated, encoding="utf-8")
        elif not target.is_file() or target.read_text(encoding="utf-8") != generated:
            raise SystemExit(f"{target.relative_to(REPOSITORY)} differs from the Experiment model. Run `make crd`.")


if __name__ == "__main__":
    main()
