"""A finished trial in a store in memory, made by hand: a set, a classifier, its evaluation and the report."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.imagesets.imageset import ImageSet
from syntrial.rpc.testing import MemberValue, fake_key, put_member

UID = "6a9f7000-bb7e-40a7-b062-cd96b79e1598"

CLASSES = ("normal, benign", "ill/bad")

REPORT: dict[str, Any] = {
    "title": "small",
    "verdict": {"outcome": "improves", "words": "It improves."},
    "comparisons": [{"arm": "augment-50", "estimate": 0.1, "interval_95": [0.05, 0.15], "keys": ["k"], "notes": []}],
    "arms": [{"arm": "real", "metrics": {"auroc": {"mean": 0.9, "interval_95": [0.8, 1.0], "per_replicate": [0.9]}}}],
}


def image_set(count: int = 6, *, channels: int = 1) -> ImageSet:
    random = np.random.default_rng(0)
    return ImageSet(
        images_NHWC=random.integers(0, 256, (count, 8, 8, channels), dtype=np.uint8),
        labels=np.arange(count, dtype=np.int64) % 2,
        classes=CLASSES,
        task="multi-class",
        origins={"index": list(range(count)), "generator": ["g" * 8] * count},
    )


def put_step(
    store: ArtifactStore,
    label: str,
    *,
    method: str,
    members: dict[str, MemberValue],
    request: dict[str, Any] | None = None,
) -> str:
    key = fake_key(label)
    writer = store.writer(key, method=f"syntrial.v1.{method}", stage_version=1, request=request or {})
    for name, value in members.items():
        put_member(writer, name, value)
    store.commit(writer, provenance={"processor": "a processor"})
    return key


def file_plan(store: ArtifactStore, labels: list[str], *, uid: str = UID) -> None:
    keys = [fake_key(label) for label in labels]
    about = [label.partition(" ")[2] for label in labels]
    plan = {
        "keys": keys,
        "labels": dict(zip(keys, labels, strict=True)),
        "about": dict(zip(keys, about, strict=True)),
    }
    store.put_experiment_file(uid, "plan.json", json.dumps(plan).encode())
    store.put_experiment_file(uid, "experiment.yaml", b"kind: Experiment\n")
    store.add_registration(uid, 1, {})


def finished_store(*, uid: str = UID) -> ArtifactStore:
    """A store with the whole trial, filed under `uid`."""
    store = open_store("memory://")
    put_trial(store, uid=uid)
    return store


def put_trial(store: ArtifactStore, *, uid: str, unfinished: Sequence[str] = ()) -> None:
    """Puts the trial into a store; its plan has these further steps."""
    put_step(store, "filter edm", method="FilteringService/FilterImages", members={"accepted": image_set()})
    classifier = put_step(
        store,
        "train real small-cnn 1/1",
        method="ClassificationService/TrainClassifier",
        members={"classifier": {"classifier.json": {"classes": list(CLASSES)}, "weights.safetensors": b"weights"}},
    )
    put_step(
        store,
        "evaluate real small-cnn 1/1",
        method="ClassificationService/EvaluateClassifier",
        request={"classifier": {"key": classifier, "member": "classifier"}},
        members={
            "predictions": {
                "scores.npy": np.array([[0.25, 0.75], [0.5, 0.5]]),
                "labels.npy": np.array([1, 0]),
                "patients.npy": np.array([0, 1]),
            }
        },
    )
    put_step(
        store,
        "write the report",
        method="AnalysisService/WriteReport",
        members={"report": {"report.json": REPORT, "report.html": b"<!doctype html>"}},
    )
    labels = ["filter edm", "train real small-cnn 1/1", "evaluate real small-cnn 1/1", "write the report"]
    file_plan(store, [*labels, *unfinished], uid=uid)
