"""Faults of published studies, each planted and caught by the product: an assertion, a refusal or the report."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import syntrial_classification.training
import torch
from syntrial_classification.phases import plan_training
from syntrial_classification.pools import Order
from timm.models.deit import VisionTransformerDistilled

from syntrial.analysis.findings import trial_findings
from syntrial.analysis.qualify import qualifications
from syntrial.analysis.reading import read_trial
from syntrial.errors import UserError
from syntrial.plan import classifier_trials
from syntrial.plan.classifiers import Classifiers
from syntrial.plan.networks import Networks
from syntrial.v1.analysis_pb2 import CellComparison
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.classification_pb2 import ClassifierModel, TrainingPhase
from tests.unit.analysis.conftest import MadeUpTrial
from tests.unit.classification.conftest import make_images, make_request, train
from tests.unit.data_prep.test_importing import NAMED, bring, fresh, npz
from tests.unit.plan.test_classifier_search import experiment as tuned_classifier
from tests.unit.plan.test_planner import planned, probing
from tests.unit.plan.test_search import whole

MIXED = TrainingPhase(real=1, synthetic=1, steps=6, learning_rate=3e-3)
Role = CellComparison.Role


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def qualified(trial: MadeUpTrial, kind: str) -> list[tuple[str, str]]:
    """Severity and words of the report's qualifications of a kind."""
    data = read_trial(trial.request, context=trial.context())
    found = qualifications(data, report=trial_findings(data))
    return [(one["severity"], one["words"]) for one in found if one["kind"] == kind]


def test_a_mixed_set_that_is_built_and_not_used_ends_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    real, made = make_images(20, seed=1), make_images(20, seed=2)
    train(make_request(MIXED), real=real, synthetic=made)
    draws = Order.draws

    def of_real_images(order: Order, start: int, end: int) -> Any:
        items, passes = draws(order, start, end)
        return items % len(real), passes

    monkeypatch.setattr(Order, "draws", of_real_images)
    with pytest.raises(AssertionError, match=r"phase 0 saw .*'synthetic': 0.*, and was to see"):
        train(make_request(MIXED), real=real, synthetic=made)


def test_a_head_of_a_distilled_network_that_stays_untrained_ends_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ClassifierModel(name="deit_tiny_distilled_patch16_224", stem=ClassifierModel.STEM_STANDARD)
    request = make_request(TrainingPhase(real=1, steps=1, learning_rate=1e-3), model=model)
    real = make_images(8, side=16)
    train(request, real=real)

    def one_head_in_training(network: Any, x: Any, pre_logits: bool = False) -> Any:
        del pre_logits
        first = network.head(x[:, 0])
        return first if network.training else (first + network.head_dist(x[:, 1])) / 2

    monkeypatch.setattr(VisionTransformerDistilled, "forward_head", one_head_in_training)
    with pytest.raises(AssertionError, match=r"phase 0 leaves the head head_dist\.weight untrained"):
        train(request, real=real)


@pytest.mark.parametrize("chosen_on", ["accepted", "test"])
def test_selection_on_synthetic_or_on_test_images_is_never_planned(
    monkeypatch: pytest.MonkeyPatch, chosen_on: str
) -> None:
    asked = Classifiers._request

    def wrongly(*args: Any, **options: Any) -> Any:
        request = asked(*args, **options)
        wrong = MemberRef(key=request.train.key, member="test") if chosen_on == "test" else request.synthetic
        if wrong.key:
            request.validation.CopyFrom(wrong)
        return request

    planned()
    monkeypatch.setattr(Classifiers, "_request", wrongly)
    with pytest.raises(AssertionError, match=f"is chosen on {chosen_on}"):
        planned()


def test_test_images_reach_no_training_by_way_of_another_input(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Classifiers._request

    def with_test_images(*args: Any, **options: Any) -> Any:
        request = asked(*args, **options)
        request.train.member = "test"
        return request

    monkeypatch.setattr(Classifiers, "_request", with_test_images)
    with pytest.raises(AssertionError, match="is given the test split"):
        planned()
    monkeypatch.undo()
    features = Networks.features

    def of_the_test_split(self: Any, images: MemberRef, *args: Any, **options: Any) -> Any:
        return features(self, self._split("test") if images.member == "validation" else images, *args, **options)

    probing()
    monkeypatch.setattr(Networks, "features", of_the_test_split)
    with pytest.raises(AssertionError, match="is given features of the test split"):
        probing()


def test_a_classifier_is_never_chosen_by_the_seeds_that_are_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    whole(tuned_classifier())
    monkeypatch.setattr(classifier_trials, "FIRST_OF_SEARCHES", 0)
    with pytest.raises(AssertionError, match="decides by what is evaluated"):
        whole(tuned_classifier())


@pytest.mark.parametrize(("arm", "severity"), [("augment-100", "serious"), ("", "note")])
def test_small_real_images_enlarged_beside_sharp_synthetic_ones_qualify_the_verdict(arm: str, severity: str) -> None:
    trial = MadeUpTrial()
    trial.compare(trial.cell(arm or "augment-100", "folder" if arm else "edm"), trial.cell("real"), Role.ROLE_PRIMARY)
    trial.synthetic("folder", method="imported", proven=False)
    if not arm:
        trial.synthetic("edm")
    assert not qualified(trial, "sharpness")
    audits = [trial.inputs[ref.key, "audit"] for ref in (trial.request.audit, trial.request.synthetic[0].audit)]
    for audit, sides in zip(audits, ([28, 28], [256, 299]), strict=True):
        audit["audit.json"]["resampling"] |= {"from": sides, "to": 224, "method": "nearest"}  # type: ignore[index]
    ((found, words),) = qualified(trial, "sharpness")
    assert found == severity
    assert "enlarged from 28 to 224 pixels (nearest); those of folder come from 256 pixels or more" in words


def test_a_synthetic_set_of_one_class_is_a_warning_and_its_gap_is_counted(tmp_path: Path) -> None:
    ones = np.ones(20, np.int64)
    _, audit, _ = bring(NAMED, npz(tmp_path, fresh(), ones), tmp_path / "cache")
    assert any("none are of normal: being synthetic then tells the class" in words for words in audit["warnings"])
    made = make_images(40, seed=2)
    made = replace(made, labels=np.ones(40, np.int64))
    request = make_request(MIXED)
    (phase,) = plan_training(request, train=make_images(20, seed=1), synthetic=made).phases
    assert (phase.pool.counts()["synthetic"], phase.synthetic_missing) == (10, 10)


def phases_of(trial: MadeUpTrial, cell: str, *seen: dict[str, int]) -> None:
    """Gives every training of a cell phases that saw these images."""
    for replicate in next(one for one in trial.request.cells if one.name == cell).replicates:
        document = trial.inputs[replicate.training.key, "training"]["training.json"]  # type: ignore[index]
        (phase,) = document["phases"][:1]
        document["phases"] = [{**phase, "images_seen": images} for images in seen]


@pytest.mark.parametrize(("role", "severity"), [(Role.ROLE_PRIMARY, "serious"), (Role.ROLE_EXPLORATORY, "note")])
def test_fine_tuning_that_ends_on_synthetic_images_is_said_to_be_reversed(role: Any, severity: str) -> None:
    trial = MadeUpTrial()
    trial.synthetic("edm")
    cell, real, other = trial.cell("tuned", "edm"), trial.cell("real"), trial.cell("augment-100", "edm")
    trial.compare(cell, real, role)
    trial.compare(other, real, Role.ROLE_PRIMARY if role != Role.ROLE_PRIMARY else Role.ROLE_EXPLORATORY)
    on_real, on_synthetic = {"real": 900, "synthetic": 0}, {"real": 0, "synthetic": 900}
    for right in ((on_synthetic, on_real), (on_synthetic,), (on_real, {"real": 1000, "synthetic": 1000})):
        phases_of(trial, cell, *right)
        assert not qualified(trial, "order")
    phases_of(trial, cell, on_real, on_synthetic)
    ((found, words),) = qualified(trial, "order")
    assert found == severity
    assert "is fine-tuning in reverse" in words
    assert "in its last phase on synthetic ones alone (900, counted with repetition)" in words


def test_several_labels_are_never_trained_as_the_likeliest_one(monkeypatch: pytest.MonkeyPatch) -> None:
    several, single = make_images(12, classes=3, several=True), make_images(12, classes=3)
    with pytest.raises(ValueError, match=r"labels must be uint8 \(12, 3\), not int64 \(12,\)"):
        replace(several, labels=several.labels.argmax(axis=1))
    with pytest.raises(UserError, match="synthetic images have the task of the real ones, multi-label"):
        train(make_request(MIXED), real=several, synthetic=single)
    of_set = syntrial_classification.training.targets_of
    monkeypatch.setattr(
        syntrial_classification.training,
        "targets_of",
        lambda labels, **options: of_set(labels.argmax(axis=1), **options),
    )
    with pytest.raises(AssertionError, match="the targets have not the form of the data set's labels"):
        train(make_request(), real=several)
