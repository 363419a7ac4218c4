"""The pca family: a Gaussian in the principal components of each class, the baseline that a generator must beat.

Fitted in seconds, in float64. A sample is the class's mean plus, for each component kept, a normal number times the
component's standard deviation. Images of several labels have no classes: there, one Gaussian describes what is left
after a least-squares prediction of the image from its labels.
"""

from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from syntrial_training.tensors import from_bytes, to_bytes

from syntrial.documents.generator import WEIGHTS
from syntrial.errors import UserError
from syntrial.imagesets.imageset import MULTI_LABEL, ImageSet
from syntrial.rpc.context import StepContext
from syntrial.v1.generation_pb2 import PcaConfig
from syntrial_generation.checks import Checks
from syntrial_generation.curves import Curves
from syntrial_generation.data import Subject, label_vectors, to_pixels
from syntrial_generation.family import Family
from syntrial_generation.parts import WHOLE, Part
from syntrial_generation.streams import item_stream


def check_pca(config: PcaConfig, _images: ImageSet) -> None:
    """Raises UserError for an impossible share of variance."""
    checks = Checks("pca")
    checks.need(
        0 < config.explained_variance <= 1,
        "explained_variance",
        "must lie in (0, 1]",
        config.explained_variance,
        "Give a share, for example 0.95.",
    )
    checks.finish()


def train_pca(
    images: ImageSet, config: PcaConfig, *, seed: int, context: StepContext, part: Part = WHOLE
) -> tuple[dict[str, bytes], dict[str, Any], Curves]:
    """Fits; returns the components as safetensors, settings, and curves (explained variance by component)."""
    del seed, part  # Fitting draws nothing at random, and has no steps.
    tensors: dict[str, torch.Tensor] = {}
    groups = _groups(images)
    curves = Curves(images=1)
    kept: list[int] = []
    for number, (rows, predictors) in enumerate(groups):
        pixels = images.images_NHWC[rows].reshape(len(rows), -1).astype(np.float64) / 127.5 - 1
        coefficients, residuals = _regress(pixels, predictors)
        components, deviations, shares = principal_components(
            residuals, explained_variance=config.explained_variance, limit=config.components
        )
        tensors[f"{number}/coefficients"] = torch.from_numpy(coefficients)
        tensors[f"{number}/components"] = torch.from_numpy(components.astype(np.float32))
        tensors[f"{number}/deviations"] = torch.from_numpy(deviations)
        kept.append(len(deviations))
        curves.series[f"explained_variance_{number}"] = shares.tolist()
        context.progress(number + 1, total=len(groups), unit="classes", activity="fitting")
    curves.x = list(range(1, max(kept, default=0) + 1))
    for name, values in curves.series.items():
        curves.series[name] = values + [values[-1] if values else 1.0] * (len(curves.x) - len(values))
    return {WEIGHTS: to_bytes(tensors)}, {"components": kept}, curves


class PcaSampling:
    """Fitted Gaussians ready to sample."""

    def __init__(self, weights: bytes, settings: dict[str, Any], *, subject: Subject, sampler: None = None) -> None:
        del settings, sampler  # The tensors say all.
        self._tensors = {name: tensor.numpy() for name, tensor in from_bytes(weights).items()}
        self._subject = subject

    def images(self, labels_NK: NDArray[np.float32], *, seed: int, label: int, indices: range) -> NDArray[np.uint8]:
        """uint8 N×H×W×C: synthetic images `indices` of class `label`, of which `labels_NK` are the label vectors."""
        subject = self._subject
        several = subject.task == MULTI_LABEL
        group = 0 if several else label
        deviations = self._tensors[f"{group}/deviations"]
        ones = np.ones((len(indices), 1))
        predictors = np.concatenate([ones, labels_NK], axis=1) if several else ones
        scores = np.stack(
            [
                item_stream("pca", seed=seed, label=label, index=index).standard_normal(len(deviations))
                for index in indices
            ]
        )
        mean = predictors @ self._tensors[f"{group}/coefficients"]
        pixels = mean + (scores * deviations) @ self._tensors[f"{group}/components"].astype(np.float64)
        shape = (len(indices), subject.height, subject.width, subject.channels)
        return to_pixels(torch.from_numpy(pixels.reshape(shape)).permute(0, 3, 1, 2))


def principal_components(
    centred_ND: NDArray[np.float64], *, explained_variance: float, limit: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Components (P, D) as orthonormal rows, standard deviations (P,) and cumulative shares of the variance (P,).

    As many components as explain the share asked for, but no more than `limit` where that is above 0; none where the
    rows do not vary. Covariances are divided by N - 1.
    """
    count, width = centred_ND.shape
    if count < 2:
        return np.zeros((0, width)), np.zeros(0), np.zeros(0)
    # The smaller of the two Gram matrices: a class may have fewer images than pixels.
    if width <= count:
        values, vectors = np.linalg.eigh(centred_ND.T @ centred_ND / (count - 1))
        rows = vectors.T[::-1]
        values = values[::-1]
    else:
        values, left = np.linalg.eigh(centred_ND @ centred_ND.T / (count - 1))
        values, left = values[::-1], left[:, ::-1]
        sound = values > values[0] * 1e-10
        values, left = values[sound], left[:, sound]
        rows = left.T @ centred_ND / np.sqrt(np.maximum(values, 1e-300) * (count - 1))[:, None]
    sound = values > max(float(values[0]) if len(values) else 0.0, 0.0) * 1e-10
    values, rows = values[sound], rows[sound]
    if not len(values):
        return np.zeros((0, width)), np.zeros(0), np.zeros(0)
    shares = np.cumsum(values) / values.sum()
    kept = int(np.searchsorted(shares, explained_variance - 1e-12)) + 1
    kept = min(kept, len(values), limit or len(values))
    return rows[:kept], np.sqrt(values[:kept]), shares[:kept]


def _groups(images: ImageSet) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Rows and predictors (N, Q) of each Gaussian: one for each class, or one for all where labels are several."""
    if images.task == MULTI_LABEL:
        rows = np.arange(len(images))
        return [(rows, np.concatenate([np.ones((len(rows), 1)), label_vectors(images)], axis=1))]
    groups = []
    for number in range(len(images.classes)):
        rows = np.flatnonzero(images.labels == number)
        if len(rows) == 1:
            raise UserError(
                field="train",
                rule="pca needs at least 2 training images of each class",
                received=f"1 image of class {images.classes[number]!r}",
                remedy="Use a larger training split, or leave the class out with `classMap`.",
            )
        groups.append((rows, np.ones((len(rows), 1))))
    return groups


def _regress(
    pixels: NDArray[np.float64], predictors: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coefficients (Q, D) of the least-squares prediction, and what it leaves; for one constant predictor, the mean."""
    if not len(pixels):
        return np.zeros((predictors.shape[1], pixels.shape[1])), pixels
    if predictors.shape[1] == 1:
        coefficients = pixels.mean(axis=0, keepdims=True)
    else:
        coefficients = np.linalg.lstsq(predictors, pixels, rcond=None)[0]
    return coefficients, pixels - predictors @ coefficients


FAMILY: Final = Family(check=check_pca, train=train_pca, open=PcaSampling)
