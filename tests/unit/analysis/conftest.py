"""A trial made up in memory: predictions, curves, audits and pictures as the stages write them, without the stages."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from syntrial.documents.audit import Audit, Conflicts, Near, Resampling, Split
from syntrial.documents.decisions import CandidateCopies, ClassDecisions, Decisions
from syntrial.documents.document import as_json
from syntrial.documents.quality import Features, FrechetBesideGaussian, Memorised, PrecisionRecall, Quality
from syntrial.documents.training import ClassifierTraining, Curves, KeptCheckpoint, TrainedPhase
from syntrial.imagesets.imageset import ImageSet
from syntrial.rpc.testing import FakeContext, MemberValue, fake_key
from syntrial.v1.analysis_pb2 import (
    Cell,
    CellComparison,
    Endpoint,
    Look,
    Replicate,
    SyntheticSummary,
    WriteReportRequest,
)
from syntrial.v1.artifacts_pb2 import MemberRef

Role = CellComparison.Role
COPIES: dict[str, Any] = {
    "searched": 60,
    "rate": 0.0,
    "exact": 0,
    "threshold": 0.5,
    "quantile": 0.001,
    "calibration_images": 80,
    "calibration_share_under_threshold": 0.0,
}
Painter = Callable[[str, NDArray[Any], int], NDArray[np.uint8]]
"""Set's name, labels, channels -> images (N, H, W, C)."""


def gradients(name: str, labels: NDArray[Any], channels: int) -> NDArray[np.uint8]:
    """Images whose slope tells the class and whose noise tells the set."""
    random = np.random.default_rng(len(name))
    first = labels if labels.ndim == 1 else labels[:, 0]
    slope = np.linspace(0, 120, 12)[None, :, None] * (1 + first[:, None, None])
    pixels = np.broadcast_to(slope, (len(labels), 12, 12)) + random.uniform(0, 60, (len(labels), 12, 12))
    return np.repeat(np.clip(pixels, 0, 255).astype(np.uint8)[..., None], channels, axis=3)


@dataclass
class MadeUpTrial:
    """Collects members and the request that names them."""

    classes: tuple[str, ...] = ("normal", "pneumonia")
    channels: int = 1
    multi_label: bool = False
    test_images: int = 160
    seed: int = 0
    metric: str = "METRIC_AUROC"
    margin: float = 0.02
    paint: Painter = gradients
    inputs: dict[tuple[str, str], MemberValue] = field(default_factory=dict)
    request: WriteReportRequest = field(default_factory=WriteReportRequest)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)
        self.labels = self.draw_labels(self.test_images)
        self.patients = np.arange(self.test_images, dtype=np.int64) // 2
        self.difficulty = self.random.normal(0, 1, (self.test_images, len(self.classes)))
        self.request.title = "pneumonia"
        self.request.experiment = "apiVersion: syntrial.dev/v1alpha1\nkind: Experiment\nmetadata: {name: pneumonia}\n"
        self.request.endpoint.metric = Endpoint.Metric.Value(self.metric)
        self.request.endpoint.smallest_effect = self.margin
        self.request.looks.append(Look(number=1, evaluations=fake_key("evaluations")))
        self.request.audit.CopyFrom(self.put("data set", "audit", {"audit.json": as_json(self.audit())}))
        self.request.train.CopyFrom(self.put("data set", "train", self.image_set("real", 80)))

    def put(self, step: str, member: str, value: MemberValue) -> MemberRef:
        self.inputs[(fake_key(step), member)] = value
        return MemberRef(key=fake_key(step), member=member)

    def draw_labels(self, count: int) -> NDArray[Any]:
        if self.multi_label:
            return (self.random.random((count, len(self.classes))) < 0.3).astype(np.uint8)
        return np.arange(count, dtype=np.int64) % len(self.classes)

    def image_set(self, name: str, count: int, **origins: Sequence[str]) -> ImageSet:
        labels = self.draw_labels(count)
        return ImageSet(
            images_NHWC=self.paint(name, labels, self.channels),
            labels=labels,
            classes=self.classes,
            task="multi-label" if self.multi_label else "multi-class",
            origins=origins,
        )

    def scores(self, *, skill: float, noise: float) -> NDArray[np.float64]:
        """Probabilities of a classifier: `skill` separates the classes, `noise` is its seed's own."""
        truth = self.labels if self.multi_label else np.eye(len(self.classes))[self.labels]
        logits = skill * truth + self.difficulty + noise * self.random.normal(0, 1, self.difficulty.shape)
        if self.multi_label:
            return 1 / (1 + np.exp(-logits + 1))
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def cell(
        self,
        arm: str,
        synthetic: str = "",
        *,
        replicates: int = 3,
        generators: int = 1,
        skill: float = 2.0,
        noise: float = 0.3,
        undertrained: bool = False,
        steps: int = 500,
        classifier: str = "small-cnn",
    ) -> str:
        name = " ".join(part for part in (arm, synthetic, classifier) if part)
        cell = Cell(name=name, arm=arm, synthetic=synthetic, classifier=classifier)
        for generator in range(generators):
            for seed in range(replicates):
                step = f"{name}/{generator}/{seed}"
                training = as_json(self.training(synthetic, undertrained, steps))
                predictions: MemberValue = {
                    "scores.npy": self.scores(skill=skill, noise=noise),
                    "labels.npy": self.labels,
                    "patients.npy": self.patients,
                }
                cell.replicates.append(
                    Replicate(
                        training=self.put(f"train {step}", "training", {"training.json": training}),
                        predictions=self.put(f"evaluate {step}", "predictions", predictions),
                        generator=generator,
                        seed=seed,
                    )
                )
        self.request.cells.append(cell)
        return name

    def compare(self, arm: str, control: str, role: Any, **options: Any) -> None:
        self.request.comparisons.append(CellComparison(arm=arm, control=control, role=role, **options))

    def synthetic(self, name: str, *, method: str = "diffusion", control: bool = False, **options: Any) -> None:
        rejected = options.get("rejected", 20)
        copies = options.get("copies", 0)
        summary = SyntheticSummary(
            name=name, method=method, proven_lineage=options.get("proven", True), control=control
        )
        summary.accepted.append(self.put(f"filter {name}", "accepted", self.image_set(name, 60)))
        reasons = ["centroid", "confidence"]
        rejects = self.image_set(name, rejected, reason=[reasons[index % 2] for index in range(rejected)])
        summary.rejected.append(self.put(f"filter {name}", "rejected", rejects))
        summary.decisions.append(
            self.put(f"filter {name}", "decisions", {"decisions.json": as_json(self.decisions(rejected))})
        )
        quality = as_json(self.quality(options.get("frechet", 0.4), copies=copies))
        images = self.paint(name, np.zeros(6, dtype=np.int64), self.channels)
        pairs = images.reshape(3, 2, *images.shape[1:])
        summary.quality.append(self.put(f"assess {name}", "quality", {"quality.json": quality, "copies.npy": pairs}))
        if options.get("curves", True):
            summary.curves.append(self.put(f"generator {name}", "curves", {"curves.json": as_json(self.curves())}))
        if method == "imported":
            audit = replace(self.audit(), warnings=("every image is of one class",))
            summary.audit.CopyFrom(self.put(f"import {name}", "audit", {"audit.json": as_json(audit)}))
        self.request.synthetic.append(summary)

    def audit(self) -> Audit:
        def split(count: int, share: float) -> Split:
            first = round(count * share)
            rest = [(count - first) // (len(self.classes) - 1)] * (len(self.classes) - 1)
            return Split(
                count=count,
                patients=count // 2,
                patients_known=True,
                classes=dict(zip(self.classes, [first, *rest], strict=True)),
                source="made up",
                split_by="source",
            )

        return Audit(
            version=1,
            source="made up",
            classes=self.classes,
            splits={"train": split(80, 0.26), "validation": split(40, 0.26), "test": split(self.test_images, 0.375)},
            train_fraction=1.0,
            leaks=(),
            near=Near(threshold=0.1),
            pictures=(),
            shifts=(),
            conflicts=Conflicts(count=0, examples=()),
            ranges={},
            unreadable=(),
            resampling=Resampling(sides=(12, 12), to=12, channels=self.channels, method="none", cropped=0),
            notes=(),
            warnings=(),
        )

    def training(self, synthetic: str, undertrained: bool, steps: int) -> ClassifierTraining:
        x = tuple(range(50, 501, 50))
        fall = [float(np.exp(-step / 200) + self.random.normal(0, 0.01)) for step in x]
        series = {
            "train_loss": tuple(fall),
            "validation_loss": tuple(value + 0.1 for value in fall),
            "validation_auroc": tuple(1 - 0.4 * value for value in fall),
        }
        phase = TrainedPhase(
            steps=steps,
            images_seen={"real": 16000, "synthetic": 16000 if synthetic else 0},
            pool={"real": 80, "duplicated": 0, "synthetic": 60 if synthetic else 0},
            synthetic_missing=0,
            learning_rate=0.003,
        )
        return ClassifierTraining(
            version=1,
            curves=Curves(x_unit="steps", x=x, series=series),
            phases=(phase,),
            undertrained=undertrained,
            convergence=None,
            checkpoint=KeptCheckpoint(choice="last-ema", step=500),
        )

    def curves(self) -> Curves:
        x = tuple(range(0, 20000, 500))
        loss = tuple(float(0.3 + np.exp(-step / 2000) + self.random.normal(0, 0.02)) for step in x)
        return Curves(x_unit="images", x=x, series={"loss": loss})

    def decisions(self, rejected: int) -> Decisions:
        reasons = {"centroid": (rejected + 1) // 2, "confidence": rejected // 2} if rejected else {}
        first, *others = (
            ClassDecisions(name=name, candidates=30, quota=30, accepted=30, rejected={}) for name in self.classes
        )
        return Decisions(
            version=1,
            task="multi-label" if self.multi_label else "multi-class",
            classes=self.classes,
            candidates=30 * len(self.classes) + rejected,
            accepted=30 * len(self.classes),
            rejected=reasons,
            rejected_pictures=rejected,
            repeated=0,
            filters=(),
            copies=CandidateCopies(**COPIES, count=0, removed=True),
            ratio=1.0,
            balance="BALANCE_MATCH",
            by_class=(replace(first, candidates=30 + rejected, rejected=reasons), *others),
            score_columns=("copy",),
        )

    def inception(self, images: int) -> dict[str, Any]:
        """FID and KID, on so many images of each kind."""
        return {
            "network": {"model": "inception-v3 of 2015-12-05", "weights": f"sha256:{'a' * 64}", "side": 299},
            "feature_size": 2_048,
            "fid": {"sample_size": images, "synthetic_real": 120.0, "floor": 80.0, "ratio_to_floor": 1.5},
            "kid": {"sample_size": images, "synthetic_real": 0.031, "floor": 0.0001, "floor_range": [-0.0021, 0.0023]},
        }

    def quality(self, frechet: float, *, copies: int) -> Quality:
        return Quality(
            version=1,
            images=60,
            real_images=80,
            features=Features(size=16, normalisation="none"),
            frechet=FrechetBesideGaussian(
                sample_size=40,
                synthetic_real=frechet,
                floor=0.05,
                ratio_to_floor=frechet / 0.05,
                gaussian_real=2.5,
                gaussian_ratio_to_floor=50.0,
            ),
            frechet_by_class={},
            precision_recall=PrecisionRecall(
                precision=0.71, recall=0.64, real_precision=0.8, neighbours=3, sample_size=40
            ),
            memorised=Memorised(**COPIES, count=copies, pairs=()),
            repeated=0,
        )

    def small(self, **options: Any) -> "MadeUpTrial":
        """A real arm, a primary arm, an exploratory one and the controls that a plan adds."""
        replicates = options.pop("replicates", 3)
        real = self.cell("real", replicates=replicates)
        primary = self.cell("augment-100", "edm", replicates=replicates, **options)
        alone = self.cell("synthetic", "edm", replicates=min(replicates, 2), skill=1.6)
        shuffled = self.cell("augment-100-shuffled", "edm", replicates=min(replicates, 2), skill=0.4)
        pca = self.cell("augment-100", "pca", replicates=min(replicates, 2))
        self.compare(primary, real, Role.ROLE_PRIMARY)
        self.compare(alone, real, Role.ROLE_EXPLORATORY)
        self.compare(shuffled, real, Role.ROLE_CONTROL, shuffled_labels=True)
        self.compare(pca, real, Role.ROLE_CONTROL)
        return self

    def networks(self, **options: Any) -> "MadeUpTrial":
        """Three classifiers on real images alone, the second compared with the first."""
        for classifier in ("small-cnn", "resnet18", "vit"):
            self.cell("real", classifier=classifier, **(options if classifier == "resnet18" else {}))
        self.compare("real resnet18", "real small-cnn", Role.ROLE_PRIMARY)
        self.compare("real vit", "real small-cnn", Role.ROLE_EXPLORATORY)
        return self

    def context(self, **options: Any) -> FakeContext:
        return FakeContext(inputs=self.inputs, **options)


@pytest.fixture
def made_up_trial() -> type[MadeUpTrial]:
    """The builder of trials."""
    return MadeUpTrial
