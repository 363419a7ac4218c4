"""A stage's version is a number that is raised when its results change; this is what notices."""

import pytest

from syntrial.stages import STAGES
from tests.contract.recorded import measure, read_record, source_digest, source_files

TOLERANCE = 0.05
"""Relative; processors sum in other orders, and short trainings amplify that."""
SMALLEST = 0.02
"""Absolute, for figures near 0."""


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
