"""The controller's memory with many experiments, and the time of the largest plan; without a cluster.

    python benchmarks/controller_memory.py [--experiments 10000] [--looked-at 1000]

Experiments come as an API server gives them: with managed fields, what was applied, and a status. At some of them the
controller looks, which makes plans and Jobs, more than it remembers. The cluster and the stores hold nothing here, so
that the figure is the controller's own, its clients' imports among it.

Exit status 1 where a bar is missed.
"""

import argparse
import gc
import json
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import syntrial.cluster.client  # noqa: F401 - part of the process whose memory is measured
from syntrial.artifacts.backend import Backend
from syntrial.artifacts.store import ArtifactStore
from syntrial.cluster.manifests import Images
from syntrial.controller.controller import Controller
from syntrial.controller.jobs import ClusterApi
from syntrial.controller.settings import Settings
from syntrial.experiment.file import validate
from syntrial.plan.planner import plan
from syntrial.plan.size import STEP_LIMIT, size_of
from syntrial.sources.named import sources_of

MEMORY, PLAN_MEMORY, SECONDS = 300 * 2**20, 80 * 2**20, 30.0
"""The bars: bytes of all experiments, bytes of the largest plan, seconds of CPU that it takes."""

SPEC: dict[str, Any] = {
    "dataset": {"phantom": {"trainPatients": 8}, "size": 16},
    "synthetic": [{"name": "edm", "generator": {"diffusion": {"preset": "pico"}}}],
    "arms": ["augment-50", "augment-100"],
    "replicates": 3,
}


class NoStore:
    """A store that has nothing and keeps nothing."""

    url = "memory://"
    parallel = 1

    def read(self, _name: str, /, *, limit: int | None = None) -> bytes | None:
        """Nothing."""
        del limit

    def scan(self, _prefix: str, /, *, limit: int | None = None) -> list[Any]:
        """Nothing."""
        del limit
        return []

    def write(self, _name: str, _data: bytes, /) -> None:
        """Nothing."""

    def create(self, _name: str, _data: bytes, /) -> bool:
        """As if it were kept."""
        return True

    def clock(self) -> float:
        """This machine's."""
        return time.time()


class NoCluster:
    """An API server that takes everything and keeps nothing."""

    def create(self, obj: Mapping[str, Any]) -> dict[str, Any]:
        """The object as made."""
        made: dict[str, Any] = json.loads(json.dumps(obj))
        made["metadata"] |= {"uid": str(uuid.uuid4()), "resourceVersion": str(time.monotonic_ns())}
        return made

    def patch_status(self, obj: Mapping[str, Any], *, field_manager: str) -> dict[str, Any]:
        """The object with its status."""
        del field_manager
        body = BODIES[obj["metadata"]["uid"]]
        version = str(time.monotonic_ns())
        made: dict[str, Any] = json.loads(json.dumps({**body(), "status": obj["status"]}))
        made["metadata"]["resourceVersion"] = version
        return made

    def create_event(self, *_given: Any, **_named: Any) -> None:
        """Nothing."""

    def read_secret(self, _namespace: str, _name: str) -> dict[str, str]:
        """An empty Secret."""
        return {}

    def list(self, *_given: Any, **_named: Any) -> list[Any]:
        """Nothing."""
        return []


BODIES: dict[str, Any] = {}


def experiment(number: int) -> dict[str, Any]:
    """An object as an API server gives it."""
    spec = {**SPEC, "seed": number}
    name = f"experiment-{number}"
    fields = {f"f:{key}": {"f:x": {}, "f:y": {}} for key in [*spec, "conditions", "steps", "pending", "stages"]}
    conditions = [
        {
            "type": kind,
            "status": "True",
            "reason": "Planned",
            "message": "the trial is planned",
            "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        for kind in ("Valid", "Audited", "Progressing", "Succeeded")
    ]
    return {
        "apiVersion": "syntrial.dev/v1alpha1",
        "kind": "Experiment",
        "metadata": {
            "name": name,
            "namespace": f"team-{number % 50}",
            "uid": f"uid-{number}",
            "generation": 1,
            "resourceVersion": str(number + 1),
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(spec)},
            "managedFields": [{"manager": m, "operation": "Apply", "fieldsV1": fields} for m in ("kubectl", "c")],
        },
        "spec": spec,
        "status": {"conditions": conditions, "progress": "0/30", "observedGeneration": 1},
    }


def resident() -> int:
    """Bytes of this process that are in memory."""
    gc.collect()
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) * 1024


def crowd(experiments: int, looked_at: int) -> bool:
    """Holds that many, looks at some; says whether the bar is kept."""
    before = resident()
    settings = Settings(namespaces=(), images=Images(repository="r", tag="t"))
    controller = Controller(
        cast(ClusterApi, NoCluster()),
        settings,
        open_store=lambda _secret, _namespace: ArtifactStore(cast(Backend, NoStore())),
    )
    for number in range(experiments):
        body = json.loads(json.dumps(experiment(number)))
        BODIES[body["metadata"]["uid"]] = lambda number=number: experiment(number)
        controller.inventory.put_experiment(body, quietly=True)
    held = resident()
    for number in range(looked_at):
        controller.attend(f"uid-{number}")
    after = resident()
    print(
        f"{experiments} experiments: {held / 2**20:.0f} MiB, {before / 2**20:.0f} before the first; after looks "
        f"at {looked_at}, {after / 2**20:.0f} MiB, with {len(controller.remembered)} remembered",
        flush=True,
    )
    return after <= MEMORY


def largest() -> bool:
    """Plans a trial of as many steps as the limit allows; says whether the bars are kept."""
    generators = [{"name": f"s{n}", "generator": {"pca": {}}, "seed": 1000 * n, "replicates": 2} for n in range(20)]
    spec = {
        "dataset": {"phantom": {}, "size": 28},
        "synthetic": generators,
        "arms": ["augment-100", "augment-50", "synthetic", "replace-50", "finetune"],
        "classifiers": [{"model": "small-cnn"}, {"model": "resnet18"}],
        "replicates": 24,
        "controls": "none",
    }
    tree = {"apiVersion": "syntrial.dev/v1alpha1", "kind": "Experiment", "metadata": {"name": "x"}, "spec": spec}
    item = validate(tree)
    steps = size_of(item.spec).steps
    sources = {ref.name: ref.with_digest("sha256:" + "0" * 64) for ref in sources_of(item)}
    before, began = resident(), time.process_time()
    made = plan(item, sources)
    seconds = time.process_time() - began
    took = resident() - before
    print(
        f"a plan of {len(made.steps) + 1} of at most {STEP_LIMIT} steps ({steps} counted): {seconds:.1f} s of CPU, "
        f"{took / 2**20:.0f} MiB",
        flush=True,
    )
    return steps <= STEP_LIMIT and seconds <= SECONDS and took <= PLAN_MEMORY


def main() -> int:
    """Runs both; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=10_000)
    parser.add_argument("--looked-at", type=int, default=1_000)
    options = parser.parse_args()
    kept = [crowd(options.experiments, options.looked_at), largest()]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
