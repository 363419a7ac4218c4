"""Experiments filled in from a few choices, so that they need no file: the demo's, and that of `syntrial judge`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rapidfuzz import process

from syntrial.errors import SourceError, UserError
from syntrial.experiment.dataset import Dataset
from syntrial.experiment.file import validate
from syntrial.experiment.model import API_VERSION, Experiment
from syntrial.imagesets.classes import quoted
from syntrial.imagesets.folders import layout_of
from syntrial.imagesets.structure import FolderLayout
from syntrial.imagesets.trees import tree_at

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
    color_mode: str = "source",
    class_map: Sequence[str] = (),
) -> Experiment:
    """The trial of ready-made synthetic images against real ones, as full as one that is written by hand.

    `size` in pixels; `class_map` holds OTHER=NAME for each class that is to be called otherwise, in whichever of the
    folders has it, or OTHER= for one that is left out. The arms use as many synthetic images as there are, at most as
    many as real ones. Raises SourceError where a folder is missing or holds no classes, UserError for another class.
    """
    folders = {option: _laid_out(path, option) for option, path in (("--real", real), ("--synthetic", synthetic))}
    renamed = _renamed(class_map, known={name for layout in folders.values() for name in layout.classes})
    maps = {
        option: {name: to for name, to in renamed.items() if name in layout.classes}
        for option, layout in folders.items()
    }
    counts = {
        option: sum(maps[option].get(picture.label, picture.label) is not None for picture in layout.pictures)
        for option, layout in folders.items()
    }
    # The training split is a part of the real images, so this ratio can be met by what there is.
    percent = max(1, min(100, int(100 * counts["--synthetic"] / max(1, counts["--real"]))))
    dataset: dict[str, Any] = {"folder": str(real), "size": size, "colorMode": color_mode}
    images: dict[str, Any] = {"folder": str(synthetic)}
    if patient_pattern is not None:
        dataset["patientPattern"] = patient_pattern
    for fields, option in ((dataset, "--real"), (images, "--synthetic")):
        if maps[option]:
            fields["classMap"] = maps[option]
    spec: dict[str, Any] = {
        "dataset": dataset,
        "synthetic": [{"name": "judged", "images": images}],
        "arms": [f"augment-{percent}", "finetune"] if percent == 100 else [f"augment-{percent}"],
        "classifiers": [{"model": classifier}],
        "replicates": replicates,
    }
    if steps is not None:
        spec["budget"] = {"steps": steps}
    return _experiment(name, spec)


def of_data_alone(dataset: Dataset | Mapping[str, Any]) -> Experiment:
    """An experiment of which the data set alone counts: its sources are resolved and prepared as those of a trial are.

    Raises UserError for fields against a rule.
    """
    spec: dict[str, Any] = {"synthetic": [{"name": "none", "generator": {"pca": {}}}]}
    if not isinstance(dataset, Dataset):
        return _experiment("data", {"dataset": dataset, **spec})
    found = _experiment("data", {"dataset": {"phantom": {}}, **spec})
    return found.model_copy(update={"spec": found.spec.model_copy(update={"dataset": dataset})})


def _laid_out(folder: Path, option: str) -> FolderLayout:
    if not folder.exists():
        raise SourceError(
            field=option,
            rule="must be a folder, or an archive of one, with a folder of images for each class",
            received=f"{folder}: no such folder",
            remedy="Give the folder that holds the classes' folders.",
        )
    return layout_of(tree_at(folder, title=f"{option} {folder}", field=option))


def _renamed(pairs: Sequence[str], *, known: set[str]) -> Mapping[str, str | None]:
    """What each class is to be called by the options, or None where it is left out."""
    found: dict[str, str | None] = {}
    for pair in pairs:
        other, equals, to = pair.partition("=")
        if not equals or other not in known:
            nearest = process.extractOne(other, sorted(known), score_cutoff=60)
            raise UserError(
                field="--class-map",
                rule="is OTHER=NAME, or OTHER= to leave a class out, where OTHER is a class of one of the folders",
                received=repr(pair),
                remedy=f"Did you mean {nearest[0]}={to or 'NAME'}?" if nearest else f"Known: {quoted(sorted(known))}.",
            )
        found[other] = to or None
    return found


def _experiment(name: str, spec: dict[str, Any]) -> Experiment:
    return validate({"apiVersion": API_VERSION, "kind": "Experiment", "metadata": {"name": name}, "spec": spec})
