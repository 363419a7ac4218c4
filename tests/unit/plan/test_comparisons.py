"""Plans of comparisons across cells: what is trained, what decides, and which controls run."""

from typing import Any

from syntrial.plan.steps import Plan
from syntrial.sources.named import sources_of
from syntrial.v1.analysis_pb2 import CellComparison
from tests.unit.experiment.test_endpoint import CNN, RESNET, SETS, VIT, experiment
from tests.unit.plan.deciding import plan_whole

ROLES = CellComparison.Role
EDM = SETS[0]


def planned(primary: dict[str, Any] | None = None, **spec: Any) -> Plan:
    item = experiment(primary, **spec)
    sources = {ref.name: ref.with_digest(f"sha256:{'0' * 64}") for ref in sources_of(item)}
    return plan_whole(item, sources)


def compared(found: Plan) -> list[tuple[str, str, str]]:
    return [(item.arm, item.control, ROLES.Name(item.role).removeprefix("ROLE_")) for item in found.comparisons]


def seeds(found: Plan) -> dict[str, int]:
    return {cell.name: len(cell.replicates) for cell in found.cells}


def test_without_synthetic_sets_nothing_is_generated_filtered_or_encoded() -> None:
    found = planned(classifiers=[CNN, RESNET])
    assert {step.method.split(".")[2].split("/")[0] for step in found.steps} == {
        "DataPreparationService",
        "ClassificationService",
        "AnalysisService",
    }
    assert compared(found) == [("real resnet18", "real small-cnn", "PRIMARY")]


def test_further_classifiers_are_compared_with_the_same_reference() -> None:
    found = planned(
        {"classifier": "resnet18", "against": {"classifier": "small-cnn"}},
        classifiers=[CNN, RESNET, VIT],
        replicates=4,
        exploratoryReplicates=2,
    )
    assert compared(found) == [
        ("real resnet18", "real small-cnn", "PRIMARY"),
        ("real vit", "real small-cnn", "EXPLORATORY"),
    ]
    assert seeds(found) == {"real small-cnn": 4, "real resnet18": 4, "real vit": 2}


def test_shares_of_the_images_are_compared_for_every_classifier() -> None:
    found = planned({"arm": "real-50"}, classifiers=[CNN, RESNET], arms=["real-50", "real-25"])
    assert compared(found) == [
        ("real-50 small-cnn", "real small-cnn", "PRIMARY"),
        ("real-25 small-cnn", "real small-cnn", "EXPLORATORY"),
        ("real-50 resnet18", "real resnet18", "EXPLORATORY"),
        ("real-25 resnet18", "real resnet18", "EXPLORATORY"),
    ]


def test_a_comparison_of_classifiers_runs_no_controls_of_the_images_unless_all_are_asked_for() -> None:
    primary = {"arm": "augment-100", "classifier": "resnet18", "against": {"classifier": "small-cnn"}}
    spec: dict[str, Any] = {"synthetic": [EDM], "classifiers": [CNN, RESNET]}
    assert not [name for name in seeds(planned(primary, **spec)) if "shuffled" in name or "pca" in name]
    assert [name for name in seeds(planned(primary, **spec, controls="all")) if "shuffled" in name]


def test_two_sets_are_compared_beside_their_controls() -> None:
    spec = {"synthetic": [EDM, {"name": "gan", "generator": {"gan": {}}}]}
    found = planned({"synthetic": "gan", "against": {"synthetic": "edm"}}, **spec)
    roles = compared(found)
    assert roles[0] == ("augment-100 gan small-cnn", "augment-100 edm small-cnn", "PRIMARY")
    assert ("augment-100 gan small-cnn", "real small-cnn", "EXPLORATORY") in roles
    assert ("augment-100-shuffled gan small-cnn", "real small-cnn", "CONTROL") in roles


def test_the_arms_own_control_named_as_the_other_side_changes_no_key_of_a_step() -> None:
    spec = {"synthetic": [EDM], "exploratoryReplicates": 2}
    usual, named = planned(**spec), planned({"arm": "augment-100", "against": {"arm": "real"}}, **spec)
    assert {step.key for step in usual.steps[:-1]} == {step.key for step in named.steps[:-1]}
    assert sorted(compared(usual)) == sorted(compared(named))
