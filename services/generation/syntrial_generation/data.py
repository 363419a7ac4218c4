"""The training split as generators see it: pixels in [-1, 1], and labels as vectors."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from syntrial.documents.generator import SubjectDescription
from syntrial.errors import UserError
from syntrial.imagesets.imageset import MULTI_LABEL, ImageSet


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """What a generator makes: written into `generator.json`, compared when it samples."""

    classes: tuple[str, ...]
    task: str
    """"multi-class" or "multi-label"."""
    height: int
    width: int
    channels: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        return self.height, self.width, self.channels

    @classmethod
    def of(cls, images: ImageSet) -> "Subject":
        """The subject of a training split."""
        _, height, width, channels = images.images_NHWC.shape
        return cls(classes=images.classes, task=images.task, height=height, width=width, channels=channels)

    def json(self) -> dict[str, object]:
        """As in `generator.json`."""
        return {"classes": list(self.classes), "task": self.task, "shape": list(self.shape)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Subject":
        """The inverse of `json`."""
        height, width, channels = value["shape"]
        return cls(classes=tuple(value["classes"]), task=value["task"], height=height, width=width, channels=channels)

    @classmethod
    def described(cls, subject: SubjectDescription) -> "Subject":
        """As a stranger's `generator.json` has it, once that was checked."""
        height, width, channels = subject.shape
        return cls(classes=subject.classes, task=subject.task, height=height, width=width, channels=channels)


def label_vectors(images: ImageSet) -> NDArray[np.float32]:
    """float32 (N, K): one-hot rows for one class an image, rows of 0 and 1 for several labels."""
    if images.task == MULTI_LABEL:
        return images.labels.astype(np.float32)
    return one_hot(images.labels, classes=len(images.classes))


def one_hot(labels: NDArray[np.int64], *, classes: int) -> NDArray[np.float32]:
    """float32 (N, classes)."""
    return np.eye(classes, dtype=np.float32)[labels]


def to_unit_range(images_NHWC: NDArray[np.uint8]) -> Tensor:
    """float32 NCHW in [-1, 1]."""
    images = torch.from_numpy(np.ascontiguousarray(images_NHWC)).permute(0, 3, 1, 2)
    return images.to(torch.float32).div_(127.5).sub_(1.0).contiguous()


def to_pixels(images_NCHW: Tensor) -> NDArray[np.uint8]:
    """uint8 N×H×W×C: rounded to the nearest of the 256 levels of [-1, 1], and clipped."""
    levels = images_NCHW.detach().to("cpu").add(1.0).mul(127.5).round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(levels.permute(0, 2, 3, 1).numpy())


def check_training_split(images: ImageSet) -> None:
    """Raises UserError for a split that no generator can learn from."""
    if len(images) < 2:
        raise UserError(
            field="train",
            rule="a generator needs at least 2 training images",
            received=f"{len(images)}",
            remedy="Use a larger training split or a larger share of it.",
        )
