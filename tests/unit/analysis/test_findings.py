"""The numbers of `report.json`: pairing, roles, adjustment and what was seen."""

from collections.abc import Callable
from typing import Any

import pytest

from syntrial.analysis.findings import pair, trial_findings
from syntrial.analysis.reading import TrialData, cell_labels, read_trial
from syntrial.analysis.statistics import compare, estimate_arm
from syntrial.v1.analysis_pb2 import CellComparison

Role = CellComparison.Role


def data_of(trial: Any) -> TrialData:
    return read_trial(trial.request, context=trial.context())


def test_the_primary_is_what_the_statistics_say_of_its_scores(made_up_trial: Callable[..., Any]) -> None:
    data = data_of(made_up_trial().small())
    report = trial_findings(data)
    arm, control = data.cells["augment-100 edm small-cnn"], data.cells["real small-cnn"]
    wanted = compare(
        data.labels,
        arm_scores=arm.scores_JNK,
        control_scores=control.scores_JNK,
        clusters=data.patients_N,
        metric="auroc",
    )
    assert report["verdict"]["estimate"] == wanted.estimate
    assert report["verdict"]["interval_95"] == list(wanted.interval_95)
    assert report["verdict"]["speaks_of"] == "these images"


def test_replicates_are_paired_by_seed_whatever_their_order(made_up_trial: Callable[..., Any]) -> None:
    first = made_up_trial().small()
    second = made_up_trial().small()
    replicates = list(second.request.cells[1].replicates)[::-1]
    del second.request.cells[1].replicates[:]
    second.request.cells[1].replicates.extend(replicates)
    assert trial_findings(data_of(first))["verdict"] == trial_findings(data_of(second))["verdict"]


def test_only_seeds_that_both_have_are_paired(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial()
    trial.cell("real", replicates=4)
    trial.cell("augment-100", "edm", replicates=4)
    del trial.request.cells[1].replicates[1]
    trial.compare("augment-100 edm small-cnn", "real small-cnn", Role.ROLE_PRIMARY)
    data = data_of(trial)
    arm, control = data.cells["augment-100 edm small-cnn"], data.cells["real small-cnn"]
    arm_scores, control_scores, keys = pair(arm, control=control)
    assert len(arm_scores[0]) == len(control_scores) == 3
    assert len(keys) == 6
    assert (control_scores[1] == control.replicates[2].scores_NK).all()


def test_cells_without_a_shared_seed_cannot_be_compared(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial()
    trial.cell("real", replicates=1)
    trial.cell("augment-100", "edm", replicates=1)
    trial.request.cells[1].replicates[0].seed = 99
    trial.compare("augment-100 edm small-cnn", "real small-cnn", Role.ROLE_PRIMARY)
    with pytest.raises(ValueError, match="share no seed"):
        trial_findings(data_of(trial))


def test_three_generators_make_the_verdict_speak_of_the_method(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial()
    trial.cell("real", replicates=2)
    trial.cell("augment-100", "edm", replicates=2, generators=3)
    trial.compare("augment-100 edm small-cnn", "real small-cnn", Role.ROLE_PRIMARY)
    verdict = trial_findings(data_of(trial))["verdict"]
    assert verdict["speaks_of"] == "this method"
    assert (verdict["generators"], verdict["replicates"], len(verdict["keys"])) == (3, 2, 8)


def test_two_generators_are_too_few_and_the_report_says_so(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial()
    trial.cell("real", replicates=2)
    trial.cell("augment-100", "edm", replicates=2, generators=2)
    trial.compare("augment-100 edm small-cnn", "real small-cnn", Role.ROLE_PRIMARY)
    verdict = trial_findings(data_of(trial))["verdict"]
    assert verdict["speaks_of"] == "these images"
    assert any("of 2 generator replicates the first is compared" in note for note in verdict["notes"])


def test_exploratory_differences_must_stand_holms_adjustment(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial(test_images=400, margin=0.002)
    real = trial.cell("real", replicates=4)
    primary = trial.cell("augment-100", "edm", replicates=4)
    trial.compare(primary, real, Role.ROLE_PRIMARY)
    for index, skill in enumerate((1.93, 1.95, 1.91, 2.0, 2.0, 2.0, 2.0)):
        arm = trial.cell(f"augment-{index + 1}", "edm", replicates=4, skill=skill, noise=0.1)
        trial.compare(arm, real, Role.ROLE_EXPLORATORY)
    report = trial_findings(data_of(trial))
    exploratory = [found for found in report["comparisons"] if found["role"] == "exploratory"]
    assert all(found["p_value_holm"] >= found["p_value"] for found in exploratory)
    for found in exploratory:
        if found["outcome"] in {"improves", "harms"}:
            assert found["p_value_holm"] < 0.05
        elif found["outcome_unadjusted"] in {"improves", "harms"}:
            assert (found["outcome"], found["by_less_than_margin"]) == ("inconclusive", False)
    assert report["verdict"]["p_value_holm"] is None


def test_the_baseline_is_the_same_arm_on_pca_images(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial().small()
    assert trial_findings(data_of(trial))["baseline"] is None
    trial.synthetic("pca", method="pca", control=True)
    baseline = trial_findings(data_of(trial))["baseline"]
    assert (baseline["arm"], baseline["control"]) == ("augment-100 edm small-cnn", "augment-100 pca small-cnn")


def test_an_arm_tells_what_it_was_trained_on(made_up_trial: Callable[..., Any]) -> None:
    report = trial_findings(data_of(made_up_trial().small()))
    arms = {arm["cell"]: arm for arm in report["arms"]}
    assert arms["real small-cnn"]["images_seen"] == {"real": 16000, "synthetic": 0}
    assert arms["augment-100 edm small-cnn"]["images_seen"] == {"real": 16000, "synthetic": 16000}
    assert arms["augment-100 edm small-cnn"]["optimiser_steps"] == 500
    assert [arm["role"] for arm in report["arms"]] == ["reference", "primary", "exploratory", "control", "control"]


def test_labels_name_the_classifier_only_where_there_are_several(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial().small()
    assert cell_labels(data_of(trial).cells.values())["augment-100 edm small-cnn"] == "augment-100 with edm"
    trial.cell("real", classifier="resnet18")
    labels = cell_labels(data_of(trial).cells.values())
    assert labels["augment-100 edm small-cnn"] == "augment-100 with edm, small-cnn"
    assert labels["real resnet18"] == "real, resnet18"


def test_curves_of_a_series_that_could_not_be_computed_are_gaps(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial().small()
    for replicate in trial.request.cells[0].replicates:
        member = trial.inputs[replicate.training.key, "training"]
        member["training.json"]["curves"]["series"]["validation_auroc"] = [None] * 10
    curves = trial_findings(data_of(trial))["training_curves"][0]["series"]["validation_auroc"]
    assert curves["mean"] == [None] * 10


def test_an_arms_generators_are_not_pooled_with_its_seeds(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial()
    real = trial.cell("real", replicates=2)
    name = trial.cell("augment-100", "edm", replicates=2, generators=3)
    trial.compare(name, real, Role.ROLE_PRIMARY)
    data = data_of(trial)
    arm = next(arm for arm in trial_findings(data)["arms"] if arm["cell"] == name)
    assert (arm["generators"], arm["replicates"]) == (3, 2)
    scores = data.cells[name].scores_JNK
    wanted = estimate_arm(
        data.labels, scores=scores.reshape(3, 2, *scores.shape[1:]), clusters=data.patients_N, metric="auroc"
    )
    assert arm["metrics"]["auroc"]["interval_95"] == list(wanted.interval_95)
    assert arm["metrics"]["auroc"]["per_replicate"] == list(wanted.per_replicate)


def test_an_outcome_and_its_words_agree_in_every_comparison(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial(margin=0.005)
    real = trial.cell("real")
    trial.compare(trial.cell("augment-100", "edm"), real, Role.ROLE_PRIMARY)
    for number, skill in enumerate((1.4, 1.5, 1.6, 1.7, 1.8, 3.0)):
        trial.compare(trial.cell(f"augment-{number}", "edm", skill=skill), real, Role.ROLE_EXPLORATORY)
    found = trial_findings(data_of(trial))["comparisons"]
    changed = [item for item in found if item["outcome"] != item["outcome_unadjusted"]]
    assert changed
    assert all("Holm" in item["undecided"] for item in changed)
    for item in found:
        assert (f" {item['outcome']}" in item["words"]) or item["outcome"] == "equivalent"
        for other in {"improves", "harms"} - {item["outcome"]}:
            assert f" {other} " not in item["words"]


def test_a_comparison_that_cannot_be_decided_still_counts_in_holms_family(made_up_trial: Callable[..., Any]) -> None:
    def adjusted(*, beside: bool) -> tuple[float, float]:
        trial = made_up_trial()
        real = trial.cell("real")
        trial.compare(trial.cell("augment-100", "edm"), real, Role.ROLE_PRIMARY)
        trial.compare(trial.cell("synthetic", "edm", skill=1.0), real, Role.ROLE_EXPLORATORY)
        if beside:
            trial.compare(trial.cell("augment-50", "edm", replicates=1), real, Role.ROLE_EXPLORATORY)
        found = trial_findings(data_of(trial))["comparisons"]
        assert [item["p_value_holm"] for item in found[2:]] == [None] * beside
        return found[1]["p_value"], found[1]["p_value_holm"]

    raw, alone = adjusted(beside=False)
    assert alone == raw
    assert adjusted(beside=True)[1] == 2 * raw


def test_labels_that_too_few_patients_have_are_named_and_no_part_of_the_metric(
    made_up_trial: Callable[..., Any],
) -> None:
    trial = made_up_trial(classes=("mass", "hernia"), multi_label=True)
    trial.labels[:, 1] = 0
    report = trial_findings(data_of(trial.small()))
    assert "no part of the metric, for want of test patients: 'hernia'" in report["verdict"]["notes"]
