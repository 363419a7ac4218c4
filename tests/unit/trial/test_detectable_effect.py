"""What a plan says of the effect that a trial could detect."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from syntrial.analysis.metrics import METRICS
from syntrial.experiment.file import validate
from syntrial.experiment.model import Experiment
from syntrial.sources.resolve import resolve_sources
from syntrial.trial.detectable_effect import Evaluated, detectable_words, effect, evaluated


def experiment(dataset: dict[str, Any], **spec: Any) -> Experiment:
    base = {"dataset": dataset, "synthetic": [{"name": "base", "generator": {"pca": {}}}]}
    return validate(
        {"apiVersion": "syntrial.dev/v1alpha1", "kind": "Experiment", "metadata": {"name": "x"}, "spec": base | spec}
    )


def found(dataset: dict[str, Any], *, base: Path, data_root: Path | None = None) -> Evaluated:
    given = experiment(dataset)
    who = evaluated(given, resolve_sources(given, base=base, data_root=data_root))
    assert who is not None
    return who


def npz(folder: Path, **replaced: Any) -> None:
    made: dict[str, Any] = {}
    for split, count in (("train", 60), ("val", 30), ("test", 45)):
        made[f"{split}_images"] = np.zeros((count, 8, 8), np.uint8)
        made[f"{split}_labels"] = np.arange(count) % 3 // 2
    np.savez(folder / "data.npz", **(made | replaced))


def test_the_classes_of_a_medmnist_file_at_hand_are_counted(shared_data: Path, tmp_path: Path) -> None:
    who = found({"medmnist": "breastmnist"}, base=tmp_path, data_root=shared_data / "medmnist")
    assert (who.patients, who.by_class, who.training_images) == (156, (42, 114), 546)


def test_without_the_file_the_sizes_of_equal_classes_sum_to_all_and_the_words_say_so(tmp_path: Path) -> None:
    given = experiment({"medmnist": "retinamnist"})
    sources = resolve_sources(given, base=tmp_path)
    who = evaluated(given, sources)
    assert who is not None
    assert [list(cases) for cases in who.scored()] == [[80] * 5]
    uneven = found({"medmnist": "organamnist"}, base=tmp_path)
    assert sum(uneven.scored()[0]) == uneven.patients == 17778
    assert "as many of each class is assumed" in detectable_words(given, sources)


def test_the_labels_of_an_npz_are_counted_by_patient(tmp_path: Path) -> None:
    npz(tmp_path, test_patients=np.arange(45) // 3)
    who = found({"npz": "data.npz"}, base=tmp_path)
    assert (who.patients, who.by_class) == (15, (15, 15))
    npz(tmp_path)
    who = found({"npz": "data.npz", "classes": ["well", "ill"]}, base=tmp_path)
    assert (who.patients, who.classes, who.by_class) == (45, ("well", "ill"), (30, 15))


def test_patients_with_many_images_of_a_class_count_for_what_they_are_worth(tmp_path: Path) -> None:
    # Of the fifteen images of the second class one patient has six, and nine patients have one.
    images = np.arange(45)
    patients = np.where(images % 3 == 2, np.maximum(images // 3 - 5, 0), images + 100)
    npz(tmp_path, test_patients=patients)
    who = found({"npz": "data.npz"}, base=tmp_path)
    assert who.by_class == (30, 10)
    assert who.scored()[0] == pytest.approx([30, 15**2 / (6**2 + 9)])
    given = experiment({"npz": "data.npz"})
    words = detectable_words(given, resolve_sources(given, base=tmp_path))
    assert "(30 '0', 10 '1')" in words
    assert "a scored class has 5 test patients, and 10 are needed" in words


def test_the_patients_of_a_phantom_are_those_that_are_drawn(tmp_path: Path) -> None:
    who = found({"phantom": {"testPatients": 101, "prevalence": 0.3}}, base=tmp_path)
    assert who.by_class is not None
    assert sum(who.by_class) == who.patients == 101
    assert abs(who.by_class[1] - 30.3) < 1


def test_labels_of_several_kinds_are_each_scored_against_their_rest(tmp_path: Path) -> None:
    several = {f"{split}_labels": np.eye(3, dtype=np.int64)[np.arange(n) % 3] for split, n in (("train", 60), ("val", 30), ("test", 45))}  # noqa: E501 # fmt: skip
    npz(tmp_path, **several)
    who = found({"npz": "data.npz", "severalLabels": True}, base=tmp_path)
    assert who.is_multi_label
    assert [list(cases) for cases in who.scored()] == [[30, 15]] * 3
    alone = Evaluated(patients=45, classes=("a", "b"), by_class=(30, 15), is_multi_label=False, training_images=60)
    metric = METRICS["auroc"]
    assert effect(who, metric=metric, replicates=5, value=0.9) == pytest.approx(
        effect(alone, metric=metric, replicates=5, value=0.9)
    )


def test_the_words_give_a_range_and_not_one_figure(tmp_path: Path, shared_data: Path) -> None:
    given = experiment({"medmnist": "pneumoniamnist"})
    words = detectable_words(given, resolve_sources(given, base=tmp_path, data_root=shared_data / "medmnist"))
    assert "624 test patients (234 'normal', 390 'pneumonia')" in words
    assert "where the control has 0.95" in words
    assert "where it has 0.8" in words


def test_too_few_patients_of_a_class_are_told_with_the_fields_to_change(tmp_path: Path) -> None:
    npz(tmp_path, test_labels=(np.arange(45) < 4).astype(np.int64))
    given = experiment({"npz": "data.npz"})
    words = detectable_words(given, resolve_sources(given, base=tmp_path))
    assert "45 test patients (41 '0', 4 '1')" in words
    assert "no outcome but inconclusive" in words
    assert "dataset.split.test" in words


def test_an_effect_that_cannot_be_is_called_none(tmp_path: Path) -> None:
    npz(tmp_path)
    given = experiment({"npz": "data.npz"}, replicates=2)
    assert "no difference that there can be" in detectable_words(given, resolve_sources(given, base=tmp_path))


def test_what_only_preparation_can_count_is_left_to_it(tmp_path: Path) -> None:
    given = experiment({"medmnist": "retinamnist", "classMap": {"4": None}})
    assert "once the data set is prepared" in detectable_words(given, resolve_sources(given, base=tmp_path))


def test_between_two_classifiers_the_words_say_that_more_may_be_needed(tmp_path: Path) -> None:
    tree = {"synthetic": [], "classifiers": [{"model": "small-cnn"}, {"model": "resnet18"}]}
    given = experiment({"medmnist": "breastmnist"}, **tree)
    words = detectable_words(given, resolve_sources(given, base=tmp_path))
    assert "two classifiers agree less over patients" in words


def test_a_label_that_the_test_split_lacks_is_named_and_the_others_are_planned_for(tmp_path: Path) -> None:
    labels = {split: np.zeros((count, 3), np.uint8) for split, count in (("train", 60), ("val", 30), ("test", 45))}
    for split, rows in labels.items():
        rows[::2, 0], rows[::3, 1], rows[::5, 2] = 1, 1, split != "test"
    npz(tmp_path, **{f"{split}_labels": rows for split, rows in labels.items()})
    given = experiment({"npz": "data.npz", "classes": ["a", "b", "rare"]})
    who = found({"npz": "data.npz", "classes": ["a", "b", "rare"]}, base=tmp_path)
    assert who.by_class == (23, 15, 0)
    assert [list(cases) for cases in who.scored()] == [[22, 23], [30, 15]]
    words = detectable_words(given, resolve_sources(given, base=tmp_path))
    assert "detects differences" in words
    assert words.endswith("No part of AUROC, for want of test patients: 'rare'.")
