"""The images of a training or a prediction, resident on the device as uint8."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from syntrial.imagesets.imageset import ImageSet
from syntrial.v1.classification_pb2 import TrainingRecipe
from syntrial_classification.augment import normalise, resized, scaled

IMAGENET_MEAN: Final = tuple(255 * value for value in (0.485, 0.456, 0.406))
IMAGENET_STD: Final = tuple(255 * value for value in (0.229, 0.224, 0.225))
"""Of each channel, at scale 0 to 255, as torchvision and timm have them."""

MICRO_BATCH = 256
"""Images computed at a time in predictions: a constant, since it shows in the last bits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Normalisation:
    """Mean and standard deviation of each channel of the real training images, at scale 0 to 255."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def tensors(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Both as float32 (C,)."""
        return torch.tensor(self.mean, device=device), torch.tensor(self.std, device=device)


def normalisation(images_NHWC: npt.NDArray[np.uint8]) -> Normalisation:
    """Exact moments of each channel, from counts of its 256 values; a constant channel gets the deviation 1."""
    means, stds = [], []
    values = np.arange(256, dtype=np.float64)
    for channel in range(images_NHWC.shape[3]):
        counts = np.bincount(np.ascontiguousarray(images_NHWC[..., channel]).reshape(-1), minlength=256)
        total = counts.sum()
        mean = float((counts * values).sum() / total)
        std = float(np.sqrt((counts * (values - mean) ** 2).sum() / total))
        means.append(mean)
        stds.append(std or 1.0)
    return Normalisation(mean=tuple(means), std=tuple(stds))


def normalisation_of(images_NHWC: npt.NDArray[np.uint8], *, recipe: TrainingRecipe) -> Normalisation:
    """As the recipe says: measured on the training images, uint8 N×H×W×C, or ImageNet's constants."""
    if recipe.normalisation != TrainingRecipe.NORMALISATION_IMAGENET:
        return normalisation(images_NHWC)
    if images_NHWC.shape[3] == 1:
        # A network whose first convolution is summed over the colours sees the mean of the three.
        return Normalisation(mean=(float(np.mean(IMAGENET_MEAN)),), std=(float(np.mean(IMAGENET_STD)),))
    return Normalisation(mean=IMAGENET_MEAN, std=IMAGENET_STD)


def resident(parts: tuple[npt.NDArray[np.uint8], ...], *, device: torch.device, border: int = 0) -> Tensor:
    """The parts, uint8 N×H×W×C each, as one tensor on the device, copied once; `border` pixels repeat each edge."""
    height, width, channels = parts[0].shape[1:]
    shape = (sum(map(len, parts)), height + 2 * border, width + 2 * border, channels)
    table = torch.empty(shape, dtype=torch.uint8, device=device)
    sides = ((0, 0), (border, border), (border, border), (0, 0))
    start = 0
    for part in parts:
        for chunk in range(0, len(part), 4096):
            piece = np.pad(part[chunk : chunk + 4096], sides, mode="edge")
            table[start : start + len(piece)] = torch.from_numpy(piece).to(device)
            start += len(piece)
    return table


def targets_of(labels: npt.NDArray[np.generic], *, device: torch.device) -> Tensor:
    """Labels as the loss wants them: int64 (N,), or float32 (N, K) for several labels an image."""
    array = labels.astype(np.int64) if labels.ndim == 1 else labels.astype(np.float32)
    return torch.from_numpy(array).to(device)


@torch.inference_mode()
def predict(
    model: nn.Module, images_NHWC: Tensor, *, constants: Normalisation, side: int | None = None
) -> Iterator[Tensor]:
    """Logits, float32 (B, K), of the images in their order, `MICRO_BATCH` at a time; the model in evaluation mode.

    Images of another side than `side`, where given, are brought to it first.
    """
    mean_C, std_C = constants.tensors(images_NHWC.device)
    model.eval()
    for start in range(0, len(images_NHWC), MICRO_BATCH):
        batch = images_NHWC[start : start + MICRO_BATCH]
        if side is None or batch.shape[1:3] == (side, side):
            yield model(normalise(batch, mean_C, std_C)).float()
        else:
            yield model(scaled(resized(batch, side=side), mean_C, std_C)).float()


def load_images(image_set: ImageSet, *, device: torch.device) -> Tensor:
    """An image set's images as a resident tensor."""
    return resident((image_set.images_NHWC,), device=device)
