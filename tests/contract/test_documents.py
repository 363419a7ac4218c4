"""Every JSON document that a stage writes for others is of the type that its readers share, byte for byte."""

from syntrial.artifacts.keys import canonical_json
from syntrial.artifacts.members import MemberReader
from syntrial.documents.audit import Audit
from syntrial.documents.decisions import Decisions
from syntrial.documents.document import as_json, read
from syntrial.documents.quality import Quality
from syntrial.documents.scale import Scale
from syntrial.documents.training import ClassifierTraining, Curves
from syntrial.v1.artifacts_pb2 import MemberRef
from tests.contract.recorded import run

TYPES: dict[str, type] = {
    "audit.json": Audit,
    "curves.json": Curves,
    "decisions.json": Decisions,
    "quality.json": Quality,
    "scale.json": Scale,
    "training.json": ClassifierTraining,
}

OF_ONE_ROOM = {
    "set.json",
    "origins.json",
    "encoder.json",
    "generator.json",
    "classifier.json",
    "metrics.json",
    "report.json",
}
"""Written and read by the same room: image sets, the encoder, the generators, the classifiers, the analysis."""


def written() -> list[tuple[MemberReader, str]]:
    store, steps = run()
    found = []
    for step in steps:
        manifest = store.manifest(step.key)
        assert manifest is not None
        for member in manifest.members:
            reader = store.open(MemberRef(key=step.key, member=member))
            found += [(reader, name) for name in reader.names() if name.endswith(".json")]
    return found


def test_what_stages_wrote_is_read_and_written_again_to_the_same_bytes() -> None:
    seen = set()
    for reader, name in written():
        if name in TYPES:
            document = read(TYPES[name], reader, name)
            assert canonical_json(as_json(document)) == reader.read(name), f"{reader.key}#{reader.name}, {name}"
            seen.add(name)
    assert seen == set(TYPES)


def test_no_stage_writes_a_document_without_a_type_for_others() -> None:
    assert {name for _, name in written()} == set(TYPES) | OF_ONE_ROOM
