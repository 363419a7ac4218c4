"""The CustomResourceDefinition on a real API server: what it refuses, what it admits, what kubectl shows of it."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from syntrial.cluster.crd.definition import NAME
from syntrial.errors import ClusterRefused
from syntrial.experiment.file import validate
from tests.cluster.conftest import wait_until_established
from tests.contract.refusals import CASES, EDM, Case, experiment

if TYPE_CHECKING:
    from syntrial.cluster.client import Kubernetes

REPOSITORY = Path(__file__).resolve().parents[2]
FILES = sorted([*REPOSITORY.glob("examples/*.yaml"), *REPOSITORY.glob("k8s/samples/*.yaml")])
CRD = REPOSITORY / "k8s/crd/experiments.syntrial.dev.yaml"
MANAGER = "syntrial-controller"
Kubectl = Callable[..., CompletedProcess[str]]

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("crd")]


def slug(sentence: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", sentence.lower())[:50].strip("-")


def test_the_definition_is_accepted_and_established(cluster: "Kubernetes") -> None:
    found = cluster.get("CustomResourceDefinition", None, NAME)
    assert found is not None
    states = {condition["type"]: condition["status"] for condition in found["status"]["conditions"]}
    assert states["Established"] == states["NamesAccepted"] == "True"
    assert "NonStructuralSchema" not in states


@pytest.mark.parametrize("name", CASES)
def test_the_api_server_refuses_what_is_against_a_rule_and_admits_its_twin(
    cluster: "Kubernetes", namespace: str, name: str
) -> None:
    case: Case = CASES[name]
    bad = experiment(f"{slug(name)}-bad", case.bad)
    bad["metadata"]["namespace"] = namespace
    with pytest.raises(ClusterRefused) as caught:
        cluster.create(bad)
    assert caught.value.status == 422
    assert case.message + case.server in caught.value.message
    assert case.field in caught.value.message
    good = experiment(f"{slug(name)}-good", case.good)
    good["metadata"]["namespace"] = namespace
    assert cluster.create(good)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_examples_and_samples_are_admitted(kubectl: Kubectl, namespace: str, file: Path) -> None:
    assert "created" in kubectl("apply", "-n", namespace, "--dry-run=server", "-f", str(file)).stdout


def test_an_object_keeps_what_its_user_wrote_and_no_defaults(cluster: "Kubernetes", namespace: str) -> None:
    written = experiment("plain", {"arms": ["augment-50", {"name": "mine", "phases": [{"real": 1, "synthetic": 2}]}]})
    written["metadata"]["namespace"] = namespace
    cluster.create(written)
    found = cluster.get("Experiment", namespace, "plain")
    assert found is not None
    assert found["spec"] == written["spec"]


def test_every_field_may_change(cluster: "Kubernetes", namespace: str) -> None:
    first = experiment("changing", {})
    first["metadata"]["namespace"] = namespace
    cluster.create(first)
    other = {"dataset": {"medmnist": "breastmnist"}, "synthetic": [{"name": "g", "generator": {"gan": {}}}], "seed": 2}
    cluster.patch(
        "Experiment", namespace, "changing", {"spec": {**other, "dataset": {"phantom": None, **other["dataset"]}}}
    )
    found = cluster.get("Experiment", namespace, "changing")
    assert found is not None
    assert found["spec"] == {**other, "suspend": True}
    assert found["metadata"]["generation"] == 2


@pytest.mark.parametrize(
    ("where", "fields"),
    [
        ("spec.colour", {"colour": 1}),
        (
            "spec.synthetic[0].generator.diffusion.presets",
            {"synthetic": [{"name": "x", "generator": {"diffusion": {"presets": "x"}}}]},
        ),
        ("spec.arms[0].phases[0].reel", {"arms": [{"name": "x", "phases": [{"real": 1, "reel": 1}]}]}),
        ("spec.cluster.resource", {"cluster": {"resource": {}}}),
    ],
)
def test_kubectl_apply_refuses_an_unknown_field(
    kubectl: Kubectl, namespace: str, where: str, fields: dict[str, Any]
) -> None:
    done = kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(experiment("unknown", fields)), check=False)
    assert done.returncode != 0
    assert f'unknown field "{where}"' in done.stderr


def test_a_client_that_asks_for_no_strictness_has_unknown_fields_pruned_but_in_an_arm(
    kubectl: Kubectl, cluster: "Kubernetes", namespace: str
) -> None:
    arm = {"name": "x", "phases": [{"synthetic": 1}], "colour": 2}
    written = json.dumps(experiment("pruned", {"colour": 1, "arms": [arm]}))
    kubectl("create", "-n", namespace, "--validate=false", "-f", "-", stdin=written)
    found = cluster.get("Experiment", namespace, "pruned")
    assert found is not None
    assert "colour" not in found["spec"]
    assert found["spec"]["arms"][0]["colour"] == 2


def test_a_long_name_and_one_with_a_dot_are_refused(kubectl: Kubectl, namespace: str) -> None:
    for name in ("a.b", "a" * 64):
        done = kubectl("create", "-n", namespace, "-f", "-", stdin=json.dumps(experiment(name, {})), check=False)
        assert "metadata.name" in done.stderr


def explained(kubectl: Kubectl, field: str, expected: str, *options: str) -> bool:
    """Whether `kubectl explain` says so; the API server publishes a changed definition some seconds late."""
    for _ in range(30):
        done = kubectl("explain", field, *options, check=False)
        if expected in " ".join(done.stdout.split()):
            return True
        time.sleep(1)
    return False


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (
            "experiment.spec",
            "A trial: real data, synthetic sets or none, arms, classifiers that each arm trains, and what decides.",
        ),
        ("experiment.spec", "Ways to train a classifier, each compared with the control `real`, which always runs."),
        (
            "experiment.spec",
            "or an object with a name and phases. Without synthetic sets none but `real`. Default: augment-100.",
        ),
        ("exp.spec.synthetic.generator.gan", "Weight of the R1 and R2 penalties. Default: as the preset has it."),
        ("exp.spec.arms.phases", "Share of the real training images in the pool. Default: 0."),
        ("exp.spec.cluster.stages.generation", "Size of /dev/shm, in memory, for example 1Gi."),
        ("exp.status.conditions", "Valid (the spec can be run), Audited"),
    ],
)
def test_explain_reads_like_documentation(kubectl: Kubectl, field: str, expected: str) -> None:
    assert explained(kubectl, field, expected)


def test_explain_shows_every_field_of_the_model(kubectl: Kubectl) -> None:
    assert explained(kubectl, "experiment", "secondsLeft <number>", "--recursive")
    assert explained(kubectl, "experiment", "outOfMemoryLimit", "--recursive")


def status(**fields: Any) -> dict[str, Any]:
    now = "2026-01-02T03:04:05Z"
    conditions = [
        {
            "type": kind,
            "status": "True",
            "reason": "AsExpected",
            "message": "",
            "lastTransitionTime": now,
            "observedGeneration": 1,
        }
        for kind in ("Valid", "Audited", "Progressing", "Succeeded")
    ]
    whole = {
        "observedGeneration": 1,
        "conditions": conditions,
        "steps": {"total": 40, "done": 12, "running": 3, "failed": 1, "waiting": 24},
        "progress": "12/40",
        "stages": [{"name": "generation", "total": 4, "done": 1, "running": 3, "failed": 0}],
        "secondsLeft": 320,
        "pending": [{"reason": "Unschedulable", "message": "0/1 nodes are available", "count": 2}],
        "failures": [{"label": "train edm", "key": "ab" * 32, "reason": "OutOfMemory", "message": "killed"}],
        "verdict": {
            "decision": "improves",
            "effect": 0.0123,
            "low": 0.001,
            "high": 0.0236,
            "metric": "auroc",
            "words": "It helps.",
        },
        "endpoint": "auroc, augment-100 with edm, small-cnn",
        "report": {"address": "s3://bucket/prefix/report.html", "key": "cd" * 32},
        "startTime": now,
        "completionTime": now,
    }
    return whole | fields


def with_status(cluster: "Kubernetes", namespace: str, name: str, fields: dict[str, Any]) -> dict[str, Any]:
    made = experiment(name, {"synthetic": [EDM]})
    made["metadata"]["namespace"] = namespace
    cluster.create(made)
    found = {key: made[key] for key in ("apiVersion", "kind", "metadata")} | {"status": status(**fields)}
    return dict(cluster.patch_status(found, field_manager=MANAGER))


def test_the_status_is_kept_whole_apart_from_the_spec(cluster: "Kubernetes", namespace: str) -> None:
    found = with_status(cluster, namespace, "whole", {})
    assert found["status"] == status()
    assert found["metadata"]["generation"] == 1


def test_a_status_without_what_is_not_known_yet_is_admitted(cluster: "Kubernetes", namespace: str) -> None:
    absent = ("steps", "stages", "secondsLeft", "verdict", "report", "completionTime", "progress")
    found = with_status(cluster, namespace, "early", {})
    bare = {key: value for key, value in status().items() if key not in absent}
    again = {key: found[key] for key in ("apiVersion", "kind")} | {"status": bare}
    again["metadata"] = {"name": "early", "namespace": namespace}
    assert cluster.patch_status(again, field_manager=MANAGER)["status"] == bare


def test_get_shows_verdict_and_progress_and_more_when_wide(
    kubectl: Kubectl, cluster: "Kubernetes", namespace: str
) -> None:
    with_status(cluster, namespace, "shown", {})
    head, row = kubectl("get", "-n", namespace, "exp", "shown").stdout.splitlines()
    assert head.split() == ["NAME", "VERDICT", "PROGRESS", "RUNNING", "AGE"]
    assert row.split()[:4] == ["shown", "improves", "12/40", "3"]
    head, row = kubectl("get", "-n", namespace, "experiments", "shown", "-o", "wide").stdout.splitlines()
    assert head.split() == ["NAME", "VERDICT", "PROGRESS", "RUNNING", "ENDPOINT", "EFFECT", "AGE"]
    assert "auroc, augment-100 with edm, small-cnn" in row
    assert "0.0123" in row
    assert "experiment.syntrial.dev/shown" in kubectl("get", "-n", namespace, "syntrial", "-o", "name").stdout


def test_kubectl_applies_a_second_time_and_a_change(kubectl: Kubectl, namespace: str, tmp_path: Path) -> None:
    file = tmp_path / "experiment.yaml"
    file.write_text(yaml.safe_dump(experiment("applied", {"arms": ["augment-50"]})))
    assert "created" in kubectl("apply", "-n", namespace, "-f", str(file)).stdout
    assert "unchanged" in kubectl("apply", "-n", namespace, "-f", str(file)).stdout
    file.write_text(yaml.safe_dump(experiment("applied", {"synthetic": [{"name": "edm", "generator": {"gan": {}}}]})))
    assert "configured" in kubectl("apply", "-n", namespace, "-f", str(file)).stdout
    found = json.loads(kubectl("get", "-n", namespace, "exp", "applied", "-o", "json").stdout)
    assert found["spec"]["synthetic"] == [{"name": "edm", "generator": {"gan": {}}}]
    assert "arms" not in found["spec"]


def test_what_was_admitted_before_a_rule_came_still_gets_a_status(cluster: "Kubernetes", kubectl: Kubectl) -> None:
    # A definition of a group of its own, first without the rules on the whole specification, then with them.
    tree = yaml.safe_load(CRD.read_text())
    group = "rules-come-later.syntrial.dev"
    tree["metadata"]["name"] = f"experiments.{group}"
    tree["spec"]["group"] = group
    tree["spec"]["names"] = {"plural": "experiments", "singular": "experiment", "kind": "Experiment"}
    spec = tree["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    rules = spec.pop("x-kubernetes-validations")
    made = {**experiment("large", CASES["more steps than any setting allows"].bad), "apiVersion": f"{group}/v1alpha1"}
    written = {**made, "status": status()}
    options = ("--subresource=status", "--server-side", "--field-manager=x", "-f", "-")
    try:
        kubectl("apply", "-f", "-", stdin=json.dumps(tree))
        wait_until_established(cluster, tree["metadata"]["name"])
        kubectl("create", "-f", "-", stdin=json.dumps(made))
        spec["x-kubernetes-validations"] = rules
        kubectl("apply", "-f", "-", stdin=json.dumps(tree))
        other = {**made, "metadata": {"name": "other"}}
        for _ in range(30):
            done = kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(other), check=False)
            if "a trial has at most 25000 steps" in done.stderr:
                break
            time.sleep(1)
        assert "a trial has at most 25000 steps" in done.stderr
        assert "serverside-applied" in kubectl("apply", *options, stdin=json.dumps(written)).stdout
    finally:
        kubectl("delete", "crd", tree["metadata"]["name"], "--ignore-not-found")


def test_the_largest_experiment_is_within_what_rules_may_cost(cluster: "Kubernetes", namespace: str) -> None:
    arms = [*(f"augment-{number}" for number in range(1, 64)), "finetune"]
    sets = [
        {
            "name": f"set-{number:02d}-{'x' * 56}",
            "generator": {"diffusion": {"channels": [64] * 8}},
            "filters": [{"centroid": {"keep": 0.5}}] * 16,
            "arms": arms,
        }
        for number in range(64)
    ]
    rates = [f"stages.{number}.learningRate" for number in range(16)]
    tune = {
        "over": {name: {"range": [0.1, 1], "log": True} for name in rates},
        "trials": 2,
        "replicates": 1,
    }
    classifiers = [
        {
            "model": f"m{number}{'x' * 250}",
            "name": f"c{number:02d}{'x' * 60}",
            "pretraining": f"s3://{'d/' * 1000}w{number}",
            "stages": [{}] * 16,
            "tune": tune,
        }
        for number in range(64)
    ]
    amounts = {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "1Gi", "a.b/c": 1, "a.b/d": 1, "a.b/e": 1}
    placement = {
        "resources": {"requests": amounts, "limits": amounts},
        "tolerations": [{"key": f"a.b/{'x' * 60}", "operator": "Exists"}] * 64,
    }
    stages = ("dataPrep", "generation", "filtering", "classification", "analysis")
    primary = {"arm": "finetune", "synthetic": sets[-1]["name"], "classifier": classifiers[-1]["name"]}
    largest = experiment(
        "largest",
        {
            "replicates": 3,
            "synthetic": sets,
            "arms": arms,
            "classifiers": classifiers,
            "endpoint": {"primary": primary},
            "cluster": placement | {"stages": dict.fromkeys(stages, placement)},
        },
    )
    validate(largest)
    largest["metadata"]["namespace"] = namespace
    assert cluster.create(largest)
