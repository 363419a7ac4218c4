from syntrial.artifacts.store import ArtifactStore
from syntrial.cluster.fake import MemoryCluster
from syntrial.remote.experiments import Remote
from syntrial.remote.retry import forgive_ingests, forgive_steps, wait_until_taken_up
from syntrial.rpc.testing import fake_key
from tests.unit.trial_records import UID, file_plan

LABELS = ["filter edm", "train gan", "train pca", "sample pca"]


def attempt(store: ArtifactStore, label: str, outcome: str, *, reason: str = "", experiment: str = UID) -> None:
    entry = {"outcome": outcome, "reason": reason, "message": "", "log": ""}
    store.add_attempt(fake_key(label), entry, experiment=experiment)


def test_only_unfinished_steps_that_failed_are_forgiven(finished: ArtifactStore) -> None:
    file_plan(finished, LABELS)
    attempt(finished, "filter edm", "failed")  # it is done by now
    attempt(finished, "train gan", "failed", reason="UserError")
    attempt(finished, "train pca", "cancelled")
    assert forgive_steps(finished, uid=UID) == ["train gan"]
    last = finished.attempts(fake_key("train gan"), experiment=UID)[-1].entry
    assert last["outcome"] == "retry"


def test_a_failure_before_an_interruption_is_forgiven_too(finished: ArtifactStore) -> None:
    file_plan(finished, LABELS)
    attempt(finished, "train gan", "failed", reason="OutOfMemory")
    attempt(finished, "train gan", "cancelled")
    assert forgive_steps(finished, uid=UID) == ["train gan"]


def test_what_is_forgiven_is_not_forgiven_again(finished: ArtifactStore) -> None:
    file_plan(finished, LABELS)
    attempt(finished, "train gan", "failed")
    assert forgive_steps(finished, uid=UID) == ["train gan"]
    assert forgive_steps(finished, uid=UID) == []
    attempt(finished, "train gan", "failed")
    assert forgive_steps(finished, uid=UID) == ["train gan"]


def test_failures_in_another_experiment_are_left_alone(finished: ArtifactStore) -> None:
    file_plan(finished, LABELS)
    attempt(finished, "train gan", "failed", experiment="other")
    assert forgive_steps(finished, uid=UID) == []


def test_failed_jobs_of_sources_go_and_others_stay(cluster: MemoryCluster) -> None:
    remote = Remote(name="a", namespace="lab", tree={"metadata": {"uid": "u"}, "spec": {}})
    failed = {"conditions": [{"type": "Failed", "status": "True"}]}
    labels = {"syntrial.dev/experiment-uid": "u", "app.kubernetes.io/component": "ingest"}
    cluster.put("Job", "failed", metadata={"labels": labels}, status=failed)
    cluster.put("Job", "running", metadata={"labels": labels}, status={})
    cluster.put(
        "Job", "step", metadata={"labels": labels | {"app.kubernetes.io/component": "generation"}}, status=failed
    )
    cluster.put("Job", "theirs", metadata={"labels": labels | {"syntrial.dev/experiment-uid": "v"}}, status=failed)
    assert forgive_ingests(cluster, remote) == ["failed"]
    assert sorted(job["metadata"]["name"] for job in cluster.list("Job")) == ["running", "step", "theirs"]


def test_a_controller_that_does_not_answer_is_not_waited_for_long(cluster: MemoryCluster) -> None:
    gone = [{"type": "Progressing", "status": "False"}, {"type": "Succeeded", "status": "False"}]
    tree = cluster.put("Experiment", "a", spec={}, status={"conditions": gone})
    remote = Remote(name="a", namespace="lab", tree=tree)
    assert not wait_until_taken_up(cluster, remote, patience=0.01)
    tree["status"] = {"conditions": [{"type": "Progressing", "status": "True"}]}
    assert wait_until_taken_up(cluster, remote, patience=0.01)
