"""A trial with a search, made by hand in a store in memory, as far as it is asked to be."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.documents.decisions import CandidateCopies, Decisions
from syntrial.documents.document import as_json
from syntrial.documents.quality import (
    Features,
    Frechet,
    FrechetBesideGaussian,
    Inception,
    KernelDistance,
    Memorised,
    Network,
    Quality,
    ToldApart,
)
from syntrial.documents.search import Decision, TrialFigures
from syntrial.documents.training import ClassifierTraining, Curves, KeptCheckpoint
from syntrial.experiment.file import parse_experiment, to_yaml
from syntrial.rpc.testing import MemberValue, fake_key
from tests.fake_mlflow import FakeMlflow, fake_mlflow
from tests.unit.trial_records import CLASSES, UID, file_plan, image_set, put_step

EXPERIMENT = """
apiVersion: syntrial.dev/v1alpha1
kind: Experiment
metadata: {name: small}
spec:
  dataset: {folder: /home/mueller/anna/scans, size: 28}
  synthetic: [{name: gan, generator: {gan: {preset: pico}}, tune: {over: {learningRate: {choice: [0.1, 0.2]}}}}]
  arms: [augment-50]
"""

COPIES: dict[str, Any] = {
    "searched": 9,
    "count": 1,
    "rate": 0.1,
    "exact": 0,
    "threshold": 0.5,
    "quantile": 0.01,
    "calibration_images": 9,
    "calibration_share_under_threshold": 0.0,
}

FILTERING = Decisions(
    version=1,
    task="multi-class",
    classes=CLASSES,
    candidates=9,
    accepted=6,
    rejected={"copy": 1, "surplus": 2},
    rejected_pictures=0,
    repeated=0,
    filters=(),
    copies=CandidateCopies(**COPIES, removed=True),
    ratio=1.0,
    balance="match",
    by_class=(),
    score_columns=(),
)

QUALITY = Quality(
    version=1,
    images=6,
    real_images=20,
    features=Features(size=8, normalisation="none"),
    frechet=FrechetBesideGaussian(
        sample_size=6,
        synthetic_real=3.5,
        floor=0.5,
        ratio_to_floor=7.0,
        gaussian_real=4.0,
        gaussian_ratio_to_floor=8.0,
    ),
    frechet_by_class={},
    precision_recall=None,
    memorised=Memorised(**COPIES, pairs=()),
    repeated=0,
    inception=Inception(
        network=Network(model="inception", weights="sha256:0", side=299),
        feature_size=2048,
        fid=Frechet(sample_size=6, synthetic_real=250.0, floor=200.0, ratio_to_floor=1.25),
        kid=KernelDistance(sample_size=6, synthetic_real=0.25, floor=-0.125, floor_range=(-0.5, 0.25)),
    ),
    told_apart=ToldApart(sample_size=6, auroc=0.875, interval_95=(0.7, 1.0), real=0.5, real_interval_95=(0.3, 0.7)),
)


def reference(label: str, member: str) -> dict[str, str]:
    return {"key": fake_key(label), "member": member}


def training_of(value: float) -> ClassifierTraining:
    """A training whose validation loss ends at `value`."""
    curves = Curves(
        x_unit="steps", x=(10, 20), series={"train_loss": (2.0, value), "validation_auroc": (None, 1.0 - value)}
    )
    checkpoint = KeptCheckpoint(choice="last", step=20)
    return ClassifierTraining(
        version=1, curves=curves, phases=(), undertrained=value > 0.4, convergence=None, checkpoint=checkpoint
    )


def arm(name: str, labels: list[str], means: list[float]) -> dict[str, Any]:
    keys = [fake_key(f"{verb} {label}") for verb in ("evaluate", "train") for label in labels]
    mean = sum(means) / len(means)
    return {
        "cell": f"{name} small-cnn",
        "label": name,
        "arm": name.partition(" ")[0],
        "synthetic": name.partition(" with ")[2],
        "classifier": "small-cnn",
        "role": "primary" if " with " in name else "reference",
        "generators": 1,
        "replicates": len(means),
        "metrics": {"auroc": {"mean": mean, "interval_95": [mean - 0.1, mean + 0.1], "per_replicate": means}},
        "optimiser_steps": 20,
        "images_seen": {"real": 640},
        "undertrained": 0,
        "keys": keys,
    }


REAL = ["real small-cnn 1/2", "real small-cnn 2/2"]
AUGMENTED = ["augment-50 gan small-cnn 1/2", "augment-50 gan small-cnn 2/2"]
COMPARISON: dict[str, Any] = {
    "arm": "augment-50 with gan small-cnn",
    "control": "real small-cnn",
    "arm_label": "augment-50 with gan",
    "control_label": "real",
    "estimate": 0.05,
    "interval_95": [0.01, 0.09],
    "p_value": 0.02,
    "detectable_effect": 0.03,
    "arm_mean": 0.85,
    "control_mean": 0.8,
    "outcome": "improves",
    "words": "augment-50 with gan improves.",
}
REPORT: dict[str, Any] = {
    "schema": 2,
    "title": "small",
    "endpoint": {"metric": "auroc"},
    "test": {"images": 30, "patients": 20},
    "verdict": {**COMPARISON, "speaks_of": "these images"},
    "qualifications": [{"words": "The trial is small.", "kind": "small", "severity": "note", "keys": []}],
    "comparisons": [COMPARISON],
    "arms": [arm("real", REAL, [0.7, 0.9]), arm("augment-50 with gan", AUGMENTED, [0.8, 0.9])],
    "experiment": EXPERIMENT.replace("/home/mueller/anna/scans", "sha256:1234"),
}

TRIED = (
    TrialFigures(
        number=0, parameters={"learningRate": 0.1}, title="as it is written", figures=(0.6,), pruned=False, failed=""
    ),
    TrialFigures(number=1, parameters={"learningRate": 0.2}, title="", figures=(0.8,), pruned=False, failed=""),
    TrialFigures(number=2, parameters={"learningRate": 0.3}, title="", figures=(), pruned=False, failed="it diverged"),
)
CHOICE = Decision(version=1, kind="choose", best=1, objective="auroc", reference=0.9, trials=TRIED)


@dataclass(kw_only=True)
class HandMade:
    """A trial in a store, whose steps a test puts there one after another."""

    store: ArtifactStore
    uid: str = UID
    labels: list[str] = field(default_factory=list)

    def put(
        self, label: str, method: str, members: dict[str, MemberValue], request: dict[str, Any] | None = None
    ) -> None:
        put_step(self.store, label, method=method, members=members, request=request)
        self.labels.append(label)

    def file(self, *unfinished: str) -> None:
        """Files the plan: the steps that are there, and further ones."""
        file_plan(self.store, [*self.labels, *unfinished], uid=self.uid)
        self.store.put_experiment_file(self.uid, "experiment.yaml", to_yaml(parse_experiment(EXPERIMENT)).encode())

    def search(self, *, is_chosen: bool = True) -> None:
        """Two trials that gave something, one that did not, and the choice."""
        self.put("prepare the data set", "DataPreparationService/PrepareDataset", {"validation": image_set()})
        for number, rate in enumerate((0.1, 0.2)):
            about = f"gan trial {number}"
            curves = Curves(x_unit="images", x=(100, 200), series={"generator_loss": (1.0, 0.5 + number)})
            request = {
                "train": reference("prepare the data set", "train"),
                "seed": "7",
                "gan": {"learningRate": rate, "channels": [16, 32]},
            }
            self.put(
                f"train gan {about}",
                "GenerationService/TrainGenerator",
                {"curves": {"curves.json": as_json(curves)}},
                request,
            )
            self.put(
                f"sample {about}",
                "GenerationService/SampleImages",
                {"images": image_set()},
                {"generator": reference(f"train gan {about}", "generator")},
            )
            judge: dict[str, MemberValue] = {
                "training": {"training.json": as_json(training_of(0.3))},
                "validation": {"metrics.json": {"auroc": 0.6 + number / 5, "recall": {"ill": 0.5}}},
            }
            self.put(
                f"judge {about}",
                "ClassificationService/TrainClassifier",
                judge,
                {"synthetic": reference(f"sample {about}", "images")},
            )
        if not is_chosen:
            return
        told = [
            {"judged": [reference("judge gan trial 0", "validation")]},
            {"number": 1, "judged": [reference("judge gan trial 1", "validation")]},
            {"number": 2, "failed": "it diverged"},
        ]
        self.put(
            "choose the best trial of gan",
            "GenerationService/ChooseTrial",
            {"decision": {"decision.json": as_json(CHOICE)}},
            {"trials": told},
        )

    def set(self) -> None:
        """The set of the best trial's images."""
        self.put(
            "filter gan",
            "FilteringService/FilterImages",
            {"accepted": image_set(), "decisions": {"decisions.json": as_json(FILTERING)}},
            {"ratio": 1.0},
        )
        self.put(
            "assess gan",
            "FilteringService/AssessImages",
            {"quality": {"quality.json": as_json(QUALITY)}},
            {"images": reference("filter gan", "accepted")},
        )

    def classifiers(self) -> None:
        """Two arms with two replicates each."""
        for number, about in enumerate([*REAL, *AUGMENTED]):
            made: dict[str, MemberValue] = {
                "training": {"training.json": as_json(training_of(0.3 + number / 20))},
                "validation": {"metrics.json": {"auroc": 0.75}},
            }
            self.put(
                f"train {about}",
                "ClassificationService/TrainClassifier",
                made,
                {"seed": "3", "recipe": {"batchSize": 32}},
            )

    def report(self, report: dict[str, Any] = REPORT) -> None:
        """The end."""
        self.put(
            "write the report",
            "AnalysisService/WriteReport",
            {"report": {"report.json": report, "report.html": b"<!doctype html>"}},
        )

    def whole(self) -> "HandMade":
        """All of it."""
        self.search()
        self.set()
        self.classifiers()
        self.report()
        self.file()
        return self


@pytest.fixture
def trial() -> HandMade:
    """A trial with nothing done."""
    return HandMade(store=open_store("memory://"))


@pytest.fixture
def mlflow() -> Iterator[FakeMlflow]:
    """An MLflow server."""
    with fake_mlflow() as server:
        yield server
