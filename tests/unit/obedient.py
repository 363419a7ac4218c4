"""An executor that ends each step at once as it is told to."""

from collections.abc import Callable, Sequence

from syntrial.artifacts.store import ArtifactStore
from syntrial.errors import SyntrialError
from syntrial.executors.executor import Event, StepFailed, StepSucceeded
from syntrial.plan.steps import Step
from syntrial.rpc.wire_errors import is_retryable, reason_of
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.progress_pb2 import StepProgress

Behaviour = Callable[[Step, int], SyntrialError | None]


class ObedientExecutor:
    """Puts each step's artifact in the store, or fails it, when asked for events; the first started ends first."""

    def __init__(self, store: ArtifactStore, *, behaviour: Behaviour = lambda _step, _attempt: None) -> None:
        self.store = store
        self.behaviour = behaviour
        self.pending: list[tuple[Step, int]] = []
        self.order: list[str] = []
        self.cancelled: list[str] = []
        self.interrupt_after = -1

    def start(self, step: Step, *, attempt: int, priority: float) -> None:  # noqa: ARG002
        assert self.store.done(step.after) == set(step.after), "a step starts only once its inputs are done"
        assert step.key not in [pending.key for pending, _ in self.pending]
        self.order.append(step.label)
        self.pending.append((step, attempt))

    def wait(self, *, timeout: float | None = None) -> Sequence[Event]:
        if self.interrupt_after == 0:
            self.interrupt_after = -1
            raise KeyboardInterrupt
        self.interrupt_after -= 1
        if not self.pending:
            assert timeout is not None, "nothing runs, so nothing would ever come"
            return []
        step, attempt = self.pending.pop(0)
        error = self.behaviour(step, attempt)
        if error is not None:
            return [failure(step, attempt, error)]
        writer = self.store.writer(step.key, method="m", stage_version=1, request={})
        for key in step.after:
            ref = MemberRef(key=key, member="data")
            writer.record_input(ref, digest=self.store.open(ref).digest)
        writer.write("data", "label", step.label.encode())
        self.store.commit(writer)
        return [StepSucceeded(key=step.key, artifact_digest="d", progress=StepProgress())]

    def cancel(self, key: str) -> None:
        self.cancelled.append(key)

    def close(self) -> None:
        pass


def failure(step: Step, attempt: int, error: SyntrialError) -> StepFailed:
    return StepFailed(
        key=step.key,
        attempt=attempt,
        reason=reason_of(error),
        message=str(error),
        log_tail="",
        retryable=is_retryable(error),
        error=error,
    )
