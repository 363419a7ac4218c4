"""Training of the small network: images a second against the usual loop, on this machine and in this run.

The usual loop is a torch DataLoader over PIL images with torchvision's transforms, the better of 0 and 2 workers, and
the same network, optimiser and batch size. Both take the same images and as many steps; the usual loop moves the images
to the device and trains, with nothing else (no moving average, no counting of origins). Wall time, best of the rounds.

    python benchmarks/classifier_training.py [--data pneumoniamnist.npz] [--threads 1]

Asks for a ratio of at least 1.5 on a CPU and 3 on a GPU, and ends with 1 where it is less.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from syntrial_classification.models import build_model, model_spec
from syntrial_classification.phases import plan_training
from syntrial_classification.table import normalisation, pick_device, reproducible
from syntrial_classification.training import Training
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from syntrial.artifacts.imagesets import ImageSet
from syntrial.presets.classifiers import default_learning_rate, recipe_preset
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.classification_pb2 import ClassifierModel, TrainClassifierRequest, TrainingPhase

MODEL = "small-cnn"
RATIO_CPU, RATIO_GPU = 1.5, 3.0


class Pictures(Dataset[tuple[torch.Tensor, int]]):
    """PIL images, transformed one at a time."""

    def __init__(self, images: ImageSet, *, shift: int) -> None:
        found = normalisation(images.images_NHWC)
        self.pictures = [Image.fromarray(image.squeeze()) for image in images.images_NHWC]
        self.labels = images.labels.tolist()
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

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.pictures[index]), self.labels[index]


def small_network(images: ImageSet) -> nn.Module:
    """The network of the preset with its initial weights."""
    _, side, _, channels = images.images_NHWC.shape
    spec = model_spec(ClassifierModel(name=MODEL), classes=len(images.classes), channels=channels, side=side)
    return build_model(spec, seed=0)


def usual_rate(images: ImageSet, *, steps: int, workers: int) -> float:
    """Images a second of the usual loop, after one batch that starts the workers."""
    recipe, device = recipe_preset(MODEL), pick_device()
    model = small_network(images).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=default_learning_rate(MODEL), weight_decay=recipe.weight_decay)
    loader = DataLoader(
        Pictures(images, shift=recipe.augment_shift),
        batch_size=recipe.batch_size,
        shuffle=True,
        num_workers=workers,
        drop_last=True,
        pin_memory=device.type == "cuda",
        persistent_workers=workers > 0,
    )
    done, start = -1, 0.0
    while True:
        for batch, targets in loader:
            loss = nn.functional.cross_entropy(model(batch.to(device)), targets.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            done += 1
            if done == 0:
                start = _now(device)
            if done == steps:
                return steps * recipe.batch_size / (_now(device) - start)


def our_rate(images: ImageSet, *, steps: int) -> float:
    """Images a second of Syntrial's loop, with its moving average and its counts, after one step."""
    recipe, device = recipe_preset(MODEL), pick_device()
    recipe.validations = 1
    request = TrainClassifierRequest(
        train=MemberRef(key="train"),
        phases=[TrainingPhase(real=1, steps=steps + 2, learning_rate=default_learning_rate(MODEL))],
        recipe=recipe,
    )
    training = Training(
        small_network(images),
        plan=plan_training(request, train=images, synthetic=None),
        validation=images.take(np.arange(min(len(images), 64))),
        recipe=recipe,
        constants=normalisation(images.images_NHWC),
        seed=0,
        device=device,
    )
    training.take_step()
    start = _now(device)
    for _ in range(steps):
        training.take_step()
    return steps * recipe.batch_size / (_now(device) - start)


def load(path: Path | None) -> ImageSet:
    """The training split of a MedMNIST file, or noise of PneumoniaMNIST's size where none is given."""
    if path is None:
        rng = np.random.default_rng(0)
        images, labels = rng.integers(0, 256, (4708, 28, 28, 1)).astype(np.uint8), rng.integers(0, 2, 4708)
    else:
        with np.load(path, allow_pickle=False) as file:
            images, labels = file["train_images"], file["train_labels"].reshape(-1).astype(np.int64)
        images = images[..., None] if images.ndim == 3 else images
    classes = tuple(str(k) for k in range(int(labels.max()) + 1))
    return ImageSet(images_NHWC=images, labels=labels, classes=classes, task="multi-class", origins={})


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def main() -> int:
    """Measures, prints, and says whether the ratio is as asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, help="a MedMNIST file; default: noise of the same size")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    images = load(options.data)
    usual: dict[int, list[float]] = {0: [], 2: []}
    ours = []
    with reproducible(options.threads):
        for _ in range(options.rounds):
            for workers, rates in usual.items():
                rates.append(usual_rate(images, steps=options.steps, workers=workers))
            ours.append(our_rate(images, steps=options.steps))
    for workers, rates in usual.items():
        print(f"DataLoader, {workers} workers  {max(rates):8.0f} images/s")
    print(f"Syntrial               {max(ours):8.0f} images/s")
    ratio = max(ours) / max(max(rates) for rates in usual.values())
    asked = RATIO_GPU if pick_device().type == "cuda" else RATIO_CPU
    print(f"ratio {ratio:.2f} (asked: at least {asked}) on {pick_device().type}, {options.threads} thread(s)")
    return 0 if ratio >= asked else 1


if __name__ == "__main__":
    sys.exit(main())
