"""Trials for the controller's benchmark: planned as the controller plans them, their artifacts made without computing.

Preparation and generation are in the store beforehand, as an earlier trial of the same data leaves them. So nearly all
Jobs of a trial are ready at once: its trainings, each a Job of its own, and the assessment of its images. Evaluations
follow, up to eight in a Job, and the report.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from syntrial.artifacts.keys import canonical_request
from syntrial.artifacts.manifest import Manifest, Member, reference
from syntrial.artifacts.memory import MemoryBackend
from syntrial.artifacts.store import ArtifactStore
from syntrial.controller.batching import BATCH_STEPS
from syntrial.experiment_file import validate
from syntrial.plan import Step, member_refs
from syntrial.rpc.step import recorded_request, request_record
from syntrial.trial import Pending, draft, resolve_recorded

MEMBERS = (
    *("train", "validation", "test", "audit", "encoder", "generator", "images", "accepted", "rejected", "decisions"),
    *("quality", "curves", "classifier", "training", "predictions"),
)
"""Every member that a step may ask for."""

BEFOREHAND = frozenset({"PrepareDataset", "TrainEncoder", "TrainGenerator", "SampleImages", "FilterImages"})
"""Methods whose artifacts are there at the start."""

REPORT = {
    "verdict": {"outcome": "improves", "estimate": 0.02, "interval_95": [0.01, 0.03], "words": "It helps."},
    "endpoint": {"metric": "auroc"},
}

TRAINING_STEPS = 2000
"""Enough that no two trainings share a Job."""

ON_FAKE_NODES = {
    "nodeSelector": {"type": "kwok"},
    "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}],
    "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
}


def jobs_of(replicates: int) -> int:
    """Jobs of a trial with so many replicates of each of its two arms."""
    trainings = 2 * replicates
    evaluations = -(-trainings // BATCH_STEPS)
    return trainings + evaluations + 2


def replicates_for(jobs: int) -> int:
    """The fewest replicates that make at least so many Jobs."""
    replicates = 2
    while jobs_of(replicates) < jobs:
        replicates += 1
    return replicates


def experiment(
    name: str, *, seed: int, replicates: int = 2, cluster: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """An Experiment object; those of different seeds have no step in common."""
    return {
        "apiVersion": "syntrial.dev/v1alpha1",
        "kind": "Experiment",
        "metadata": {"name": name},
        "spec": {
            "dataset": {
                "phantom": {"trainPatients": 8 + seed, "validationPatients": 4, "testPatients": 8},
                "size": 16,
            },
            "synthetic": [{"name": "edm", "generator": {"diffusion": {"preset": "pico"}}, "copies": 0}],
            "arms": ["augment-50"],
            "replicates": replicates,
            "controls": "none",
            "budget": {"steps": TRAINING_STEPS},
            "cluster": dict(cluster or {}),
        },
    }


class Artifacts:
    """The artifacts of trials, made up before the clock starts, and put into the store as their pods complete."""

    def __init__(self, store: ArtifactStore, trees: Iterable[Mapping[str, Any]]) -> None:
        self._store = store
        self._manifests: dict[str, bytes] = {}
        nothing = ArtifactStore(MemoryBackend())
        beforehand: list[str] = []
        for tree in trees:
            trial = validate({key: tree[key] for key in ("apiVersion", "kind", "metadata", "spec")})
            sources = resolve_recorded(trial, store=nothing, uid="none")
            assert not isinstance(sources, Pending)
            # The test split's content is the trial's own: so is, then, its record of looks.
            member = self._member(trial.metadata.name.encode())
            for step in draft(trial, sources).plan.steps:
                self._manifests[step.key] = self._manifest(step, member)
                if step.method.partition("/")[2] in BEFOREHAND:
                    beforehand.append(step.key)
        self._report = self._member(json.dumps(REPORT).encode(), name="report.json")
        store.each(self.put, beforehand)

    def put(self, key: str) -> None:
        """Commits the artifact of a step, as its pod does at its end."""
        data = self._manifests.get(key)
        if data is None:
            data = self._report_manifest(key)
        self._store.backend.create(f"artifacts/{key}/manifest.json", data)

    def _member(self, data: bytes, *, name: str = "value") -> Member:
        writer = self._store.writer("0" * 64, method="", stage_version=1, request={})
        writer.write("any", name, data)
        return writer.members()["any"]

    def _manifest(self, step: Step, member: Member) -> bytes:
        return Manifest(
            key=step.key,
            method=step.method,
            stage_version=int(str(request_record(step.method, step.request)["stage_version"])),
            request=canonical_request(step.request),
            inputs={reference(ref.key, ref.member): member.digest for ref in member_refs(step.request)},
            members=dict.fromkeys(MEMBERS, member),
        ).to_bytes()

    def _report_manifest(self, key: str) -> bytes:
        """Of a report nothing is known before the look at the test split: its request says what it reads."""
        record = self._store.request(key)
        assert record is not None
        method, request = recorded_request(record, key=key)
        inputs = {}
        for ref in member_refs(request):
            tree = json.loads(self._manifests[ref.key])
            inputs[reference(ref.key, ref.member)] = tree["members"][ref.member]["digest"]
        return Manifest(
            key=key,
            method=method,
            stage_version=record["stage_version"],
            request=record["request"],
            inputs=inputs,
            members={"report": self._report},
        ).to_bytes()
