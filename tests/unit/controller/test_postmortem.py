from dataclasses import replace

import pytest

from syntrial.controller.postmortem import postmortem
from syntrial.controller.views import JobView, PodView, job_view, pod_view
from tests.unit.controller.test_reconcile import job, running_pod


def ended(job_reason: str = "") -> JobView:
    return replace(job("a", ended="failed"), reason=job_reason)


def pod(code: int | None, reason: str = "Error") -> PodView:
    return replace(running_pod(), phase="Failed", exit_code=code, ended=reason)


@pytest.mark.parametrize(
    ("view", "pods", "log", "outcome", "reason"),
    [
        (ended(), [pod(137, "OOMKilled")], "", "failed", "OutOfMemory"),
        (ended(), [pod(137)], "", "failed", "Crashed"),
        (ended(), [pod(139)], "", "failed", "Crashed"),
        (ended(), [pod(143, "DeadlineExceeded")], "", "failed", "DeadlineExceeded"),
        (ended("DeadlineExceeded"), [], "", "failed", "DeadlineExceeded"),
        (ended(), [pod(143)], "", "cancelled", "JobDied"),
        (ended(), [pod(None, "Evicted")], "", "cancelled", "PodLost"),
        (ended(), [], "", "cancelled", "PodLost"),
        (ended(), [pod(137, "OOMKilled"), pod(3)], "", "failed", "OutOfMemory"),
        (ended(), [pod(137), pod(143)], "", "failed", "Crashed"),
        (ended(), [pod(3)], "", "cancelled", "PodLost"),
        (ended("PodFailurePolicy"), [pod(2)], "store not opened", "failed", "UserError"),
        (ended(), [pod(1)], "http://x did not answer as an S3 server does", "failed", "StoreUnavailable"),
        (ended(), [pod(1)], "step not started: no such request", "failed", "NotRecorded"),
    ],
)
def test_how_a_pod_ended_says_whether_the_step_is_to_blame(
    view: JobView, pods: list[PodView], log: str, outcome: str, reason: str
) -> None:
    found = postmortem(view, pods, log=log)
    assert (found.outcome, found.reason) == (outcome, reason)
    assert found.retryable is (reason != "UserError")
    assert found.message


def test_the_pods_own_reason_goes_before_that_of_its_container() -> None:
    container = {"name": "stage", "state": {"terminated": {"exitCode": 137, "reason": "Error"}}}
    view = pod_view(
        {
            "metadata": {
                "name": "p",
                "namespace": "n",
                "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "uid": "j", "controller": True}],
            },
            "status": {"phase": "Failed", "reason": "DeadlineExceeded", "containerStatuses": [container]},
        }
    )
    assert (view.ended, view.exit_code, view.job) == ("DeadlineExceeded", 137, "j")


def test_a_job_without_our_labels_has_no_view() -> None:
    body = {"metadata": {"name": "x", "namespace": "n"}, "spec": {"template": {"spec": {"containers": [{}]}}}}
    assert job_view(body) is None
