from typing import Any

import pytest

from syntrial.cluster.fake import MemoryCluster
from syntrial.errors import ClusterRefused, UserError
from syntrial.remote import experiments
from syntrial.remote.experiments import Remote, apply, find, namespace_of, suspend

TREE: dict[str, Any] = {
    "apiVersion": "syntrial.dev/v1alpha1",
    "kind": "Experiment",
    "metadata": {"name": "pneumonia", "labels": {"team": "a"}},
    "spec": {"replicates": 5},
}


def test_the_nearest_name_is_named_where_there_is_no_such_experiment(cluster: MemoryCluster) -> None:
    cluster.put("Experiment", "pneumonia", spec={})
    with pytest.raises(UserError, match="Did you mean pneumonia"):
        find(cluster, "pneunomia", namespace="lab")


def test_an_empty_namespace_is_told_as_such(cluster: MemoryCluster) -> None:
    with pytest.raises(UserError, match="There are none in namespace lab"):
        find(cluster, "pneumonia", namespace="lab")


@pytest.mark.parametrize(
    "act", [lambda door: find(door, "x", namespace="lab"), lambda door: apply(door, TREE, namespace="lab")]
)
def test_a_cluster_without_syntrial_is_told_to_be_deployed(act: Any) -> None:
    with pytest.raises(UserError, match="make deploy"):
        act(MemoryCluster(namespace="lab", kinds=frozenset()))


def test_what_is_forbidden_is_told_as_the_api_server_says_it(cluster: MemoryCluster) -> None:
    cluster.forbidden.add(("get", "Experiment"))
    with pytest.raises(ClusterRefused, match="forbidden"):
        find(cluster, "pneumonia", namespace="lab")


def test_an_object_is_created_then_unchanged_then_configured(cluster: MemoryCluster) -> None:
    words = [apply(cluster, TREE, namespace="lab")[1] for _ in range(2)]
    words.append(apply(cluster, {**TREE, "spec": {"replicates": 7}}, namespace="lab")[1])
    assert words == ["created", "unchanged", "configured"]
    found = find(cluster, "pneumonia", namespace="lab")
    assert found.tree["metadata"]["labels"] == {"team": "a"}
    assert found.tree["spec"] == {"replicates": 7, "suspend": False}


def test_what_was_cancelled_goes_on_when_it_is_submitted_again(cluster: MemoryCluster) -> None:
    remote, _ = apply(cluster, TREE, namespace="lab")
    assert suspend(cluster, remote, value=True).is_suspended
    again, word = apply(cluster, TREE, namespace="lab")
    assert (again.is_suspended, word) == (False, "configured")


def test_switches_have_another_field_manager_than_the_submitter(cluster: MemoryCluster) -> None:
    """Server-side apply takes back what its manager no longer names: under one name, the rest of the spec."""
    remote, _ = apply(cluster, TREE, namespace="lab")
    suspend(cluster, remote, value=True)
    assert cluster.appliers == [experiments.SUBMITTER, experiments.SWITCH]
    assert experiments.SUBMITTER != experiments.SWITCH


def test_the_namespace_is_chosen_as_kubectl_chooses_it(cluster: MemoryCluster) -> None:
    own = {**TREE, "metadata": {"name": "a", "namespace": "theirs"}}
    assert namespace_of(TREE, door=cluster, asked=None) == "lab"
    assert namespace_of(own, door=cluster, asked=None) == "theirs"
    with pytest.raises(UserError, match="theirs in the file, --namespace lab"):
        namespace_of(own, door=cluster, asked="lab")


def remote(*conditions: tuple[str, str], generation: int = 1, **status: Any) -> Remote:
    listed = [{"type": kind, "status": value} for kind, value in conditions]
    tree = {
        "metadata": {"uid": "u", "generation": generation},
        "spec": {},
        "status": {"observedGeneration": 1, "conditions": listed, **status},
    }
    return Remote(name="a", namespace="lab", tree=tree)


@pytest.mark.parametrize(
    ("found", "over"),
    [
        (remote(("Succeeded", "True")), True),
        (remote(("Valid", "False")), True),
        (remote(("Progressing", "False"), ("Succeeded", "False")), True),
        (remote(("Progressing", "False"), ("Succeeded", "Unknown")), False),
        (remote(("Progressing", "True"), ("Succeeded", "Unknown")), False),
        (remote(("Succeeded", "True"), generation=2), False),
        (Remote(name="a", namespace="lab", tree={"metadata": {"uid": "u"}, "spec": {}}), False),
    ],
)
def test_a_trial_is_over_when_nothing_more_happens_by_itself(found: Remote, over: bool) -> None:
    assert found.status.is_over is over
