"""Mixed sets by percentage, and what the card of a set says."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.errors import UserError
from syntrial.imagesets.imageset import ImageSet
from syntrial.imagesets.layouts import LAYOUTS
from syntrial.rpc.testing import fake_key
from syntrial.trial.export import ExportPart, export_trial
from syntrial.trial.sets import Mix, mixed_set
from tests.unit.trial_records import CLASSES, UID, file_plan, finished_store, image_set, put_step


def labelled(counts: list[int], *, seed: int, real: bool) -> ImageSet:
    labels = np.repeat(np.arange(len(counts)), counts)
    names = [f"{label}-{number}" for number, label in enumerate(labels)]
    return ImageSet(
        images_NHWC=np.random.default_rng(seed).integers(0, 256, (len(labels), 8, 8, 1), dtype=np.uint8),
        labels=labels,
        classes=CLASSES,
        task="multi-class",
        origins={"file": names, "patient": names}
        if real
        else {"index": list(range(len(labels))), "generator": ["g"] * len(labels)},
    )


@pytest.mark.parametrize(
    ("mix", "made", "expected"),
    [
        ((50, 50), [60, 20], {("real", 0): 60, ("real", 1): 20, ("synthetic", 0): 60, ("synthetic", 1): 20}),
        ((75, 25), [60, 20], {("real", 0): 60, ("real", 1): 20, ("synthetic", 0): 20, ("synthetic", 1): 7}),
        ((25, 75), [60, 20], {("real", 0): 20, ("real", 1): 6, ("synthetic", 0): 60, ("synthetic", 1): 18}),
        ((50, 50), [60, 5], {("real", 0): 15, ("real", 1): 5, ("synthetic", 0): 15, ("synthetic", 1): 5}),
    ],
)
def test_a_mixed_set_has_the_shares_that_were_asked_for_in_each_class(
    mix: tuple[int, int], made: list[int], expected: dict[tuple[str, int], int]
) -> None:
    real, synthetic = labelled([60, 20], seed=0, real=True), labelled(made, seed=1, real=False)
    mixed = mixed_set(real, synthetic, mix=Mix(real=mix[0], synthetic=mix[1]), name="edm")
    kinds = list(zip(mixed.origins["origin"], mixed.labels.tolist(), strict=True))
    assert {kind: kinds.count(kind) for kind in kinds} == expected
    known = {str(name): pixels for name, pixels in zip(real.origins["file"], real.images_NHWC, strict=True)}
    for number, (kind, _) in enumerate(kinds):
        name = str(mixed.origins["image"][number])
        source = known[name] if kind == "real" else synthetic.images_NHWC[int(name)]
        np.testing.assert_array_equal(mixed.images_NHWC[number], source)


def test_a_class_without_synthetic_images_cannot_be_mixed() -> None:
    real, synthetic = labelled([6, 2], seed=0, real=True), labelled([6, 0], seed=1, real=False)
    with pytest.raises(UserError, match="ill/bad 2 real, 0 synthetic"):
        mixed_set(real, synthetic, mix=Mix(real=50, synthetic=50), name="edm")


@pytest.fixture
def judged() -> ArtifactStore:
    """The finished trial, whose filter names its training split and what it found."""
    store = open_store("memory://")
    put_step(
        store,
        "prepare",
        method="DataPreparationService/PrepareDataset",
        members={"train": labelled([4, 4], seed=3, real=True)},
    )
    put_step(
        store,
        "filter edm",
        method="FilteringService/FilterImages",
        request={"train": {"key": fake_key("prepare"), "member": "train"}},
        members={"accepted": image_set()},
    )
    file_plan(store, ["prepare", "filter edm"])
    store.put_experiment_file(
        UID,
        "experiment.yaml",
        b"apiVersion: syntrial.dev/v1alpha1\nkind: Experiment\nmetadata: {name: small}\n"
        b"spec: {dataset: {medmnist: dermamnist}, synthetic: [{name: edm, generator: {pca: {}}}]}\n",
    )
    return store


def test_a_mixed_set_is_exported_with_each_images_origin_and_its_card_says_what_it_holds(
    judged: ArtifactStore, tmp_path: Path
) -> None:
    done = export_trial(
        judged,
        uid=UID,
        name="small",
        out=tmp_path / "out",
        layout=LAYOUTS["imagefolder"],
        mix=Mix(real=50, synthetic=50),
    )
    assert done.images == 12
    lines = (tmp_path / "out" / "mixed" / "edm" / "train" / "metadata.csv").read_text().splitlines()
    assert lines[0] == "file_name,label,origin origin,origin image,origin patient,origin generator"
    assert sum(",synthetic," in line for line in lines) == 6
    card = (tmp_path / "out" / "mixed" / "edm" / "README.md").read_text()
    head = yaml.safe_load(card.split("---")[1])
    assert head["license"] == "cc-by-nc-4.0"
    assert head["configs"][0]["data_files"] == [{"split": "train", "path": "train/**"}]
    assert "of patients" in card
    assert "No trial has judged these images" in card


def test_the_card_of_a_judged_set_has_the_verdict(tmp_path: Path) -> None:
    export_trial(finished_store(), uid=UID, name="small", out=tmp_path / "out", parts={ExportPart.IMAGES})
    card = (tmp_path / "out" / "images" / "edm" / "README.md").read_text()
    assert "**Improves.** It improves." in card
    assert "Not searched for copies" in card
    assert "which is not known here" in card
