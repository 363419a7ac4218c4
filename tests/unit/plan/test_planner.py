"""Plans: pure, quick, and with keys that change with meaning alone."""

import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from syntrial.artifacts.references import member_refs
from syntrial.errors import UserError
from syntrial.experiment.file import to_yaml, validate
from syntrial.experiment.model import Experiment
from syntrial.plan.planner import plan
from syntrial.plan.steps import Plan
from syntrial.sources.named import science_of, sources_of
from syntrial.sources.resolve import resolve_sources
from syntrial.v1.analysis_pb2 import CellComparison, Look
from tests.unit.plan.deciding import plan_whole

TREE: dict[str, Any] = {
    "apiVersion": "syntrial.dev/v1alpha1",
    "kind": "Experiment",
    "metadata": {"name": "x"},
    "spec": {
        "dataset": {"medmnist": "pneumoniamnist"},
        "synthetic": [
            {
                "name": "edm",
                "generator": {"diffusion": {"preset": "nano"}},
                "filters": [{"centroid": {"keep": 0.8}}],
                "arms": ["augment-100", "augment-50", "synthetic", "finetune"],
            },
            {"name": "gan", "generator": {"gan": {"preset": "nano"}}, "arms": ["augment-100"]},
        ],
        "replicates": 5,
        "exploratoryReplicates": 2,
    },
}


def experiment(**changes: Any) -> Experiment:
    """The experiment with fields of its specification replaced; `a__0__b` is a path."""
    tree = yaml.safe_load(yaml.safe_dump(TREE))
    for path, value in changes.items():
        *parents, last = [int(part) if part.isdigit() else part for part in path.split("__")]
        node = tree["spec"]
        for part in parents:
            node = node[part]
        node[last] = value
    return validate(tree)


def planned(**changes: Any) -> Plan:
    item = experiment(**changes)
    return plan(item, resolve_sources(item, base=Path()).by_name)


def keys(found: Plan) -> set[str]:
    return {step.key for step in found.steps}


def labels(found: Plan) -> set[str]:
    return {step.label for step in found.steps}


def test_the_same_experiment_gives_the_same_plan() -> None:
    assert planned() == planned()


def test_inputs_come_before_what_reads_them_and_no_key_stands_twice() -> None:
    seen: dict[str, str] = {}
    for step in planned().steps:
        assert set(step.after) <= seen.keys()
        assert step.key not in seen
        read = {ref.key for ref in member_refs(step.request)}
        assert read <= set(step.after)
        # A control waits besides until it is decided that no more candidates are drawn.
        waits_for = [seen[key].rpartition("/")[2] for key in step.after if key not in read]
        assert waits_for == (["FilterImages"] if step.label.endswith("-random") and "filter" in step.label else [])
        seen[step.key] = step.method


def test_generators_encoders_and_filters_are_given_the_training_split_alone() -> None:
    for step in planned().training:
        if "Generation" in step.method or "Filtering" in step.method:
            assert {ref.member for ref in member_refs(step.request)}.isdisjoint({"validation", "test"})


def test_only_evaluations_and_imports_are_given_the_test_split() -> None:
    found = planned()
    for step in found.training:
        assert "test" not in {ref.member for ref in member_refs(step.request)}
    assert all("test" in {ref.member for ref in member_refs(step.request)} for step in found.evaluation)


def test_the_study_has_its_arms_controls_and_replicates() -> None:
    counts = {cell.name: len(cell.replicates) for cell in planned().cells}
    assert counts == {
        "real small-cnn": 5,
        "augment-100 edm small-cnn": 5,
        "augment-50 edm small-cnn": 2,
        "synthetic edm small-cnn": 2,
        "finetune edm small-cnn": 2,
        "real-twice small-cnn": 2,
        "augment-100-shuffled edm small-cnn": 2,
        "augment-100 gan small-cnn": 2,
        "augment-100 pca-baseline small-cnn": 2,
        "synthetic pca-baseline small-cnn": 2,
        "augment-100 edm-random small-cnn": 2,
    }


def test_one_comparison_is_primary_and_finetuning_is_compared_with_real_images_twice() -> None:
    comparisons = planned().comparisons
    primary = [item for item in comparisons if item.role == CellComparison.ROLE_PRIMARY]
    assert [(item.arm, item.control) for item in primary] == [("augment-100 edm small-cnn", "real small-cnn")]
    finetune = next(item for item in comparisons if item.arm.startswith("finetune"))
    assert finetune.control == "real-twice small-cnn"


def own(name: str, *phases: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"name": name, "phases": list(phases), **fields}


TWO_PHASES = ({"synthetic": 1, "steps": 30}, {"real": 1, "steps": 70, "learningRate": 1e-4})


def planned_with(*arms: Any, **changes: Any) -> Plan:
    own_arms = [item["name"] for item in arms]
    return planned(
        arms=[*arms],
        synthetic__0__arms=own_arms,
        synthetic__1__arms=own_arms[:1],
        controls="none",
        endpoint={},
        **changes,
    )


def controls_of(*arms: Any, **changes: Any) -> dict[str, str]:
    found = planned_with(*arms, **changes)
    return {item.arm: item.control for item in found.comparisons if " edm " in item.arm}


def test_an_own_arm_is_compared_with_real_images_under_its_own_phases() -> None:
    assert controls_of(own("mine", *TWO_PHASES), own("other", {"real": 0.5, "synthetic": 1})) == {
        "mine edm small-cnn": "real-as-mine small-cnn",
        "other edm small-cnn": "real small-cnn",
    }
    found = planned_with(own("mine", *TWO_PHASES))
    cells = {cell.name: cell for cell in found.cells}
    steps = {step.key: step.request for step in found.training}
    lengths = {
        name: [(phase.steps, phase.learning_rate) for phase in steps[cell.replicates[0].training.key].phases]
        for name, cell in cells.items()
    }
    assert lengths["mine edm small-cnn"] == lengths["real-as-mine small-cnn"]
    assert len(cells["real-as-mine small-cnn"].replicates) == len(cells["mine edm small-cnn"].replicates) == 5


def test_arms_of_equal_phases_share_a_control_and_an_arm_may_name_another() -> None:
    again = [{**phase, "synthetic": 0.5} for phase in TWO_PHASES]
    assert controls_of(
        own("mine", *TWO_PHASES), own("less", *again), own("plain", *TWO_PHASES, control="real-twice")
    ) == {
        "mine edm small-cnn": "real-as-mine small-cnn",
        "less edm small-cnn": "real-as-mine small-cnn",
        "plain edm small-cnn": "real-twice small-cnn",
    }


def test_a_matched_control_has_as_many_steps_under_a_budget_in_epochs() -> None:
    budget = {"epochs": 2}
    assert controls_of(own("mine", {"real": 1, "synthetic": 1}), budget=budget) == {
        "mine edm small-cnn": "real-as-mine small-cnn"
    }
    found = planned_with(own("mine", {"real": 1, "synthetic": 1}), budget=budget)
    requests = {step.label: step.request for step in found.training if step.label.startswith("train real-as-mine")}
    assert [[phase.epochs for phase in request.phases] for request in requests.values()] == [[4.0]] * 5
    assert controls_of(own("mine", {"real": 0.7, "synthetic": 0.3}), budget=budget) == {
        "mine edm small-cnn": "real small-cnn"
    }


def test_replicates_of_all_arms_are_paired_by_seed() -> None:
    for cell in planned().cells:
        assert [replicate.seed for replicate in cell.replicates] == list(range(len(cell.replicates)))


def test_generators_are_repeated_on_request() -> None:
    found = planned(synthetic__0__replicates=3)
    cell = next(cell for cell in found.cells if cell.name == "augment-100 edm small-cnn")
    assert sorted({replicate.generator for replicate in cell.replicates}) == [0, 1, 2]
    assert len({replicate.predictions.key for replicate in cell.replicates}) == 15


# A change of the specification, and which steps it may touch: the first word of their labels.
EVERYTHING = {"prepare", "train", "sample", "filter", "assess", "evaluate"}
CHANGES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "another size": ({"dataset__size": 32}, EVERYTHING),
    "another threshold of a filter": (
        {"synthetic__0__filters": [{"centroid": {"keep": 0.7}}], "synthetic__0__oversample": 1.5},
        {"sample", "filter", "assess", "train", "evaluate"},
    ),
    "another seed of a generator": ({"synthetic__0__seed": 1}, {"sample", "filter", "assess", "train", "evaluate"}),
    "another length of training": ({"budget": {"steps": 100}}, {"train", "evaluate"}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_touches_what_depends_on_it_and_nothing_else(name: str) -> None:
    changes, touched = CHANGES[name]
    before, after = planned(), planned(**changes)
    new = [step for step in after.steps if step.key not in keys(before)]
    assert new
    assert {step.label.split()[0] for step in new} <= touched


def test_a_threshold_changed_within_the_same_candidates_leaves_generation_alone() -> None:
    before = planned(synthetic__0__oversample=1.5)
    after = planned(synthetic__0__oversample=1.5, synthetic__0__filters=[{"centroid": {"keep": 0.7}}])
    new = {step.label for step in after.steps if step.key not in keys(before)}
    assert not any(label.startswith(("sample", "train diffusion", "train gan", "prepare")) for label in new)
    assert "filter edm" in new


SAME: dict[str, dict[str, Any]] = {
    "a default spelt out": {"dataset__colorMode": "source"},
    "a preset spelt out": {"synthetic__1__generator": {"gan": {}}},
    "a number in another form": {"synthetic__0__filters": [{"centroid": {"keep": 8e-1}}]},
    "another smallest effect": {"endpoint": {"smallestEffect": 0.05}},
}


@pytest.mark.parametrize("name", SAME)
def test_what_means_the_same_has_the_same_keys(name: str) -> None:
    assert keys(planned(**SAME[name])) == keys(planned())


def test_names_never_enter_the_keys_of_computations() -> None:
    before, after = planned(), planned(synthetic__1__name="other")
    assert keys(before) == keys(after)
    assert labels(before) != labels(after)


def test_the_report_is_planned_once_the_looks_are_known() -> None:
    item = experiment()
    sources = resolve_sources(item, base=Path()).by_name
    assert not plan(item, sources).report
    (first,) = plan_whole(item, sources).report
    looks = [Look(number=1, evaluations="b"), Look(number=2, evaluations="a")]
    (second,) = plan_whole(item, sources, looks=looks).report
    assert first.key != second.key


def test_a_thousand_steps_are_planned_in_under_a_second() -> None:
    planned()
    start = time.process_time()
    found = planned(replicates=60, exploratoryReplicates=60, arms=["augment-100"], classifiers=[{"model": "small-cnn"}])
    assert len(found.steps) >= 1000
    assert time.process_time() - start < 1.0


def test_an_unknown_preset_is_told_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nano"):
        planned(synthetic__0__generator={"diffusion": {"preset": "nanno"}})


def test_more_devices_than_a_batch_has_images_are_refused_before_anything_runs() -> None:
    small = {"name": "edm", "generator": {"diffusion": {"preset": "nano", "batchSize": 3}}}
    planned(synthetic__0=small, resources={"devices": 3})
    words = (
        r"spec\.resources\.devices: each device has an image or more of a batch; received 4, with 3 images in a batch "
        r"of: train diffusion edm"
    )
    with pytest.raises(UserError, match=words):
        planned(synthetic__0=small, resources={"devices": 4})


def test_where_and_when_a_trial_runs_is_in_no_key_not_even_the_reports() -> None:
    item = experiment()
    cluster = {"queueName": "gpus", "resources": {"limits": {"nvidia.com/gpu": 1}}}
    resources = {"devices": 4, "devicesPerPod": 2}
    elsewhere = experiment(cluster=cluster, suspend=True, retention="retain", resources=resources)

    def all_keys(chosen: Experiment) -> list[str]:
        return [step.key for step in plan_whole(chosen, resolve_sources(chosen, base=Path()).by_name).steps]

    assert all_keys(item) == all_keys(elsewhere)


def test_where_the_same_content_lies_is_in_no_key_not_even_the_reports() -> None:
    weights = {"model": "small-cnn", "name": "ours", "pretraining": "here/w.safetensors"}
    made = {"name": "made", "images": {"npz": "made.npz"}}
    here = experiment(dataset={"folder": "images", "size": 16}, synthetic=[made], classifiers=[weights])
    there = experiment(
        dataset={"folder": "s3://lab/images", "size": 16, "secret": "lab"},
        synthetic=[made | {"images": {"npz": "s3://lab/made.npz", "secret": "lab"}}],
        classifiers=[weights | {"pretraining": "claim://weights/w.safetensors"}],
    )
    found = []
    for chosen in (here, there):
        sources = {ref.name: ref.with_digest(f"sha256:{number:064x}") for number, ref in enumerate(sources_of(chosen))}
        found.append([step.key for step in plan_whole(chosen, sources).steps])
        # What a report gives is an experiment that can be run where the store has the content.
        validate(yaml.safe_load(to_yaml(science_of(chosen, sources))))
    assert found[0] == found[1]


PROBE: dict[str, Any] = {"model": "small-cnn", "name": "probe", "pretraining": "w.safetensors", "probe": {}}


def probing(**fields: Any) -> Plan:
    item = experiment(classifiers=[{**PROBE, **fields}])
    sources = {ref.name: ref.with_digest(f"sha256:{'0' * 64}") for ref in sources_of(item)}
    return plan(item, sources)


def methods(found: Plan, name: str) -> list[Any]:
    return [step.request for step in found.steps if step.method.endswith(f"/{name}")]


def test_features_are_extracted_once_for_all_arms_and_replicates_of_a_probe() -> None:
    found = probing()
    extracted = [step.about for step in found.steps if step.method.endswith("/ExtractFeatures")]
    sets = ("edm", "gan", "pca-baseline", "edm-random")
    assert sorted(extracted) == sorted(
        f"features of {name} for probe" for name in ("train", "validation", "test", *sets)
    )
    assert len(methods(found, "TrainClassifier")) > len(extracted)


def test_no_training_of_a_probe_is_given_features_of_the_test_split() -> None:
    found = probing()
    (test,) = {request.features.key for request in methods(found, "EvaluateClassifier")}
    trainings = methods(found, "TrainClassifier")
    assert all(request.HasField("probe") for request in trainings)
    assert not any(ref.key == test for request in trainings for ref in member_refs(request))


def test_fits_of_a_probe_have_neither_steps_nor_a_recipe_of_steps() -> None:
    (training, *_) = methods(probing(recipe={"selectBy": "auroc"}), "TrainClassifier")
    assert training.recipe.ByteSize() == type(training.recipe)(select_by="SELECTION_AUROC").ByteSize()
    assert not any(phase.learning_rate or phase.WhichOneof("length") for phase in training.phases)


def test_pixels_are_scaled_as_published_weights_were_and_else_by_the_training_images() -> None:
    assert all(request.HasField("train") for request in methods(probing(), "ExtractFeatures"))
    by_constants = probing(recipe={"normalisation": "imagenet"})
    assert not any(request.HasField("train") for request in methods(by_constants, "ExtractFeatures"))
    published = probing(pretraining="hub://timm/resnet18.a1_in1k", model="resnet18")
    assert not any(request.HasField("train") for request in methods(published, "ExtractFeatures"))


def test_strengths_of_a_probe_leave_its_features_alone() -> None:
    first, second = probing(), probing(probe={"l2": [0.5]})
    assert {step.key for step in first.steps if step.method.endswith("/ExtractFeatures")} <= keys(second)
    assert not {step.key for step in first.steps if step.method.endswith("/TrainClassifier")} & keys(second)
