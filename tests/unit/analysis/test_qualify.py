"""What qualifies a verdict: each reason for doubt is found where it is there, and only there."""

from collections.abc import Callable
from typing import Any

import pytest

from syntrial.analysis.findings import trial_findings
from syntrial.analysis.qualify import qualifications
from syntrial.analysis.reading import Source, read_trial
from syntrial.documents.document import as_json
from syntrial.rpc.testing import fake_key
from syntrial.v1.analysis_pb2 import CellComparison, PoolSummary, PretrainingSummary

Role = CellComparison.Role


def found(trial: Any) -> dict[str, list[dict[str, Any]]]:
    """Qualifications by kind."""
    data = read_trial(trial.request, context=trial.context())
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for qualification in qualifications(data, report=trial_findings(data)):
        by_kind.setdefault(qualification["kind"], []).append(qualification)
    return by_kind


def audit_of(trial: Any) -> dict[str, Any]:
    return trial.inputs[trial.request.audit.key, "audit"]["audit.json"]


def test_a_clean_trial_is_qualified_by_its_scope_alone(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial().small()
    trial.synthetic("edm")
    assert set(found(trial)) == {"scope"}


def test_serious_qualifications_come_first(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial().small(undertrained=True)
    trial.synthetic("edm", method="imported", proven=False, copies=3)
    data = read_trial(trial.request, context=trial.context())
    scope, *others = qualifications(data, report=trial_findings(data))
    assert scope["kind"] == "scope"
    severities = [q["severity"] for q in others]
    assert severities == sorted(severities, key=["serious", "note"].index)
    assert severities[0] == "serious"


def first(trial: Any) -> str:
    data = read_trial(trial.request, context=trial.context())
    return qualifications(data, report=trial_findings(data))[0]["words"]


def test_the_first_qualification_says_that_one_training_set_was_used(made_up_trial: Callable[..., Any]) -> None:
    words = first(made_up_trial().small(undertrained=True))
    assert words.startswith("The verdict speaks of these synthetic images and of one training set of real images.")
    assert "allows for other test patients and other seeds, not for other training images" in words
    assert "another training of the generator would give takes three or more replicates" in words


def test_the_first_qualification_claims_no_chance_that_was_not_seen(made_up_trial: Callable[..., Any]) -> None:
    alone = first(made_up_trial().small(replicates=1))
    assert "allows for other test patients, not for other training images" in alone
    assert "seeds" not in alone
    method = made_up_trial()
    method.cell("real", replicates=2)
    method.cell("augment-100", "edm", replicates=2, generators=3)
    method.compare("augment-100 edm small-cnn", "real small-cnn", Role.ROLE_PRIMARY)
    words = first(method)
    assert words.startswith("The verdict speaks of this method and of one training set of real images.")
    assert "other test patients, other seeds and other trainings of the generator, not for" in words
    assert "three or more replicates" not in words


def test_the_first_qualification_of_probes_allows_for_other_training_patients(
    made_up_trial: Callable[..., Any],
) -> None:
    trial = made_up_trial().small()
    for members in trial.inputs.values():
        if isinstance(members, dict) and "training.json" in members:
            members["training.json"]["bootstrap"] = True
    words = first(trial)
    assert words.startswith("The verdict speaks of these synthetic images and of patients like the training patients.")
    assert "other test patients and other training patients (by a Bayesian bootstrap)." in words
    assert "seeds" not in words


def test_what_is_held_against_one_replicate_says_why_it_is_open(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial().small(replicates=1)
    trial.synthetic("pca", method="pca", control=True)
    (baseline,) = found(trial)["baseline"]
    assert baseline["words"].startswith("The generator was not told apart from the baseline pca.")
    assert "(95% interval over patients alone" in baseline["words"]
    assert baseline["words"].endswith("; with one replicate nothing is known of other seeds.")


def test_a_primary_that_cannot_be_decided_is_a_serious_matter(made_up_trial: Callable[..., Any]) -> None:
    (undecided,) = found(made_up_trial().small(replicates=1))["undecided"]
    assert undecided["severity"] == "serious"
    assert undecided["words"] == "No outcome was given: with one replicate nothing is known of other seeds."
    assert "undecided" not in found(made_up_trial().small())


def test_unproven_lineage_is_serious_where_the_primary_uses_it(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial().small()
    trial.synthetic("edm", method="imported", proven=False)
    trial.synthetic("bought", method="imported", proven=False)
    severities = [q["severity"] for q in found(trial)["lineage"]]
    assert severities == ["serious", "note"]
    assert "edm: every image is of one class" in [q["words"] for q in found(trial)["data"]]


def test_unproven_lineage_says_whether_a_program_or_earlier_weights_are_the_reason(
    made_up_trial: Callable[..., Any],
) -> None:
    trial = made_up_trial().small()
    trial.synthetic("edm", method="gan", proven=False)
    trial.synthetic("own", method="external", proven=False)
    begun, own = (q["words"] for q in found(trial)["lineage"])
    assert "starts from weights whose training data cannot be shown to exclude these test images" in begun
    assert "A program of the experiment's own" in own


def test_an_undertrained_cell_of_the_primary_pair_is_serious(made_up_trial: Callable[..., Any]) -> None:
    assert [q["severity"] for q in found(made_up_trial().small(undertrained=True))["undertrained"]] == ["serious"]
    trial = made_up_trial().small()
    other = trial.cell("augment-50", "edm", undertrained=True)
    trial.compare(other, "real small-cnn", Role.ROLE_EXPLORATORY)
    assert [q["severity"] for q in found(trial)["undertrained"]] == ["note"]


def test_unequal_budgets_are_serious_in_the_primary_comparison(made_up_trial: Callable[..., Any]) -> None:
    assert "budget" not in found(made_up_trial().small())
    (told,) = found(made_up_trial().small(steps=1000))["budget"]
    assert told["severity"] == "serious"
    assert "took 1,000 optimiser steps" in told["words"]
    trial = made_up_trial().small()
    trial.compare(trial.cell("mine", "edm", steps=250), "real small-cnn", Role.ROLE_EXPLORATORY)
    assert [q["severity"] for q in found(trial)["budget"]] == ["note"]


def test_two_classifiers_are_qualified_by_what_each_was_trained_for(made_up_trial: Callable[..., Any]) -> None:
    assert set(found(made_up_trial().networks())) == {"scope"}
    (budget,) = found(made_up_trial().networks(steps=700))["budget"]
    assert budget["severity"] == "serious"
    assert (
        "resnet18 took 700 optimiser steps over 16\u202f000 images, small-cnn 500 over 16\u202f000" in budget["words"]
    )
    assert "as its own recipe has it" in budget["words"]


def test_a_verdict_without_synthetic_images_speaks_of_the_classifiers(made_up_trial: Callable[..., Any]) -> None:
    words = first(made_up_trial().networks())
    assert words.startswith("The verdict speaks of these classifiers as trained here and of one training set")
    assert "generator" not in words


def test_a_baseline_is_held_against_the_images_and_not_against_a_classifier(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial()
    for synthetic in ("edm", "pca"):
        for classifier in ("small-cnn", "resnet18"):
            trial.cell("augment-100", synthetic, classifier=classifier)
    trial.compare("augment-100 edm resnet18", "augment-100 edm small-cnn", Role.ROLE_PRIMARY)
    trial.synthetic("edm")
    trial.synthetic("pca", method="pca", control=True)
    assert "baseline" not in found(trial)


def test_a_waived_leak_into_test_is_serious_and_a_dropped_one_is_none(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial().small()
    leak = {"kind": "exact-duplicate", "count": 3, "images": 3, "dropped": 0, "examples": []}
    audit_of(trial)["leaks"] = [
        {**leak, "between": ["train", "test"], "action": "waive"},
        {**leak, "between": ["train", "validation"], "action": "waive", "count": 1},
        {**leak, "between": ["validation", "test"], "action": "drop"},
        {**leak, "between": ["train", "train"], "action": "keep"},
    ]
    leaks = found(trial)["leaks"]
    assert [q["severity"] for q in leaks] == ["serious"]
    assert leaks[0]["words"].startswith(
        "Exact duplicates in the data set were found and kept: 3 between train and test, 1 "
    )
    audit_of(trial)["leaks"] = [{**leak, "kind": "near-duplicate", "between": ["train", "test"], "action": "waive"}]
    assert [q["severity"] for q in found(trial)["leaks"]] == ["note"]


def test_near_duplicates_of_many_test_images_are_serious(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial().small()
    tested = audit_of(trial)["splits"]["test"]["count"]
    leak = {"kind": "near-duplicate", "between": ["train", "test"], "action": "waive", "dropped": 0, "examples": []}
    audit_of(trial)["leaks"] = [{**leak, "count": tested // 4, "images": tested // 4}]
    assert [q["severity"] for q in found(trial)["leaks"]] == ["serious"]


def test_a_finding_of_the_audit_is_serious_where_it_is_a_stop(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial().small()
    about = {"kind": "property", "about": "size", "against": "class", "strength": 0.9, "p_value": 1e-9}
    audit_of(trial)["findings"] = [
        {**about, "grade": "stop", "words": "Size tells the class."},
        {**about, "grade": "warn", "words": "Format tells the class."},
        {**about, "grade": "pass", "words": "Mode says nothing of the class."},
    ]
    assert [(q["severity"], q["words"]) for q in found(trial)["audit"]] == [
        ("serious", "Size tells the class."),
        ("note", "Format tells the class."),
    ]


def test_filters_are_held_against_random_selection(made_up_trial: Callable[..., Any]) -> None:
    def words_of(skill: float, **options: Any) -> tuple[str, str]:
        trial = made_up_trial(test_images=400, **options)
        real = trial.cell("real")
        primary = trial.cell("augment-100", "edm", skill=skill)
        random = trial.cell("augment-100", "edm-random", skill=2.5)
        trial.compare(primary, real, Role.ROLE_PRIMARY)
        trial.compare(random, real, Role.ROLE_CONTROL)
        trial.synthetic("edm")
        trial.synthetic("edm-random", control=True)
        del trial.request.synthetic[1].quality[:]
        (filters,) = found(trial)["filters"]
        return filters["severity"], filters["words"]

    assert words_of(5.0)[1].startswith("The filters earned their place")
    assert words_of(2.5)[1].startswith("The filters made no difference that matters")
    assert words_of(2.35, margin=0.003)[1].startswith("The filters were not told apart")
    severity, words = words_of(1.0)
    assert severity == "serious"
    assert words.startswith("The filters did worse than chance")


def test_a_class_shift_and_unnamed_patients_are_told(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial().small()
    test = {"chi_square": 1.0, "degrees_of_freedom": 1, "rates": {}}
    audit_of(trial)["shifts"] = [
        {**test, "between": ["train", "test"], "total_variation": 0.117, "p_value": 1e-9},
        {**test, "between": ["train", "validation"], "total_variation": 0.002, "p_value": 0.9},
    ]
    audit_of(trial)["splits"]["test"]["patients_known"] = False
    by_kind = found(trial)
    assert len(by_kind["shift"]) == 1
    assert "train and test" in by_kind["shift"][0]["words"]
    assert len(by_kind["patients"]) == 1


def test_a_second_look_says_what_changed(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial().small()
    trial.request.looks.add(number=2, evaluations=fake_key("two"), changed=["spec.arms[0]"])
    (look,) = found(trial)["look"]
    assert look["severity"] == "serious"
    assert "look 2" in look["words"]
    assert "spec.arms[0]" in look["words"]


def test_a_baseline_that_does_better_is_serious(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial(test_images=400)
    real = trial.cell("real", skill=2.0)
    primary = trial.cell("augment-100", "edm", skill=2.0)
    pca = trial.cell("augment-100", "pca", skill=4.0)
    trial.compare(primary, real, Role.ROLE_PRIMARY)
    trial.compare(pca, real, Role.ROLE_CONTROL)
    trial.synthetic("pca", method="pca", control=True)
    words = [q["words"] for q in found(trial)["baseline"] if q["severity"] == "serious"]
    assert any("did better" in sentence for sentence in words)
    assert any("improves where" in sentence for sentence in words)


def test_a_baseline_that_helps_as_much_is_serious_only_beside_an_improvement(
    made_up_trial: Callable[..., Any],
) -> None:
    def severities(skill: float) -> list[str]:
        trial = made_up_trial(test_images=400)
        real = trial.cell("real", skill=2.0)
        primary = trial.cell("augment-100", "edm", skill=skill)
        pca = trial.cell("augment-100", "pca", skill=skill)
        trial.compare(primary, real, Role.ROLE_PRIMARY)
        trial.compare(pca, real, Role.ROLE_CONTROL)
        trial.synthetic("pca", method="pca", control=True)
        return [q["severity"] for q in found(trial)["baseline"]]

    assert severities(4.0) == ["serious"]
    assert severities(2.0) == ["note"]


def test_a_baseline_is_said_to_do_as_well_only_where_that_was_shown(made_up_trial: Callable[..., Any]) -> None:
    def baseline(outcome: str, *, primary: str = "improves") -> tuple[str, str]:
        trial = made_up_trial(test_images=400)
        real = trial.cell("real")
        trial.compare(trial.cell("augment-100", "edm", skill=4.0), real, Role.ROLE_PRIMARY)
        trial.compare(trial.cell("augment-100", "pca", skill=4.0), real, Role.ROLE_CONTROL)
        trial.synthetic("pca", method="pca", control=True)
        data = read_trial(trial.request, context=trial.context())
        report = trial_findings(data)
        report["verdict"]["outcome"] = primary
        report["baseline"]["outcome"] = outcome
        keys = report["baseline"]["keys"]
        (held,) = [q for q in qualifications(data, report=report) if q["kind"] == "baseline" and q["keys"] == keys]
        return held["severity"], held["words"]

    severity, words = baseline("inconclusive")
    assert severity == "serious"
    assert words.startswith("The generator was not told apart from the baseline pca. That the improvement takes this ")
    assert "as well" not in words
    severity, words = baseline("equivalent")
    assert severity == "serious"
    assert words.startswith("The baseline pca did as well as the trial's generator, within the margin.")
    assert baseline("improves")[0] == "note"
    assert baseline("equivalent", primary="equivalent")[0] == "note"


def test_a_negative_control_that_improves_is_serious(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial(test_images=400).small()
    assert "control" not in found(trial)
    of_that_name = trial.cell("shuffled", "edm", skill=5.0)
    trial.compare(of_that_name, "real small-cnn", Role.ROLE_CONTROL)
    assert "control" not in found(trial)
    shuffled = trial.cell("augment-50-shuffled", "edm", skill=5.0)
    trial.compare(shuffled, "real small-cnn", Role.ROLE_CONTROL, shuffled_labels=True)
    assert [q["severity"] for q in found(trial)["control"]] == ["serious"]


def test_copies_are_told_with_their_fate(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial().small()
    trial.synthetic("edm", copies=3)
    trial.inputs[fake_key("filter edm"), "decisions"]["decisions.json"]["copies"]["count"] = 5
    words = [q["words"] for q in found(trial)["copies"]]
    assert words[0].startswith("3 of 60 accepted images of edm")
    assert words[1].startswith("5 of 60 candidates of edm")
    assert words[1].endswith("They were kept out.")


def test_missing_images_and_repeated_ones_are_told(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial().small()
    trial.synthetic("edm")
    trial.inputs[fake_key("assess edm"), "quality"]["quality.json"]["repeated"] = 4
    for replicate in trial.request.cells[1].replicates:
        trial.inputs[replicate.training.key, "training"]["training.json"]["phases"][0]["synthetic_missing"] = 7
    by_kind = found(trial)
    assert "Repeats of others to the pixel: 4 accepted images of edm" in by_kind["collapse"][0]["words"]
    assert "7 synthetic images fewer" in by_kind["missing"][0]["words"]


def test_cells_made_on_different_machines_are_told(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial().small()
    data = read_trial(trial.request, context=trial.context())
    report = trial_findings(data)
    first = data.cells["real small-cnn"].keys[0]
    moved = [
        Source(
            key=source.key,
            method=source.method,
            stage_version=source.stage_version,
            artifact_digest=source.artifact_digest,
            provenance={"processor": "other" if source.key == first else "usual", "threads": "1"},
        )
        for source in data.sources
    ]
    assert not [q for q in qualifications(data, report=report) if q["kind"] == "hardware"]
    object.__setattr__(data, "sources", tuple(moved))
    (hardware,) = [q for q in qualifications(data, report=report) if q["kind"] == "hardware"]
    assert "processor" in hardware["words"]
    assert first in hardware["keys"]


def test_what_the_user_chose_is_passed_on(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial().small()
    trial.request.qualifications.append("Negative controls were switched off.")
    assert [q["words"] for q in found(trial)["chosen"]] == ["Negative controls were switched off."]


def test_few_replicates_are_told(made_up_trial: Callable[..., Any]) -> None:
    assert [q["severity"] for q in found(made_up_trial().small(replicates=2))["replicates"]] == ["note"]
    assert "replicates" not in found(made_up_trial().small(replicates=3))


def test_what_a_chain_was_trained_with_is_told_with_what_was_left_out_and_what_was_kept(
    made_up_trial: Callable[..., Any],
) -> None:
    trial = made_up_trial().small()
    audit = as_json(trial.audit())
    leak = {"count": 2, "images": 3, "examples": []}
    tests = ["train", "the trial's test"]
    audit["source"] = "nih"
    audit["leaks"] = [
        {**leak, "kind": "exact-duplicate", "between": tests, "dropped": 3, "action": "drop"},
        {**leak, "kind": "shared-patient", "between": tests, "dropped": 0, "action": "waive"},
        {**leak, "kind": "exact-duplicate", "between": ["train", "test"], "dropped": 0, "action": "waive"},
    ]
    member = trial.put("nih", "audit", {"audit.json": audit})
    trial.request.pretraining.append(PretrainingSummary(classifier="chain", audit=member))
    by_kind = found(trial)
    (told,) = by_kind["pretraining"]
    assert told["severity"] == "note"
    assert told["words"] == (
        "chain starts from weights trained on nih (80 images), which was searched for this trial's validation and test "
        "images. Left out: of train, 3 images by exact duplicates with the trial's test."
    )
    (kept,) = by_kind["leaks"]
    assert kept["severity"] == "serious"
    assert kept["words"] == (
        "Shared patients in what chain was pretrained with were found and kept: 2 between train and the trial's test."
    )


def test_unlabelled_images_that_a_generator_saw_are_named_with_what_was_left_out_of_them(
    made_up_trial: Callable[..., Any],
) -> None:
    trial = made_up_trial().small()
    trial.synthetic("edm")
    audit = as_json(trial.audit())
    split = audit["splits"]["train"] | {"count": 500}
    leak = {"kind": "near-duplicate", "between": ["unlabelled", "the trial's test"], "action": "drop", "count": 4}
    audit |= {
        "source": "tiles",
        "classes": ["unlabelled"],
        "splits": {"unlabelled": split},
        "leaks": [leak | {"images": 4, "dropped": 4, "examples": []}],
    }
    summary = next(one for one in trial.request.synthetic if one.name == "edm")
    summary.unlabelled.append(PoolSummary(audit=trial.put("pool", "audit", {"audit.json": audit}), weight=2))
    (told,) = found(trial)["pretraining"]
    assert told["words"] == (
        "The generator of edm was trained on tiles besides, without labels (500 images), which was searched for this "
        "trial's validation and test images. Left out: 4 images by near duplicates with the trial's test. Classifiers "
        "of real images alone were not shown these images."
    )


def diversity(ratio: float, *, error: float = 0.05, floor: float = 0.85) -> dict[str, Any]:
    return {
        "sample_size": 100,
        "synthetic": 40 * ratio,
        "real": 40.0,
        "ratio": ratio,
        "interval_95": [ratio - error, ratio + error],
        "floor": floor,
    }


def test_a_collapsed_class_is_named_with_its_figures(made_up_trial: Callable[..., Any]) -> None:
    trial = made_up_trial().small()
    trial.synthetic("edm")
    quality = trial.inputs[fake_key("assess edm"), "quality"]["quality.json"]
    quality["diversity_by_class"] = {"normal": diversity(0.1), "pneumonia": diversity(0.97)}
    (collapse,) = found(trial)["collapse"]
    assert collapse["severity"] == "serious"
    assert "class 'normal' of edm has collapsed" in collapse["words"]
    assert "ratio is 0.10, 95% interval 0.05 to 0.15" in collapse["words"]


def test_a_class_of_little_diversity_is_a_note_and_one_within_the_floor_is_not(
    made_up_trial: Callable[..., Any],
) -> None:
    trial = made_up_trial().small()
    trial.synthetic("edm")
    quality = trial.inputs[fake_key("assess edm"), "quality"]["quality.json"]
    quality["diversity_by_class"] = {"normal": diversity(0.7), "pneumonia": diversity(0.7, floor=0.65)}
    (low,) = found(trial)["collapse"]
    assert low["severity"] == "note"
    assert "class 'normal' of edm is little diverse" in low["words"]
    quality["diversity_by_class"] = {"normal": diversity(0.9), "pneumonia": None}
    assert "collapse" not in found(trial)


@pytest.mark.parametrize(("images", "is_told"), [(2_048, True), (2_049, False)])
def test_a_fid_of_fewer_images_than_its_features_take_is_a_note(
    made_up_trial: Callable[..., Any], images: int, is_told: bool
) -> None:
    trial = made_up_trial().small()
    trial.synthetic("edm")
    quality = trial.inputs[fake_key("assess edm"), "quality"]["quality.json"]
    quality["inception"] = trial.inception(images)
    told = found(trial).get("fid", [])
    assert [one["severity"] for one in told] == ["note"] * is_told
    if is_told:
        assert "FID of edm is of 2,048 images of each kind, too few" in told[0]["words"]
        assert "real images show 80 of each other at this number" in told[0]["words"]


@pytest.mark.parametrize(("low", "is_told"), [(0.85, True), (0.75, False)])
def test_a_set_that_is_easily_told_from_real_images_is_a_note(
    made_up_trial: Callable[..., Any], low: float, is_told: bool
) -> None:
    trial = made_up_trial().small()
    trial.synthetic("edm")
    quality = trial.inputs[fake_key("assess edm"), "quality"]["quality.json"]
    quality["told_apart"] = {
        "sample_size": 40,
        "auroc": low + 0.05,
        "interval_95": [low, low + 0.1],
        "real": 0.49,
        "real_interval_95": [0.4, 0.58],
    }
    told = found(trial).get("told-apart", [])
    assert [one["severity"] for one in told] == ["note"] * is_told
    if is_told:
        assert "AUROC of 0.90, 95% interval 0.85 to 0.95, where it reaches 0.49 among real images" in told[0]["words"]
