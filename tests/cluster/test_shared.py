"""A training that two pods share as an Indexed Job, of which each is lost once: the bytes of one process."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml
from syntrial_generation.train import train_generator

from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.cluster.manifests import RANKS_SERVICE, Batch, Owner, step_job
from syntrial.experiment.model import Cluster, Sharing
from syntrial.imagesets.imageset import ImageSet
from syntrial.rpc.step import request_record
from syntrial.rpc.testing import fake_key, method_of, put_artifact, run_step, with_header
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.generation_pb2 import GanConfig, TrainGeneratorRequest
from tests.cluster.product import REPOSITORY, images

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cluster.site import Site

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
DATA = fake_key("data set")
REQUEST = TrainGeneratorRequest(
    train=MemberRef(key=DATA, member="train"),
    seed=1,
    gan=GanConfig(
        latent_size=4,
        channels=[16, 8],
        blocks_per_level=1,
        images=8 * 150,
        batch_size=8,
        learning_rate=1e-3,
        gamma=1.0,
        ema_half_life_images=16,
    ),
)
SMALL = {"resources": {"requests": {"cpu": "300m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}}}


def with_split(store: ArtifactStore) -> ArtifactStore:
    random = np.random.default_rng(0)
    split = ImageSet(
        images_NHWC=random.integers(0, 256, (40, 8, 8, 1), dtype=np.uint8),
        labels=np.arange(40, dtype=np.int64) % 2,
        classes=("normal", "ill"),
        task="multi-class",
    )
    put_artifact(store, {"train": split}, key=DATA)
    return store


def make_service(site: "Site") -> None:
    """The chart's, in this namespace."""
    text = (REPOSITORY / "k8s" / "base" / "syntrial.yaml").read_text()
    services = [item for item in yaml.safe_load_all(text) if item["kind"] == "Service"]
    (found,) = [item for item in services if item["metadata"]["name"] == RANKS_SERVICE]
    found["metadata"]["namespace"] = site.namespace
    assert site.cluster.create(found)


def start(site: "Site", key: str, *, attempt: int, saves: bool = False) -> dict[str, Any]:
    """The Job of an attempt; without a controller no Experiment owns it."""
    settings = Cluster.model_validate(SMALL)
    job = step_job(
        Batch(stage="generation", keys=(key,), attempt=attempt, sharing=Sharing(devices=2, devices_per_pod=1)),
        owner=Owner(name="shared", uid="shared", namespace=site.namespace),
        placement=settings.placement("generation"),
        cluster=settings,
        images=images(),
        store_secret="syntrial-store",
    )
    del job["metadata"]["ownerReferences"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    container["imagePullPolicy"] = "Never"
    if saves:
        # After each step, so that this attempt has a checkpoint, and is not done, when a pod of it is lost.
        container["args"].append("--checkpoint-interval=0")
    made = site.cluster.create(job)
    assert made is not None
    return made


def pod_of(site: "Site", job: dict[str, Any], index: int) -> str:
    label = "batch.kubernetes.io/job-completion-index"
    pods = site.cluster.pods_of(site.namespace, job["metadata"]["name"])
    (name,) = [pod["metadata"]["name"] for pod in pods if pod["metadata"]["labels"][label] == str(index)]
    return str(name)


def ended(site: "Site", job: dict[str, Any], kind: str) -> bool:
    found = site.cluster.get("Job", site.namespace, job["metadata"]["name"]) or {}
    return any(c["type"] == kind and c["status"] == "True" for c in found.get("status", {}).get("conditions") or ())


def lose(site: "Site", key: str, *, attempt: int, index: int, kubectl: "Callable[..., Any]") -> None:
    """Starts an attempt, and ends a pod of it once there is a new checkpoint."""
    store = site.store
    before = store.checkpoints(key).load()
    job = start(site, key, attempt=attempt, saves=True)
    site.until(lambda: store.checkpoints(key).load() != before, seconds=240)
    kubectl("-n", site.namespace, "delete", "pod", pod_of(site, job, index), "--grace-period=0", "--force")
    site.until(lambda: ended(site, job, "Failed"), seconds=120)
    assert store.manifest(key) is None


def test_a_training_in_two_pods_each_of_which_is_lost_once_is_that_of_one_process(
    site: "Site", kubectl: "Callable[..., Any]", tmp_path: Path
) -> None:
    store, here = with_split(site.store), with_split(open_store(tmp_path / "here"))
    method = method_of(REQUEST)
    key = with_header(REQUEST).header.key
    store.put_request(key, request_record(method, with_header(REQUEST)))
    make_service(site)

    lose(site, key, attempt=1, index=1, kubectl=kubectl)
    lose(site, key, attempt=2, index=0, kubectl=kubectl)
    job = start(site, key, attempt=3)
    site.until(lambda: ended(site, job, "Complete"), seconds=240)
    run_step(train_generator, REQUEST, here)
    found, ours = store.manifest(key), here.manifest(key)
    assert found is not None
    assert ours is not None
    # On the cores of one machine sums are taken in one order, whoever takes them.
    assert found.members == ours.members
    assert found.provenance["devices"] == "2"
    outcomes = [attempt.entry["outcome"] for attempt in store.attempts(key)]
    assert outcomes.count("succeeded") == 1
    # Where rank 0's pod went at once nothing is on record until a controller looks.
    assert len(outcomes) in (2, 3)
