"""What became of a Job that ended without recording an attempt, read from the pods that it left. Pure."""

import signal
from collections.abc import Sequence
from typing import Final

from syntrial.controller.snapshot import Evidence
from syntrial.controller.standing import JOB_DIED, NODE_LOST, OUT_OF_MEMORY, POD_LOST
from syntrial.controller.views import JobView, PodView
from syntrial.rpc.exits import LEFT, STOPPED, USER_ERROR

DEADLINE: Final = "DeadlineExceeded"
CRASHED: Final = "Crashed"
NOT_RECORDED: Final = "NotRecorded"

_STORE_WORDS: Final = ("StoreUnavailable", "did not answer as an S3 server does", "ConnectionRefusedError")


def postmortem(job: JobView, pods: Sequence[PodView], *, log: str = "") -> Evidence:
    """Why the Job ended; `log` is the tail of the log of the pod that ended it.

    `outcome` is "failed" where the step may be to blame and "cancelled" where something outside ended it.
    """
    if job.ended == "complete":
        return Evidence(outcome="cancelled", reason=JOB_DIED, message="the Job ended without a word of this step")
    if job.reason == NODE_LOST:
        words = "its pod was to end and did not: its node does not answer"
        return Evidence(outcome="cancelled", reason=NODE_LOST, message=words, log=log)
    pod = ended_by(pods)
    if job.reason == DEADLINE or (pod is not None and pod.ended == DEADLINE):
        return _failed(DEADLINE, "the attempt took longer than activeDeadlineSeconds allows", log)
    # Of a step in several pods the first may be gone: the others say no more than that.
    if pod is None or pod.exit_code == LEFT or (pod.exit_code is None and pod.ended != "Evicted"):
        return Evidence(outcome="cancelled", reason=POD_LOST, message="the pod went without a trace", log=log)
    if pod.ended == "OOMKilled":
        return _failed(OUT_OF_MEMORY, "the pod used more memory than its limit allows", log)
    if pod.ended == "Evicted":
        return Evidence(outcome="cancelled", reason=POD_LOST, message=pod.message or "the pod was evicted", log=log)
    if pod.exit_code == STOPPED:
        return Evidence(outcome="cancelled", reason=JOB_DIED, message="the pod was asked to stop", log=log)
    if any(words in log for words in _STORE_WORDS):
        return _failed("StoreUnavailable", "the pod could not reach the store", log)
    if pod.exit_code == USER_ERROR:
        return Evidence(
            outcome="failed", reason="UserError", message=_last_line(log) or pod.message, log=log, retryable=False
        )
    if pod.exit_code is not None and pod.exit_code > 128:
        return _failed(CRASHED, f"the pod was ended by {_signal_name(pod.exit_code - 128)}", log)
    return _failed(NOT_RECORDED, f"the pod ended with exit code {pod.exit_code}: {_last_line(log)}", log)


def ended_by(pods: Sequence[PodView]) -> PodView | None:
    """The pod that ended the Job: one whose container ended, if there is one, and of itself."""
    ended = [pod for pod in pods if pod.exit_code not in (None, 0) or pod.phase == "Failed"]
    first = [pod for pod in ended if pod.exit_code not in (LEFT, STOPPED)]
    found = first or ended or pods
    return found[-1] if found else None


def _failed(reason: str, message: str, log: str) -> Evidence:
    return Evidence(outcome="failed", reason=reason, message=message, log=log)


def _last_line(log: str) -> str:
    lines = log.strip().splitlines()
    return lines[-1][:400] if lines else ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
