"""What every stage makes of a small experiment, run once: figures as recorded, and documents of their types.

A stage's version is a number that is raised when its results change; this is what notices. Every JSON document that a
stage writes for others is of the type that its readers share, byte for byte.
"""

import pytest

from syntrial.artifacts.keys import canonical_json
from syntrial.artifacts.members import MemberReader
from syntrial.documents.audit import Audit
from syntrial.documents.decisions import Decisions
from syntrial.documents.document import as_json, read
from syntrial.documents.quality import Quality
from syntrial.documents.scale import Scale
from syntrial.documents.search import Decision
from syntrial.documents.training import ClassifierTraining, Curves
from syntrial.stages import STAGES
from syntrial.v1.artifacts_pb2 import MemberRef
from tests.contract.recorded import measure, read_record, run, source_digest, source_files

TOLERANCE = 0.05
"""Relative; processors sum in other orders, and short trainings amplify that."""
SMALLEST = 0.02
"""Absolute, for figures near 0."""


TYPES: dict[str, type] = {
    "audit.json": Audit,
    "curves.json": Curves,
    "decision.json": Decision,
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


@pytest.fixture(scope="module")
def measured() -> dict[str, dict[str, float]]:
    return measure()


@pytest.mark.parametrize("stage", STAGES)
def test_a_changed_stage_has_its_results_recorded(stage: str) -> None:
    lines = read_record()[stage]
    assert lines, f"no results of {stage} are recorded: run `make record`"
    assert lines[-1]["version"] == STAGES[stage].version, f"version of {stage} raised: run `make record`"
    assert lines[-1]["source"] == source_digest(stage), (
        f"the source of {stage} changed: raise its version in syntrial/stages.py if its results or defaults did, "
        "then run `make record`"
    )


def test_what_stages_share_is_part_of_the_source_of_each_that_uses_it() -> None:
    trained = {"generation", "filtering", "classification"}
    using = {
        name: {stage for stage in STAGES if name in source_files(stage)}
        for name in ("syntrial.imagesets/quotas.py", "syntrial_training/compute.py")
    }
    assert using == {
        "syntrial.imagesets/quotas.py": set(STAGES),
        "syntrial_training/compute.py": trained,
    }


@pytest.mark.parametrize("stage", STAGES)
def test_results_of_one_version_stay_what_they_were(stage: str, measured: dict[str, dict[str, float]]) -> None:
    for line in read_record()[stage]:
        if line["version"] != STAGES[stage].version:
            continue
        assert line["figures"].keys() == measured[stage].keys()
        for name, value in line["figures"].items():
            assert measured[stage][name] == pytest.approx(value, rel=TOLERANCE, abs=SMALLEST), name


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
