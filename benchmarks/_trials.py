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
from syntrial.artifacts.references import member_refs
from syntrial.artifacts.store import ArtifactStore
from syntrial.controller.batching import BATCH_STEPS
from syntrial.experiment.file import validate
from syntrial.plan.steps import Step
from syntrial.rpc.step import request_record
from syntrial.sources.resolve import PendingSources, resolve_recorded
from syntrial.trial.run import draft, with_looks
from syntrial.v1.analysis_pb2 import Look

BEFOREHAND = frozenset({"PrepareDataset", "TrainEncoder", "TrainGenerator", "SampleImages", "FilterImages"})
"""Methods whose artifacts are there at the start."""

REPORT = {
    "verdict": {
        "outcome": "improves",
        "by_less_than_margin": False,
        "estimate": 0.02,
        "interval_95": [0.01, 0.03],
        "words": "It helps.",
    },
    "endpoint": {"metric": "auroc"},
}

TRAINING_STEPS = 2000
"""Enough that no two trainings share a Job."""

ON_FAKE_NODES = {
    "nodeSelector": {"type": "kwok"},
    "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}],
    # Played nodes say nothing of their disk.
    "resources": {"requests": {"cpu": "10m", "memory": "16Mi", "ephemeral-storage": "0"}},
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
        report = self._member(json.dumps(REPORT).encode(), name="report.json")
        for tree in trees:
            trial = validate({key: tree[key] for key in ("apiVersion", "kind", "metadata", "spec")})
            sources = resolve_recorded(trial, store=nothing, uid="none")
            assert not isinstance(sources, PendingSources)
            member = self._member(trial.metadata.name.encode())
            planned = draft(trial, sources)
            # The test split's content is the trial's own: so is, then, its record of looks, with one look in it.
            look = Look(number=1, evaluations=planned.plan.evaluations_digest, changed=[])
            plan = with_looks(planned, [look]).plan
            names: dict[str, set[str]] = {plan.dataset: {"test"}}
            for step in plan.steps:
                for ref in member_refs(step.request):
                    names.setdefault(ref.key, set()).add(ref.member)
            for step in plan.steps:
                members = dict.fromkeys(names.get(step.key, ()), member) or {"report": report}
                self._manifests[step.key] = self._manifest(step, members, source=member.digest)
                if step.method.partition("/")[2] in BEFOREHAND:
                    beforehand.append(step.key)
        store.each(self.put, beforehand)

    def put(self, key: str) -> None:
        """Commits the artifact of a step, as its pod does at its end."""
        self._store.backend.create(f"artifacts/{key}/manifest.json", self._manifests[key])

    def _member(self, data: bytes, *, name: str = "value") -> Member:
        writer = self._store.writer("0" * 64, method="", stage_version=1, request={})
        writer.write("any", name, data)
        return writer.members()["any"]

    def _manifest(self, step: Step, members: Mapping[str, Member], *, source: str) -> bytes:
        """The manifest of a step's artifact; all members that are read have the digest `source`."""
        return Manifest(
            key=step.key,
            method=step.method,
            stage_version=int(str(request_record(step.method, step.request)["stage_version"])),
            request=canonical_request(step.request),
            inputs={reference(ref.key, ref.member): source for ref in member_refs(step.request)},
            members=members,
        ).to_bytes()
