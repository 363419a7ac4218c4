"""The controller with many experiments at once, beside a bare client that makes as many Jobs; and its latency.

    python benchmarks/controller.py [--experiments 100] [--jobs 2000] [--applies 5]

Needs the test cluster. First some applies one after another on the real node: seconds from the apply to the first pod's
running. Then, on played nodes where pods complete at once: a bare client with 16 threads makes all the Jobs and waits
until they are complete, before and after as many Jobs are made by the controller for that many experiments: an API
server and its etcd become slower as they age, and whoever comes second would pay for it. For both, this program plays
the pods' part: it puts an artifact into the store as each comes. A tenth of the experiments goes ahead, which shows
whether the work for a Job grows with the number of other experiments.

Exit status 1 where a bar is missed.
"""

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _cluster import Controller, Manifest, Reading, Watch, bucket, fake_nodes, missing, namespace, start_cluster, until
from _trials import ON_FAKE_NODES, Artifacts, experiment, jobs_of, replicates_for

from syntrial import __version__
from syntrial.artifacts.store import ArtifactStore
from syntrial.cluster.client import Kubernetes
from syntrial.cluster.manifests import Batch, Images, Owner, attempt_of, keys_of, step_job
from syntrial.experiment.model import Cluster

THREADS = 16
"""Of the bare client, and of whoever applies experiments."""

LATENCY, RATIO, RECONCILE, MEMORY, GROWTH = 5.0, 1.5, 0.1, 300 * 2**20, 1.25
"""The bars: seconds, times the bare client, seconds, bytes, times the CPU time of a Job with fewer experiments."""

MANIFEST = b"m" * 2000
"""What a pod of the bare client writes: about as much as the manifest of a step."""

IMAGE = f"localhost/syntrial/syntrial-data-prep:{__version__}"


class Progress:
    """What a watch has told of the Jobs of a namespace."""

    def __init__(
        self, cluster: Kubernetes, namespace: str, *, on_job: Callable[[Manifest], None] | None = None
    ) -> None:
        """`on_job` is called with each new Job."""
        self.done: set[str] = set()
        self.there: set[str] = set()
        self.most = 0
        """Jobs that were in the API at the same time."""
        self.again = 0
        """Jobs that were not the first attempt at their steps."""
        self.last = 0.0
        """When the last Job was seen to be complete."""
        self._on_job = on_job
        self._watch = Watch(cluster, "Job", namespace, self._tell)

    def close(self) -> None:
        """Watches no more."""
        self._watch.close()

    def _tell(self, change: str, job: Manifest) -> None:
        uid = job["metadata"]["uid"]
        if change == "DELETED":
            self.there.discard(uid)
            return
        if uid not in self.there:
            self.there.add(uid)
            self.most = max(self.most, len(self.there))
            self.again += attempt_of(job) > 1
            if self._on_job is not None:
                self._on_job(job)
        conditions = job.get("status", {}).get("conditions") or ()
        if uid not in self.done and any(c["type"] == "Complete" and c["status"] == "True" for c in conditions):
            self.done.add(uid)
            self.last = time.monotonic()


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a crowd of experiments took."""

    jobs: int
    seconds: float
    """Until the last Job was complete."""
    verdicts: float
    """Seconds until all experiments had succeeded."""
    most: int
    again: int
    before: Reading
    after: Reading

    @property
    def cpu_per_job(self) -> float:
        """CPU seconds of the controller."""
        return (self.after.cpu_seconds - self.before.cpu_seconds) / self.jobs


def bare(cluster: Kubernetes, store: ArtifactStore, *, jobs: int) -> float:
    """Seconds in which a bare client has made so many Jobs and seen them complete."""
    with namespace(cluster) as name, ThreadPoolExecutor(THREADS) as put:
        owner = Owner(name="bare", uid="bare", namespace=name)
        settings = Cluster.model_validate(ON_FAKE_NODES)
        objects = []
        for number in range(jobs):
            job = step_job(
                Batch(stage="classification", keys=(f"{number:064x}",)),
                owner=owner,
                placement=settings.placement("classification"),
                cluster=settings,
                images=Images(repository="localhost/syntrial", tag=__version__),
                store_secret="syntrial-store",  # noqa: S106 - the name of a Secret
            )
            del job["metadata"]["ownerReferences"]
            objects.append(job)

        def complete(job: Manifest) -> None:
            put.submit(store.backend.create, f"bare/{keys_of(job)[0]}", MANIFEST)

        progress = Progress(cluster, name, on_job=complete)
        began = time.monotonic()
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(cluster.create, objects))
        made = time.monotonic() - began
        until(lambda: len(progress.done) == jobs, seconds=600, every=0.2)
        progress.close()
        seconds = progress.last - began
        print(f"bare client: {jobs} Jobs made in {made:.1f} s, all complete after {seconds:.1f} s", flush=True)
        return seconds


def crowd(
    cluster: Kubernetes, name: str, store: ArtifactStore, controller: Controller, *, trees: list[Manifest], jobs: int
) -> Run:
    """Applies experiments, waits until all have succeeded, and deletes them; `jobs` is how many Jobs that takes."""
    artifacts = Artifacts(store, trees)
    put = ThreadPoolExecutor(THREADS)
    failures: list[BaseException] = []

    def finish(key: str) -> None:
        try:
            artifacts.put(key)
        except Exception as error:  # noqa: BLE001 - told by the thread that waits
            failures.append(error)

    def complete(job: Manifest) -> None:
        # A played pod ends in a fraction of a second, and finds its artifacts there.
        for key in keys_of(job):
            put.submit(finish, key)

    progress = Progress(cluster, name, on_job=complete)
    before = controller.read()
    began = time.monotonic()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda tree: cluster.apply(in_namespace(tree, name), field_manager="kubectl"), trees))

    def is_over() -> bool:
        if failures:
            raise failures[0]
        if len(progress.done) < jobs:
            return False
        items = cluster.list("Experiment", name)
        return all((item.get("status") or {}).get("verdict") for item in items)

    until(is_over, seconds=900)
    verdicts = time.monotonic() - began
    after = controller.read()
    # Their Jobs go with them.
    for tree in trees:
        cluster.delete("Experiment", name, tree["metadata"]["name"])
    until(lambda: not progress.there, seconds=900)
    progress.close()
    put.shutdown()
    return Run(
        jobs=len(progress.done),
        seconds=progress.last - began,
        verdicts=verdicts,
        most=progress.most,
        again=progress.again,
        before=before,
        after=after,
    )


def latencies(cluster: Kubernetes, name: str, *, applies: int) -> list[float]:
    """Seconds from an apply to the first pod's running, one experiment after another."""
    found = []
    for number in range(applies):
        runs = threading.Event()

        def tell(_change: str, pod: Manifest, runs: threading.Event = runs) -> None:
            if pod["status"].get("phase") in {"Running", "Succeeded", "Failed"}:
                runs.set()

        watch = Watch(cluster, "Pod", name, tell)
        tree = in_namespace(experiment(f"quick-{number}", seed=1000 + number), name)
        began = time.monotonic()
        cluster.apply(tree, field_manager="kubectl")
        if not runs.wait(60):
            raise TimeoutError("no pod runs 60 s after the apply")
        found.append(time.monotonic() - began)
        watch.close()
        cluster.delete("Experiment", name, tree["metadata"]["name"])
        until(lambda: not cluster.list("Pod", name), seconds=120)
    return found


def in_namespace(tree: Manifest, name: str) -> Manifest:
    """The object with its namespace."""
    return {**tree, "metadata": {**tree["metadata"], "namespace": name}}


def has_image(cluster: Kubernetes) -> bool:
    """Whether a node has the image that prepares data."""
    images = (image for node in cluster.list("Node") for image in node["status"].get("images", ()))
    return any(IMAGE in (image.get("names") or ()) for image in images)


def judge(words: str, *, value: float, bar: float, unit: str = "") -> bool:
    """Prints a value beside its bar; whether it keeps to it."""
    kept = value <= bar
    print(f"{words}: {value:.3g}{unit} (at most {bar:.3g}{unit}){'' if kept else '  MISSED'}", flush=True)
    return kept


def report(run: Run, *, first: Run, peer: float, experiments: int, few: int) -> list[bool]:
    """Prints what a run took; which bars it keeps to."""
    kept = []
    print(
        f"controller: {run.jobs} Jobs of {experiments} experiments complete after {run.seconds:.1f} s, all "
        f"verdicts after {run.verdicts:.1f} s; {run.most} Jobs at most at a time; {run.again} second attempts"
    )
    kept.append(judge("  times the bare client", value=run.seconds / peer, bar=RATIO))
    reconcile, look = "syntrial_reconcile_seconds", "syntrial_look_seconds"
    kept.append(judge("  reconcile, p99", value=run.after.p99(reconcile, run.before), bar=RECONCILE, unit=" s"))
    count, p99 = run.after.count(look, run.before), run.after.p99(look, run.before)
    print(f"  looks, with the store's and the API's answers: {count}, p99 {p99:.2f} s")
    kept.append(judge("  peak memory", value=run.after.memory / 2**20, bar=MEMORY / 2**20, unit=" MiB"))
    cpu = run.after.cpu_seconds - run.before.cpu_seconds
    print(f"  CPU: {cpu:.1f} s, {1000 * run.cpu_per_job:.1f} ms a Job; with {few}: {1000 * first.cpu_per_job:.1f} ms")
    growth = run.cpu_per_job / first.cpu_per_job
    kept.append(judge(f"  CPU a Job, times that with {few} experiments", value=growth, bar=GROWTH))
    return kept


def main() -> int:
    """Runs the benchmark; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--applies", type=int, default=5)
    options = parser.parse_args()
    if why := missing():
        print(f"no test cluster: {why}")
        return 0
    cluster = start_cluster()
    replicates = replicates_for(options.jobs // options.experiments)
    few = max(1, options.experiments // 10)
    each = jobs_of(replicates)
    kept = []

    def trees(prefix: str, count: int, first: int) -> list[dict[str, Any]]:
        numbers = range(first, first + count)
        return [experiment(f"{prefix}-{n}", seed=n, replicates=replicates, cluster=ON_FAKE_NODES) for n in numbers]

    with (
        tempfile.TemporaryDirectory() as folder,
        bucket(Path(folder)) as store,
        namespace(cluster, url=store.url) as name,
        Controller(Path(folder), namespace=name, image_tag=__version__) as controller,
    ):
        try:
            if options.applies and has_image(cluster):
                seconds = latencies(cluster, name, applies=options.applies)
                print("from the apply to the first pod's running:", " ".join(f"{s:.2f}" for s in seconds), "s")
                kept.append(judge("  median", value=statistics.median(seconds), bar=LATENCY, unit=" s"))
            elif options.applies:
                print(f"no latency is measured: no node has {IMAGE}; see make load")
            with fake_nodes(cluster):
                peer = bare(cluster, store, jobs=options.experiments * each)
                first = crowd(cluster, name, store, controller, trees=trees("first", few, 0), jobs=few * each)
                run = crowd(
                    *(cluster, name, store, controller),
                    trees=trees("trial", options.experiments, few),
                    jobs=options.experiments * each,
                )
                again = bare(cluster, store, jobs=options.experiments * each)
                kept += report(run, first=first, peer=(peer + again) / 2, experiments=options.experiments, few=few)
        except BaseException:
            print(controller.log.read_text()[-4000:], file=sys.stderr)
            raise
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
