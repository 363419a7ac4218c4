"""The commands on one classifier: what is wrong is said before any server starts."""

from pathlib import Path

import pytest

from syntrial.artifacts.store import open_store
from tests.unit.cli.conftest import Run
from tests.unit.trial_records import put_trial


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("evaluate", "train rael small-cnn 1/1"), "Nearest labels: train real small-cnn 1/1"),
        (("evaluate", "filter edm"), "received: filter edm, a step of FilterImages"),
        (("evaluate", "weights.safetensors"), "beside weights a classifier.json says what they are"),
        (("predict", ".", "images", "out.csv"), "beside weights a classifier.json says what they are"),
    ],
)
def test_a_word_that_means_no_classifier_ends_with_exit_code_2(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    put_trial(open_store(tmp_path / "store"), uid="small")
    code, _, shown = run(*arguments, "--store", str(tmp_path / "store"))
    assert code == 2
    assert words in shown
    assert "Traceback" not in shown
