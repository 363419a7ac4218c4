"""The handle of an Experiment on a cluster: its object says how far it is, its namespace's store has the rest."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress

from syntrial.artifacts.store import ArtifactStore
from syntrial.cluster.door import Door
from syntrial.errors import ArtifactMissing, SyntrialError
from syntrial.remote.experiments import Remote, find, plan_anew, suspend
from syntrial.remote.pod_logs import follow, live
from syntrial.remote.progress import PodWatch, live_pods
from syntrial.remote.retry import forgive_ingests, wait_until_taken_up
from syntrial.remote.store import remote_store
from syntrial.trial.attempts import LogSection, forgive
from syntrial.trial.record import read_step_labels
from syntrial.trial.status import TrialStatus
from syntrial.v1.progress_pb2 import StepProgress

_KEY_DIGITS = 12


class ClusterTrial:
    """An Experiment on a cluster."""

    has_live_logs = True

    def __init__(
        self,
        door: Door,
        remote: Remote,
        *,
        secret: str,
        endpoint: str | None = None,
        spelling: str = "",
        rates: bool = False,
    ) -> None:
        """`secret` names the Secret that says where the store is, `endpoint` is the S3 server's address from here.

        With `rates`, running pods are asked how fast they are.
        """
        self.name = remote.name
        self.title = remote.status.title
        self.uid = remote.uid
        self.spelling = spelling or remote.name
        self._door = door
        self._remote = remote
        self._secret = secret
        self._endpoint = endpoint
        self._pods = PodWatch(door, namespace=remote.namespace) if rates else None
        self._labels: dict[str, str] | None = None

    def store(self) -> AbstractContextManager[ArtifactStore]:
        """The store of its namespace, as the Secret says where that is."""
        return remote_store(self._door, namespace=self._remote.namespace, secret=self._secret, endpoint=self._endpoint)

    def is_behind(self) -> bool:
        """Whether the controller has not taken up the last change yet, as of the last look."""
        return self._remote.status.is_behind

    def look(self) -> TrialStatus:
        """What its object says now, and which pods work on it."""
        self._remote = find(self._door, self.name, namespace=self._remote.namespace)
        found = self._remote.status
        if self._pods is not None:
            self._follow_pods(self._pods, is_over=found.is_over)
        return found

    def running(self, *, patience: float = 0.0) -> Mapping[str, StepProgress]:
        """The progress that its pods tell of."""
        if self._pods is None:
            return {}
        if patience > 0:
            self._pods.wait_for_first(timeout=patience)
        return {self._label(key, progress): progress for key, progress in self._pods.running().items()}

    def retry(self, *, on_forgiven: Callable[[str], None]) -> str:
        """Forgives failed steps and sources, ends a suspension, and waits a while for the controller.

        A trial that another version planned and finished is planned anew.
        """
        forgiven = forgive_ingests(self._door, self._remote)
        # One that was never planned has no steps to forgive, but may be suspended.
        with suppress(ArtifactMissing), self.store() as store:
            forgiven += forgive(read_step_labels(store, uid=self.uid), uid=self.uid, store=store)
        status = self._remote.status
        if status.is_kept and not forgiven:
            plan_anew(self._door, self._remote, report=str(status.found.get("report", {}).get("key", "")))
            forgiven.append("the whole trial, planned anew")
        else:
            suspend(self._door, self._remote, value=False)
        for label in forgiven:
            on_forgiven(label)
        if self._remote.is_suspended:
            return "taken up again"
        if not forgiven:
            return "nothing has failed"
        if wait_until_taken_up(self._door, self._remote):
            return "the controller tries again"
        return "the controller has not taken it up yet: see that it runs"

    def live_logs(self, keys: set[str] | None) -> Iterator[LogSection]:
        """What its running pods have printed."""
        pods = live_pods(self._door, namespace=self._remote.namespace, uid=self.uid)
        return live(self._door, pods, namespace=self._remote.namespace, keys=keys)

    def follow_logs(self, keys: set[str] | None) -> Iterator[tuple[str, str]]:
        """Lines as its pods print them, pods that start meanwhile included."""
        return follow(self._door, self._remote, keys=keys, is_over=lambda: self.look().is_over)

    def _follow_pods(self, pods: PodWatch, *, is_over: bool) -> None:
        if is_over:
            pods.close()
            return
        # Rates are a courtesy: who may not read pods or the store's Secret sees the status all the same.
        with suppress(SyntrialError):
            found = live_pods(self._door, namespace=self._remote.namespace, uid=self.uid)
            pods.follow(found)
            if found and self._labels is None:
                self._labels = {}
                with self.store() as store:
                    self._labels = read_step_labels(store, uid=self.uid)

    def _label(self, key: str, progress: StepProgress) -> str:
        return (self._labels or {}).get(key) or f"{progress.method.partition('/')[2]} {key[:_KEY_DIGITS]}"
