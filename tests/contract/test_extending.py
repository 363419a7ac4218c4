"""What docs/extending.md promises: each section's diffs apply, cost what they may, and are all that is needed.

A copy of the code with every diff applied runs one trial's steps with all that was added, from an experiment's tree to
the stages' results (`further/trial.py`).
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.contract.extending import REPOSITORY, extended_copy, run_in, sections

MOST = {"A metric": 3, "A generator family": 4, "A filter": 3, "A source of data": 4}
"""Files of hand-written code that a further one may take."""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("extended")
    extended_copy(root)
    return root


@pytest.fixture(scope="module")
def trial(copy: Path) -> dict[str, Any]:
    """What the trial came to, as the last line of `further/trial.py` has it."""
    lines = run_in(copy, str(REPOSITORY / "tests" / "contract" / "further" / "trial.py")).splitlines()
    found: dict[str, Any] = json.loads(lines[-1])
    return found


@pytest.mark.parametrize("title", MOST)
def test_a_section_touches_no_more_files_than_it_may(title: str) -> None:
    touched = {diff.path for diff in sections()[title] if diff.is_hand_written_code}
    assert 0 < len(touched) <= MOST[title], sorted(touched)


def test_the_page_has_no_section_that_is_not_counted() -> None:
    assert set(MOST) == {title for title, diffs in sections().items() if diffs}


def test_what_was_added_stands_in_the_schema_with_the_comments_of_the_protos(copy: Path) -> None:
    schema = " ".join((copy / "k8s" / "crd" / "experiments.syntrial.dev.yaml").read_text().split())
    assert "How far pixels spread about the mean, in their own standard deviations" in schema
    assert "whose brightness is nearest to that of the class" in schema
    assert "A picture of square tiles, a row for each class." in schema
    assert "- brier" in schema


def test_a_further_family_trains_and_samples(trial: dict[str, Any]) -> None:
    assert trial["method"] == "prototype"
    assert trial["noise"] == 0.5
    assert trial["curves"] == ["spread"]
    assert trial["candidates"] > 0
    assert trial["refused"] == "spec.synthetic[].generator.prototype.noise"


def test_a_further_filter_decides_and_has_its_candidates_drawn(trial: dict[str, Any]) -> None:
    assert trial["oversample"] == pytest.approx(2.08)
    assert trial["score_columns"] == ["1 brightness", "copy"]
    assert 0 < trial["rejected"]["brightness"] < trial["candidates"]
    assert trial["accepted"] > 0


def test_a_further_source_is_foreseen_and_prepared_with_its_splits_and_labels(trial: dict[str, Any]) -> None:
    assert trial["task"] == "multi-class"
    assert trial["classes"] == ["row 0", "row 1"]
    assert trial["splits"] == {"train": 24, "validation": 8, "test": 8}
    assert trial["foreseen"] == trial["splits"]
    assert "multiples of its tiles' 12 pixels" in trial["wrong_tile"]
