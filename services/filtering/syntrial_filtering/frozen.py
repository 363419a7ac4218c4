"""An encoder whose network stays as it is: the features that it gave of images, standardised, and a linear classifier.

What is fitted here is fitted to real training images alone: mean and deviation of each feature, and a multinomial
logistic regression (one for each label where an image has several) with a penalty on squared weights. The strength of
the penalty is chosen by the loss on patients that a fit has not seen: with many features and few images nearly every
weight of an unpenalised fit is chance, and it is sure of everything.

Called by the verbs, by way of `inputs`. Features are float32 (N, F); labels int64 (N,), or uint8 (N, K) of 0 and 1.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from syntrial_training import compute
from syntrial_training.logistic import Floats, Sample, minimise
from syntrial_training.tensors import from_bytes, to_bytes
from torch import Tensor
from torch.nn import functional

from syntrial.imagesets.features import Features
from syntrial.imagesets.imageset import MULTI_LABEL, ImageSet
from syntrial_filtering.encoder import FORMAT, Embedding, require_images

KIND: Final = "frozen"
"""What `encoder.json` calls such an encoder; one that is a network of its own has no kind."""

STRENGTHS: Final = (10.0, 1.0, 0.1, 0.01, 0.001, 0.0001)
"""Penalties that are tried, from the strongest on: on standardised features, in the mean loss of an image."""

FOLDS: Final = 3
"""Parts of the patients, of which each is left out once."""

FITS: Final = (FOLDS + 1) * len(STRENGTHS)
"""Fits of a training at most."""

_BLOCK: Final = 8192


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FrozenEncoder:
    """What was fitted to the features of the real training images."""

    network: Mapping[str, Any]
    """That the features are of, see `syntrial.imagesets.features.Features`."""
    mean_F: Floats  # noqa: N815
    deviation_F: Floats  # noqa: N815
    """Of each feature among the real training images; 1 for one that never varies."""
    layer_KF1: Floats  # noqa: N815
    """Weights of standardised features, and the intercept behind them."""
    classes: tuple[str, ...]
    multi_label: bool
    training: Mapping[str, Any]
    """How it was fitted; written to `encoder.json`."""


def fit(train: ImageSet, features: Features, *, seed: int, on_fit: Callable[[int], None]) -> FrozenEncoder:
    """Fits to the training images, whose patients the seed shares out among the folds.

    `on_fit` is called with the fits so far, and may raise. Raises UserError for fewer than two images.
    """
    require_images(len(train))
    values_NF = features.values_ND
    mean_F = values_NF.mean(axis=0, dtype=np.float64)
    deviation_F = values_NF.std(axis=0, dtype=np.float64)
    # Of a feature that never varies there is nothing but rounding.
    deviation_F = np.where(deviation_F > 1e-6 * np.abs(mean_F), deviation_F, 1.0)
    device = compute.device()

    def sample(rows: npt.NDArray[np.int64]) -> Sample:
        labels = train.labels[rows]
        targets = torch.from_numpy(labels.astype(np.float32) if train.task == MULTI_LABEL else labels).to(device)
        return Sample(
            features_ND=values_NF[rows],
            targets=targets,
            mean_D=mean_F,
            std_D=deviation_F,
            losses=_losses,
            device=device,
        )

    done = 0

    def path(rows: npt.NDArray[np.int64], *, until: float) -> dict[float, Floats]:
        """The layers by strength, from the strongest to `until`; each fit begins at the last one's end."""
        nonlocal done
        fitted_to, layers = sample(rows), {}
        layer = np.zeros((len(train.classes), values_NF.shape[1] + 1))
        for strength in STRENGTHS[: STRENGTHS.index(until) + 1]:
            layer, _ = minimise(fitted_to, layer, centre_KD1=np.zeros_like(layer), l2=strength)
            layers[strength] = layer
            done += 1
            on_fit(done)
        return layers

    left_out = np.zeros((len(STRENGTHS), len(train)))
    right = np.zeros((len(STRENGTHS), len(train)))
    folds = _folds(train.patients, seed=seed)
    for fold in np.unique(folds) if folds.any() else ():
        held, seen = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        of_held = sample(held)
        for number, layer in enumerate(path(seen, until=STRENGTHS[-1]).values()):
            logits = of_held.logits(layer)
            left_out[number, held] = _losses(logits, of_held.targets).cpu().numpy()
            right[number, held] = _right(logits, of_held.targets).cpu().numpy()
    # Of losses that are equal, that of the strongest; all are where there is one patient.
    best = int(left_out.mean(axis=1).argmin())
    layer_KF1 = path(np.arange(len(train)), until=STRENGTHS[best])[STRENGTHS[best]]
    return FrozenEncoder(
        network=dict(features.network),
        mean_F=mean_F,
        deviation_F=deviation_F,
        layer_KF1=layer_KF1,
        classes=train.classes,
        multi_label=train.task == MULTI_LABEL,
        training={
            "seed": seed,
            "images": len(train),
            "l2": STRENGTHS[best],
            "folds": len(np.unique(folds)),
            "held_out_loss": round(float(left_out[best].mean()), 6) if folds.any() else None,
            "held_out_accuracy": round(float(right[best].mean()), 6) if folds.any() else None,
        },
    )


def embed(encoder: FrozenEncoder, features: Features) -> Embedding:
    """Standardised features and probabilities of images, from the features that the encoder's network gave of them."""
    count, classes = len(features), len(encoder.classes)
    standardised_NF = np.empty(features.values_ND.shape, dtype=np.float32)
    probabilities_NK = np.empty((count, classes), dtype=np.float64)
    for start in range(0, count, _BLOCK):
        rows = slice(start, start + _BLOCK)
        values = (features.values_ND[rows].astype(np.float64) - encoder.mean_F) / encoder.deviation_F
        standardised_NF[rows] = values
        logits = torch.from_numpy(values @ encoder.layer_KF1[:, :-1].T + encoder.layer_KF1[:, -1])
        chances = torch.sigmoid(logits) if encoder.multi_label else torch.softmax(logits, dim=1)
        probabilities_NK[rows] = chances.numpy()
    return Embedding(features_NF=standardised_NF, probabilities_NK=probabilities_NK)


def dump(encoder: FrozenEncoder) -> tuple[bytes, dict[str, Any]]:
    """The encoder as `weights.safetensors` and the content of `encoder.json`."""
    tensors = {
        "feature_mean": torch.from_numpy(encoder.mean_F),
        "feature_deviation": torch.from_numpy(encoder.deviation_F),
        "classify.weight": torch.from_numpy(encoder.layer_KF1[:, :-1].copy()),
        "classify.bias": torch.from_numpy(encoder.layer_KF1[:, -1].copy()),
    }
    description: dict[str, Any] = {
        "format": FORMAT,
        "kind": KIND,
        "network": dict(encoder.network),
        "classes": list(encoder.classes),
        "task": "multi-label" if encoder.multi_label else "multi-class",
        "feature_size": len(encoder.mean_F),
        "normalisation": "each feature minus its mean, over its deviation, among the real training images",
        "training": dict(encoder.training),
    }
    return to_bytes(tensors), description


def load(weights: bytes, description: Mapping[str, Any]) -> FrozenEncoder:
    """The encoder from its blobs."""
    tensors = from_bytes(weights)
    layer = torch.cat([tensors["classify.weight"], tensors["classify.bias"][:, None]], dim=1)
    return FrozenEncoder(
        network=dict(description["network"]),
        mean_F=tensors["feature_mean"].numpy(),
        deviation_F=tensors["feature_deviation"].numpy(),
        layer_KF1=layer.numpy(),
        classes=tuple(str(name) for name in description["classes"]),
        multi_label=description["task"] == "multi-label",
        training=dict(description["training"]),
    )


def _folds(patients: npt.NDArray[np.int64], *, seed: int) -> npt.NDArray[np.int64]:
    """The fold (N,) of each image, that of its patient; 0 for all where there is one patient."""
    found, place = np.unique(patients, return_inverse=True)
    shared_out = np.random.default_rng([seed, 31]).permutation(len(found)) % min(FOLDS, len(found))
    return np.asarray(shared_out[place], dtype=np.int64)


def _losses(logits: Tensor, targets: Tensor) -> Tensor:
    """The loss of each image (B,): of its class, or the mean of its labels'."""
    if targets.ndim == 2:
        return functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=1)
    return functional.cross_entropy(logits, targets, reduction="none")


def _right(logits: Tensor, targets: Tensor) -> Tensor:
    """The share of an image's labels that are told right (B,)."""
    if targets.ndim == 2:
        return ((logits > 0) == (targets > 0.5)).double().mean(dim=1)
    return (logits.argmax(dim=1) == targets).double()
