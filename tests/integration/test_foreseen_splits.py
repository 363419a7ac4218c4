"""What a plan says of the splits is what data preparation makes of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from syntrial_data_prep.prepare import prepare_dataset

from syntrial.documents import document
from syntrial.documents.names import Names
from syntrial.experiment.file import validate
from syntrial.imagesets.imageset import read_image_set
from syntrial.rpc.testing import FakeContext
from syntrial.sources.contents import foreseen
from syntrial.sources.resolve import resolve_sources
from syntrial.trial.run import draft

RANDOM = np.random.default_rng(0)


def draw(folder: Path, *, splits: tuple[str, ...] = ("",)) -> None:
    """Images of three classes, the last of them rare, one to three of each patient."""
    for top in splits:
        for label, (name, patients) in enumerate((("a", 40), ("b", 25), ("c", 9))):
            (folder / top / name).mkdir(parents=True)
            for patient in range(patients):
                for image in range(1 + patient % 3):
                    pixels = RANDOM.integers(0, 255, (8, 8), dtype=np.uint8)
                    number = patient if top else 100 * label + patient
                    Image.fromarray(pixels).save(folder / top / name / f"{top}p{number}_{image}.png")


@pytest.mark.parametrize(
    ("splits", "fields"),
    [
        (("",), {"patientPattern": r"(p\d+)_"}),
        (("",), {"split": {"validation": 0.2, "test": 0.3, "seed": 5}}),
        (("",), {"patientPattern": r"p(\d+)_", "classMap": {"b": "c"}}),
        (("",), {"classMap": {"c": None}}),
        (("train", "test"), {"patientPattern": r"(\w+)_"}),
        (("train", "dev", "test"), {}),
    ],
)
def test_the_foreseen_test_split_is_the_prepared_one(
    splits: tuple[str, ...], fields: dict[str, Any], tmp_path: Path
) -> None:
    draw(tmp_path / "real", splits=splits)
    experiment = validate(
        {
            "apiVersion": "syntrial.dev/v1alpha1",
            "kind": "Experiment",
            "metadata": {"name": "x"},
            "spec": {
                "dataset": {"folder": "real", "size": 8, **fields},
                "synthetic": [{"name": "base", "generator": {"pca": {}}}],
            },
        }
    )
    sources = resolve_sources(experiment, base=tmp_path)
    expected = foreseen(experiment.spec.dataset, sources.contents["dataset"])
    context = FakeContext(sources=dict(sources.locations))
    prepare_dataset(draft(experiment, sources).plan.training[0].request, context)
    assert read_image_set(context.result("test")).classes == expected.classes
    for name, split in expected.splits.items():
        made = read_image_set(context.result(name))
        if name == "test":
            np.testing.assert_array_equal(made.labels, split.labels)
            names = document.read(Names, context.result("names"), "names.json")
            column, known = ("patient", names.patients) if "patient" in made.origins else ("file", names.files)
            assert tuple(known[str(word)] for word in made.origins[column]) == split.patients
        # Patients on both sides leave training and validation.
        assert len(made) <= len(split.labels)
