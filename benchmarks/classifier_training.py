"""Training of classifiers: images a second against the usual loop, on this machine and in this run, a row a network.

The usual loop is a torch DataLoader over PIL images with torchvision's transforms, with 0, 2, 8 and 16 workers (on a
CPU at most as many as it has cores, or 2), and the same network, optimiser and batch size; in three forms: as it is,
under autocast, and as a careful user has it, under autocast with channels last and a fused optimiser. Ours is in
float32 and in bfloat16, as the recipe's `precision` says. All take the same images and as many steps; the usual loop
moves the images to the device and trains, with nothing else (no moving average, no counting of origins). Rounds
alternate; the best of each counts.

    python benchmarks/classifier_training.py [--data pneumoniamnist.npz] [--rows small-cnn,resnet50] [--rounds 2]

Four ratios: of float32 to float32, of bfloat16 to autocast, and of the better of ours to the careful loop and to the
usual one in the better of its precisions, which is the one that is asked for. On a CPU it is that of images per CPU
second, an operation having one thread as it has in a trial: that keeps every core busy with trainings, so a worker's
seconds are taken from another training, and a machine that does other work does not decide. The wall clock's rates
stand beside it, where workers have the other cores for nothing. On a GPU the wall clock's ratio counts. Where the
network takes nearly all of the time, on a CPU from ResNet-18 on, all loops wait for the same products: there ours is
not to be slower. Ends with 1 where a row's ratio is less than asked.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import torch
from PIL import Image
from syntrial_classification.models import build_model, model_spec
from syntrial_classification.phases import plan_training
from syntrial_classification.table import normalisation
from syntrial_classification.training import Training
from syntrial_training import compute
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from syntrial.experiment.presets.classifiers import default_learning_rate, recipe_preset
from syntrial.imagesets.imageset import MULTI_CLASS, MULTI_LABEL, ImageSet
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.classification_pb2 import ClassifierModel, TrainClassifierRequest, TrainingPhase, TrainingRecipe

SMALL = "small-cnn"


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A network, the images that it is trained on, and what is asked of the ratio."""

    model: str
    side: int = 28
    channels: int = 1
    labels: int = 0
    """Of several labels an image, their number; 0: one class."""
    batch: int | None = None
    """None: that of the model's recipe."""
    steps: int
    rounds: int = 2
    images: int
    """Drawn, where no file is given."""
    asked_cpu: float
    asked_gpu: float

    @property
    def name(self) -> str:
        """In the table."""
        return f"{self.model}, {self.side} px" + (f", {self.labels} labels" if self.labels else "")


ROWS = (
    Row(model=SMALL, steps=20, rounds=6, images=4708, asked_cpu=1.5, asked_gpu=3.0),
    Row(model=SMALL, labels=14, steps=20, rounds=6, images=4708, asked_cpu=1.5, asked_gpu=3.0),
    Row(model="resnet18", batch=32, steps=2, images=512, asked_cpu=1.0, asked_gpu=3.0),
    # Batches of 8: on a CPU a step takes seconds, and an image's share of it is that of larger ones.
    Row(model="resnet50", side=224, channels=3, batch=8, steps=2, images=32, asked_cpu=1.0, asked_gpu=1.3),
    Row(model="vit_small_patch16_224", side=224, channels=3, batch=8, steps=2, images=32, asked_cpu=1.0, asked_gpu=1.3),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """Images in a second of the wall clock, and in a second of CPU time of this process and its workers."""

    wall: float
    cpu: float

    def better(self, other: "Rate | None") -> "Rate":
        """The larger of each."""
        return self if other is None else Rate(wall=max(self.wall, other.wall), cpu=max(self.cpu, other.cpu))


class Watch:
    """Both clocks, from when it is made."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.wall, self.cpu = device, _now(device), _cpu_seconds()

    def rate(self, images: int) -> Rate:
        """Of so many images since."""
        return Rate(wall=images / (_now(self.device) - self.wall), cpu=images / (_cpu_seconds() - self.cpu))


class Pictures(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """PIL images, transformed one at a time."""

    def __init__(self, images: ImageSet, *, shift: int) -> None:
        found = normalisation(images.images_NHWC)
        self.pictures = [Image.fromarray(image.squeeze()) for image in images.images_NHWC]
        self.labels = torch.from_numpy(images.labels)
        if images.labels.ndim == 2:
            self.labels = self.labels.float()
        share = shift / images.images_NHWC.shape[1]
        self.transform = transforms.Compose(
            [
                transforms.RandomAffine(0, translate=(share, share)),
                transforms.ToTensor(),
                transforms.Normalize([m / 255 for m in found.mean], [s / 255 for s in found.std]),
            ]
        )

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.transform(self.pictures[index]), self.labels[index]


def network(row: Row, images: ImageSet) -> nn.Module:
    """The row's network with its initial weights."""
    _, side, _, channels = images.images_NHWC.shape
    spec = model_spec(ClassifierModel(name=row.model), classes=len(images.classes), channels=channels, side=side)
    return build_model(spec, seed=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Usual:
    """A form of the usual loop."""

    name: str
    autocast: bool = False
    careful: bool = False
    """Channels last, and a fused optimiser."""


FORMS = (
    Usual(name="DataLoader"),
    Usual(name="DataLoader, autocast", autocast=True),
    Usual(name="DataLoader, careful", autocast=True, careful=True),
)
WORKERS = (0, 2, 8, 16)


def recipe_of(row: Row) -> TrainingRecipe:
    """The recipe of the model's family, with the row's batches."""
    recipe = recipe_preset(row.model)
    recipe.batch_size = row.batch or recipe.batch_size
    recipe.validations = 1
    return recipe


def usual_rate(row: Row, images: ImageSet, *, workers: int, form: Usual) -> Rate:
    """The usual loop, after one batch that starts the workers."""
    recipe, device, steps = recipe_of(row), compute.device(), row.steps
    memory = torch.channels_last if form.careful else torch.contiguous_format
    model = network(row, images).to(device, memory_format=memory).train()
    rate, fused = default_learning_rate(row.model), True if form.careful else None
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=recipe.weight_decay, fused=fused)
    criterion = nn.BCEWithLogitsLoss() if row.labels else nn.CrossEntropyLoss()
    loader = DataLoader(
        Pictures(images, shift=recipe.augment_shift),
        batch_size=recipe.batch_size,
        shuffle=True,
        num_workers=workers,
        drop_last=True,
        pin_memory=device.type == "cuda",
        persistent_workers=workers > 0,
    )
    done, watch = -1, Watch(device)
    while True:
        for batch, targets in loader:
            sent = batch.to(device, memory_format=memory, non_blocking=True)
            with torch.autocast(device.type, torch.bfloat16, enabled=form.autocast):
                loss = criterion(model(sent), targets.to(device, non_blocking=True))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            done += 1
            if done == 0:
                watch = Watch(device)
            if done == steps:
                return watch.rate(steps * recipe.batch_size)


def our_rate(row: Row, images: ImageSet, *, precision: TrainingRecipe.Precision) -> Rate:
    """Syntrial's loop, with its moving average and its counts, after one step."""
    recipe, device, steps = recipe_of(row), compute.device(), row.steps
    recipe.precision = precision
    request = TrainClassifierRequest(
        train=MemberRef(key="train"),
        phases=[TrainingPhase(real=1, steps=steps + 2, learning_rate=default_learning_rate(row.model))],
        recipe=recipe,
    )
    training = Training(
        network(row, images),
        plan=plan_training(request, train=images, synthetic=None),
        validation=images.take(np.arange(2)),
        recipe=recipe,
        constants=normalisation(images.images_NHWC),
        seed=0,
        device=device,
    )
    training.step(0)
    watch = Watch(device)
    for number in range(steps):
        training.step(number + 1)
    return watch.rate(steps * recipe.batch_size)


def images_of(row: Row, path: Path | None) -> ImageSet:
    """The training split of a MedMNIST file where it has the row's images, else noise."""
    if path is not None and not row.labels and (row.side, row.channels) == (28, 1):
        with np.load(path, allow_pickle=False) as file:
            images, labels = file["train_images"], file["train_labels"].reshape(-1).astype(np.int64)
        images = images[..., None] if images.ndim == 3 else images
    else:
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (row.images, row.side, row.side, row.channels)).astype(np.uint8)
        several = rng.integers(0, 2, (row.images, row.labels)).astype(np.uint8)
        labels = several if row.labels else rng.integers(0, 2, row.images)
    count = row.labels or int(labels.max()) + 1
    classes = tuple(str(k) for k in range(count))
    task = MULTI_LABEL if row.labels else MULTI_CLASS
    return ImageSet(images_NHWC=images, labels=labels, classes=classes, task=task, origins={})


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def _cpu_seconds() -> float:
    spent = psutil.Process().children(recursive=True)
    return time.process_time() + sum(worker.cpu_times().user + worker.cpu_times().system for worker in spent)


def measure(row: Row, images: ImageSet, *, rounds: int) -> float:
    """Prints the row's rates; gives the ratio to the usual loop that counts on this device."""
    is_gpu = compute.device().type == "cuda"
    cores = os.cpu_count() or 1
    workers = [count for count in WORKERS if is_gpu or count <= max(2, cores)]
    loops: dict[str, Callable[[], Rate]] = {
        f"{form.name}, {count} workers": partial(usual_rate, row, images, workers=count, form=form)
        for form in FORMS
        for count in workers
    }
    loops |= {
        f"Syntrial, {name}": partial(our_rate, row, images, precision=precision)
        for name, precision in (
            ("float32", TrainingRecipe.PRECISION_FLOAT32),
            ("bfloat16", TrainingRecipe.PRECISION_BFLOAT16),
        )
    }
    best: dict[str, Rate] = {}
    with compute.policy():
        for _ in range(rounds or row.rounds):
            for name, loop in loops.items():
                best[name] = loop().better(best.get(name))
    print(f"{row.name:35} images/s   images per CPU second")
    for name, rate in best.items():
        print(f"  {name:33}{rate.wall:8.2f}{rate.cpu:14.2f}")
    asked = row.asked_gpu if is_gpu else row.asked_cpu
    ours = [f"Syntrial, {name}" for name in ("float32", "bfloat16")]
    usual, autocast, careful = ([f"{form.name}, {count} workers" for count in workers] for form in FORMS)
    ratio = 0.0
    for words, mine, others in (
        ("float32 to float32", ours[:1], usual),
        ("bfloat16 to autocast", ours[1:], autocast),
        ("best to the careful loop", ours, careful),
        ("best to the usual loop", ours, usual + autocast),
    ):
        wall, cpu = (
            max(getattr(best[name], clock) for name in mine) / max(getattr(best[name], clock) for name in others)
            for clock in ("wall", "cpu")
        )
        ratio = wall if is_gpu else cpu
        print(f"  ratio, {words:26}{wall:8.2f}{cpu:14.2f}", flush=True)
    print(f"  asked of the last: {asked}", flush=True)
    return ratio / asked


def main() -> int:
    """Measures, prints, and says whether the ratios are as asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, help="a MedMNIST file of 28 px; default: noise of the same size")
    parser.add_argument("--rows", default="", help="models, by commas; default: all")
    parser.add_argument("--rounds", type=int, default=0, help="of each loop; default: those of the row")
    options = parser.parse_args()
    chosen = options.rows.split(",") if options.rows else [row.model for row in ROWS]
    kind = compute.device().type
    print(f"{kind}, an operation has one thread" if kind == "cpu" else torch.cuda.get_device_name())
    if kind == "cpu":
        print("GPU rows: not measured")
    shares = [measure(row, images_of(row, options.data), rounds=options.rounds) for row in ROWS if row.model in chosen]
    return 0 if shares and min(shares) >= 1 else 1


if __name__ == "__main__":
    sys.exit(main())
