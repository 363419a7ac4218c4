"""Jobs as they go to the API, whole: golden files beside this one.

After a change that is meant, `SYNTRIAL_WRITE_GOLDEN=1 pytest tests/unit/executors/test_manifests.py` writes them anew.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from syntrial.cluster.manifests import (
    LABEL_RANKS,
    SEVERAL_PODS,
    Batch,
    Images,
    Manifest,
    Owner,
    attempt_of,
    ingest_job,
    job_name,
    keys_of,
    source_of_job,
    stage_of_job,
    step_job,
)
from syntrial.experiment.model import ALONE, Cluster, Sharing
from syntrial.sources.named import SourceRef
from syntrial.stages import STAGES

GOLDEN = Path(__file__).parent / "golden"
KEYS = tuple(digit * 64 for digit in "abc")
OWNER = Owner(name="pneumonia", uid="6f1c0a52-8a3e-4d56-9a51-0d1f3c6f4b7e", namespace="radiology")
IMAGES = Images(repository="registry.example/syntrial", tag="0.1.0")


def step(
    stage: str,
    *,
    keys: tuple[str, ...] = KEYS[:1],
    attempt: int = 1,
    memory_limit: str | None = None,
    cluster: dict[str, Any] | None = None,
    images: Images = IMAGES,
    owner: Owner = OWNER,
    image: str = "",
    downloads: bool = False,
    sharing: Sharing = ALONE,
) -> Manifest:
    placed = Cluster.model_validate(cluster or {})
    return step_job(
        Batch(
            stage=stage,
            keys=keys,
            attempt=attempt,
            memory_limit=memory_limit,
            image=image,
            downloads=downloads,
            sharing=sharing,
        ),
        owner=owner,
        placement=placed.placement(stage),
        cluster=placed,
        images=images,
        store_secret="syntrial-store",
    )


def ingest(source: SourceRef, *, cluster: dict[str, Any] | None = None) -> Manifest:
    placed = Cluster.model_validate(cluster or {})
    return ingest_job(source, attempt=1, owner=OWNER, cluster=placed, images=IMAGES, store_secret="syntrial-store")


GPU_TRAINING = {
    "resources": {"requests": {"cpu": "4"}, "limits": {"nvidia.com/gpu": 1, "memory": "16Gi"}},
    "nodeSelector": {"accelerator": "a100"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
    "priorityClassName": "research",
    "runtimeClassName": "nvidia",
    "activeDeadlineSeconds": 7200,
    "sharedMemory": "2Gi",
    "scratch": "20Gi",
    "outOfMemoryLimit": "32Gi",
}

ONE_GPU = {"stages": {"generation": {"resources": {"limits": {"nvidia.com/gpu": 1}}}}}

CASES: dict[str, Manifest] = {
    "training-with-a-gpu": step(
        "generation", cluster={"stages": {"generation": GPU_TRAINING}, "imagePullSecrets": ["registry"]}
    ),
    "training-shared-over-four-gpus": step("generation", sharing=Sharing(devices=4), cluster=ONE_GPU),
    "training-shared-over-two-pods": step("generation", sharing=Sharing(devices=4, devices_per_pod=2), cluster=ONE_GPU),
    "training-again-after-out-of-memory": step(
        "generation", attempt=2, memory_limit="32Gi", cluster={"stages": {"generation": GPU_TRAINING}}
    ),
    "a-generator-of-somebody-elses": step("generation", image=f"ghcr.io/lab/generator@sha256:{'e' * 64}"),
    "several-short-steps": step("classification", keys=KEYS, cluster={"activeDeadlineSeconds": 600}),
    "queued-by-kueue": step("filtering", cluster={"queueName": "research"}),
    "preparation-by-image-digest": step(
        "data_prep", images=replace(IMAGES, digests={"data-prep": f"sha256:{'d' * 64}"})
    ),
    "preparation-that-downloads": step("data_prep", downloads=True),
    "analysis-in-the-controllers-image": step("analysis"),
    "custom-resource": step(
        "generation",
        cluster={"resources": {"limits": {"example.com/tpu": "4", "hugepages-2Mi": "1Gi", "memory": "8Gi"}}},
    ),
    "ingest-of-a-claim": ingest(
        SourceRef(name="dataset", field="spec.dataset", kind="folder", address="claim://scans/chest")
    ),
    "ingest-from-the-hub": ingest(
        SourceRef(
            name="weights/resnet18-hub",
            field="spec.classifiers[0].pretraining",
            kind="weights",
            address="hub://timm/resnet18.a1_in1k",
        )
    ),
    "ingest-from-a-public-bucket": ingest(
        SourceRef(name="dataset", field="spec.dataset", kind="folder", address="s3://public/chest")
    ),
    "ingest-from-object-storage": ingest(
        SourceRef(
            field="spec.synthetic[0].images",
            kind="npz",
            name="synthetic.bought",
            address="s3://bucket/sets/$one.npz",
            secret="bucket-reader",
        )
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_job_is_that_of_its_golden_file(name: str) -> None:
    file = GOLDEN / f"{name}.yaml"
    text = yaml.safe_dump(CASES[name], sort_keys=False, width=120)
    if os.environ.get("SYNTRIAL_WRITE_GOLDEN"):
        file.write_text(text)
    assert text == file.read_text()


def test_each_golden_file_belongs_to_a_case() -> None:
    assert {file.stem for file in GOLDEN.glob("*.yaml")} == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_every_pod_keeps_to_the_restricted_standard(name: str) -> None:
    pod = CASES[name]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert all({"emptyDir", "persistentVolumeClaim"} & set(volume) for volume in pod["volumes"])
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "ports" not in container


@pytest.mark.parametrize("name", CASES)
def test_a_job_says_what_it_carries(name: str) -> None:
    job = CASES[name]
    if name.startswith("ingest"):
        assert (stage_of_job(job), keys_of(job)) == ("ingest", ())
        assert source_of_job(job) in {
            ("dataset", "claim://scans/chest"),
            ("dataset", "s3://public/chest"),
            ("synthetic.bought", "s3://bucket/sets/$one.npz"),
            ("weights/resnet18-hub", "hub://timm/resnet18.a1_in1k"),
        }
        return
    assert stage_of_job(job) in STAGES
    assert keys_of(job) == (KEYS if name == "several-short-steps" else KEYS[:1])
    assert attempt_of(job) == (2 if "again" in name else 1)
    assert source_of_job(job) is None


def test_a_secret_is_named_and_never_held() -> None:
    for job in CASES.values():
        (container,) = job["spec"]["template"]["spec"]["containers"]
        assert not any("KEY" in item["name"] or "SECRET" in item["name"] for item in container["env"])
        assert {"secretRef": {"name": "syntrial-store"}} in container["envFrom"]


@pytest.mark.parametrize("name", CASES)
def test_pods_that_fetch_from_outside_say_so_and_no_others(name: str) -> None:
    fetches = name in {"preparation-that-downloads", "ingest-from-the-hub"} or "bucket" in name or "storage" in name
    for tree in (CASES[name], CASES[name]["spec"]["template"]):
        assert (tree["metadata"]["labels"].get("syntrial.dev/egress") == "downloads") == fetches


def test_the_stores_key_is_not_handed_to_a_source() -> None:
    for job in CASES.values():
        (container,) = job["spec"]["template"]["spec"]["containers"]
        given = [item["secretRef"]["name"] for item in container["envFrom"] if item.get("prefix") == "SOURCE_"]
        assert "syntrial-store" not in given


def test_a_limit_alone_is_its_own_request() -> None:
    (container,) = step("generation", cluster={"resources": {"limits": {"memory": "256Mi"}}})["spec"]["template"][
        "spec"
    ]["containers"]
    assert container["resources"] == {
        "limits": {"ephemeral-storage": "50Gi", "memory": "256Mi"},
        "requests": {"cpu": "1500m", "ephemeral-storage": "1Gi"},
    }


def test_a_shared_step_has_a_device_for_each_rank_and_what_is_given_beside_is_the_whole_pods() -> None:
    (container,) = CASES["training-shared-over-four-gpus"]["spec"]["template"]["spec"]["containers"]
    assert container["args"][-1] == "--devices=4"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "4"
    assert container["resources"]["requests"]["cpu"] == "6000m"
    given = {"limits": {"nvidia.com/gpu": 8, "memory": "16Gi"}, "requests": {"nvidia.com/gpu": 8, "cpu": "4"}}
    (container,) = step("generation", sharing=Sharing(devices=4), cluster={"resources": given})["spec"]["template"][
        "spec"
    ]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "8"
    assert container["resources"]["requests"]["nvidia.com/gpu"] == "8"
    assert (container["resources"]["limits"]["memory"], container["resources"]["requests"]["cpu"]) == ("16Gi", "4")


def test_the_pods_of_a_shared_step_are_equal_and_know_the_first_of_them() -> None:
    job = CASES["training-shared-over-two-pods"]
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 2, 2)
    (container,) = pod["containers"]
    name = job["metadata"]["name"]
    assert container["args"][-3:] == ["--devices=4", "--pods=2", f"--first-pod={name}-0.{pod['subdomain']}:29500"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert container["resources"]["requests"]["cpu"] == "3000m"
    for labels in (job["metadata"]["labels"], job["spec"]["template"]["metadata"]["labels"]):
        assert labels[LABEL_RANKS] == SEVERAL_PODS
    others = [case for name, case in CASES.items() if name != "training-shared-over-two-pods"]
    assert not any(LABEL_RANKS in other["metadata"]["labels"] for other in others)


def test_a_second_try_has_a_name_of_its_own() -> None:
    assert job_name(OWNER, "generation", KEYS, 1) != job_name(OWNER, "generation", KEYS, 2)
    assert job_name(OWNER, "generation", KEYS, 1) != job_name(replace(OWNER, uid="other"), "generation", KEYS, 1)
    assert job_name(OWNER, "generation", KEYS, 1) == job_name(OWNER, "generation", reversed(KEYS), 1)


@given(
    name=st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True),
    stage=st.sampled_from([*STAGES, "ingest"]),
    attempt=st.integers(1, 1000),
)
def test_a_jobs_name_is_a_label(name: str, stage: str, attempt: int) -> None:
    made = job_name(replace(OWNER, name=name), stage, KEYS, attempt)
    assert len(made) <= 63
    assert made[0].isalnum()
    assert made[-1].isalnum()
    assert "--" not in made.removeprefix(name[:30].rstrip("-"))


@pytest.mark.parametrize(
    ("component", "image"),
    [
        ("data_prep", "registry.example/syntrial/syntrial-data-prep:0.1.0"),
        ("generation", "registry.example/syntrial/syntrial-generation:0.1.0"),
        ("analysis", "registry.example/syntrial/syntrial-controller:0.1.0"),
        ("ingest", "registry.example/syntrial/syntrial-controller:0.1.0"),
    ],
)
def test_an_image_is_named_for_its_stage(component: str, image: str) -> None:
    assert IMAGES.of(component) == image


def test_an_image_is_named_by_its_digest_where_that_is_known() -> None:
    images = replace(IMAGES, digests={"data_prep": "sha256:1", "controller": "sha256:2"})
    assert images.of("data_prep") == "registry.example/syntrial/syntrial-data-prep@sha256:1"
    assert images.of("analysis") == "registry.example/syntrial/syntrial-controller@sha256:2"
    assert images.of("filtering").endswith(":0.1.0")


@pytest.mark.parametrize(
    ("scratch", "limit"),
    [("20Gi", 10 * 2**30), ("1.5Gi", 3 * 2**28), ("500M", 250_000_000), ("4096", 2048), ("2000k", 1_000_000)],
)
def test_the_cache_of_artifacts_leaves_half_of_the_scratch_space_to_the_step(scratch: str, limit: int) -> None:
    (container,) = step("generation", cluster={"scratch": scratch})["spec"]["template"]["spec"]["containers"]
    assert {"name": "SYNTRIAL_CACHE_LIMIT", "value": str(limit)} in container["env"]
