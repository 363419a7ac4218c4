"""Experiments that need no file: the demo's, and the trial of a folder of ready-made images (`syntrial judge`)."""

from pathlib import Path
from typing import Any, Final

from syntrial.errors import SourceError
from syntrial.experiment.file import validate
from syntrial.experiment.model import API_VERSION, Experiment

IMAGE_SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})

_BREAST: Final[dict[str, Any]] = {"medmnist": "breastmnist", "size": 28}
_DRAWN: Final[dict[str, Any]] = {"phantom": {"trainPatients": 300, "testPatients": 300, "difficulty": 0.5}}


def demo_experiment(*, real: bool) -> Experiment:
    """A trial that takes minutes on two cores: of BreastMNIST, or of drawn images whose truth is known."""
    return _experiment(
        "demo-breast" if real else "demo-phantom",
        {
            "dataset": _BREAST if real else _DRAWN,
            "synthetic": [
                {
                    "name": "edm",
                    "generator": {"diffusion": {"preset": "pico"}},
                    "filters": [{"centroid": {"keep": 0.8}}],
                }
            ],
            "arms": ["augment-100", "synthetic"],
            "replicates": 5,
            "exploratoryReplicates": 2,
            "budget": {"steps": 200},
            "encoder": {"steps": 200},
            "endpoint": {"metric": "auroc", "smallestEffect": 0.02},
        },
    )


def judging_experiment(
    *,
    name: str,
    real: Path,
    synthetic: Path,
    size: int,
    classifier: str,
    replicates: int,
    steps: int | None,
    patient_pattern: str | None,
) -> Experiment:
    """The trial of ready-made synthetic images against real ones, as full as one that is written by hand.

    `size` in pixels. The arms use as many synthetic images as there are, at most as many as real ones. Raises
    SourceError where a folder is missing or holds no images.
    """
    counts = {folder: _count(folder, option) for folder, option in ((real, "--real"), (synthetic, "--synthetic"))}
    # The training split is a part of the real images, so this ratio can be met by what there is.
    percent = max(1, min(100, int(100 * counts[synthetic] / counts[real])))
    dataset: dict[str, Any] = {"folder": str(real), "size": size}
    if patient_pattern is not None:
        dataset["patientPattern"] = patient_pattern
    spec: dict[str, Any] = {
        "dataset": dataset,
        "synthetic": [{"name": "judged", "images": {"folder": str(synthetic)}}],
        "arms": [f"augment-{percent}", "finetune"] if percent == 100 else [f"augment-{percent}"],
        "classifiers": [{"model": classifier}],
        "replicates": replicates,
    }
    if steps is not None:
        spec["budget"] = {"steps": steps}
    return _experiment(name, spec)


def _count(folder: Path, option: str) -> int:
    found = sum(path.suffix.lower() in IMAGE_SUFFIXES for path in folder.rglob("*")) if folder.is_dir() else 0
    if found == 0:
        raise SourceError(
            field=option,
            rule="must be a folder with a folder of images for each class",
            received=f"{folder}: {'no images' if folder.is_dir() else 'no such folder'}",
            remedy=f"Give the folder that holds the classes' folders; images are {', '.join(sorted(IMAGE_SUFFIXES))}.",
        )
    return found


def _experiment(name: str, spec: dict[str, Any]) -> Experiment:
    return validate({"apiVersion": API_VERSION, "kind": "Experiment", "metadata": {"name": name}, "spec": spec})
