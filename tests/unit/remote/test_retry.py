from syntrial.cluster.fake import MemoryCluster
from syntrial.remote.experiments import Remote
from syntrial.remote.retry import forgive_ingests, wait_until_taken_up


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
