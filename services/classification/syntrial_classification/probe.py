"""Logistic regression on features that are at hand: the last layer of a network that otherwise stays as it is.

The fit is convex, so nothing in it is left to chance. What the seed of a replicate draws is how much each training
patient counts: the Bayesian bootstrap (Rubin 1981), an exponential weight for each patient, and for each synthetic
image, which has none. Every image is in every fit, and replicates differ as fits to other samples of as many training
patients would. A patient's weight depends on the patient and the seed alone, so arms of one seed are paired.

A later phase begins where the one before ended by a penalty on the distance from its weights (Chelba & Acero 2006): of
a convex fit, the point that it starts from would leave no trace.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from syntrial_training.logistic import Floats, Sample, minimise
from torch import Tensor

from syntrial.errors import UserError
from syntrial.imagesets.features import Features
from syntrial.imagesets.imageset import MULTI_LABEL, ImageSet
from syntrial.v1.classification_pb2 import TrainingRecipe
from syntrial_classification import split_metrics
from syntrial_classification.losses import class_weights, image_losses, probabilities
from syntrial_classification.phases import Phase, TrainingPlan
from syntrial_classification.pools import REAL
from syntrial_classification.streams import item_codes, stream, uniform
from syntrial_classification.table import targets_of

_WEIGHTS: Final = 16

SERIES: Final = ("train_loss", "validation_loss", "validation_auroc", "validation_accuracy")


@dataclass(frozen=True, kw_only=True, slots=True)
class Tried:
    """A fit by one strength of the penalty."""

    l2: float
    layer_KD1: Floats  # noqa: N815
    """Weights of standardised features, and the intercept behind them."""
    figures: Mapping[str, float | None]
    """By the names of `SERIES`."""
    lost: float
    """What it is the best by, the lower the better."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Probe:
    """A fitted last layer."""

    weight_KD: Tensor  # noqa: N815
    """float32, of features as they are."""
    bias_K: Tensor  # noqa: N815
    """float32."""
    phases: tuple[tuple[Tried, ...], ...]
    """What each phase tried, in the request's order."""
    chosen: tuple[int, ...]
    """Which of them each phase kept."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Table:
    """Features of all images that a training draws from, and what they are standardised by."""

    parts: tuple[npt.NDArray[np.float32], ...]
    """(n, D) each: real images, then the chosen synthetic ones."""
    mean_D: Floats  # noqa: N815
    std_D: Floats  # noqa: N815
    """Of the real training images, 1 where a feature is constant: the same for every arm."""

    def rows(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """The features (n, D) of rows, ascending."""
        first = len(self.parts[0])
        taken = [self.parts[0][rows[rows < first]]]
        taken += [part[rows[rows >= first] - first] for part in self.parts[1:]]
        return np.concatenate(taken)


def table_of(real: Features, synthetic: npt.NDArray[np.float32] | None) -> Table:
    """The table of a training; `synthetic` are the features of the synthetic images that its plan uses."""
    mean_D = real.values_ND.mean(axis=0, dtype=np.float64)
    std_D = real.values_ND.std(axis=0, dtype=np.float64)
    parts = (real.values_ND,) if synthetic is None else (real.values_ND, synthetic)
    return Table(parts=parts, mean_D=mean_D, std_D=np.where(std_D > 0, std_D, 1.0))


def fit(
    *,
    plan: TrainingPlan,
    table: Table,
    train: ImageSet,
    validation: ImageSet,
    validation_features: Features,
    strengths: Sequence[float],
    recipe: TrainingRecipe,
    seed: int,
    device: torch.device,
    on_fit: Callable[[int], None],
) -> Probe:
    """Fits the last layer, phase after phase; `on_fit` is called with the number of fits so far, and may raise.

    Raises UserError for strengths that are none or below 0.
    """
    if not strengths or any(not 0 <= strength < float("inf") for strength in strengths):
        rule = "strengths of the penalty are 0 or more, and at least one"
        raise UserError(field="probe.l2", rule=rule, received=list(strengths), remedy="Leave `l2` out.")
    classes = len(train.classes)
    balanced = recipe.class_weights == TrainingRecipe.CLASS_WEIGHTS_BALANCED
    weights_K = torch.from_numpy(class_weights(train.labels, classes=classes)).double() if balanced else None
    layer_KD1 = np.zeros((classes, len(table.mean_D) + 1))
    held = _sample(validation_features.values_ND, validation.labels, table=table, weights=None, device=device)
    phases, chosen, done = [], [], 0
    for phase in plan.phases:
        rows, counts = _weighed(phase, patients=train.patients, seed=seed)
        sample = _sample(
            table.rows(rows),
            plan.labels[rows],
            table=table,
            weights=counts,
            class_weights_K=None if weights_K is None else weights_K.to(device),
            device=device,
        )
        tried: dict[float, Tried] = {}
        start, centre_KD1 = layer_KD1, layer_KD1
        # From the strongest on, each begins at the last one's end.
        for strength in sorted(set(strengths), reverse=True):
            start, loss = minimise(sample, start, centre_KD1=centre_KD1, l2=strength)
            tried[strength] = _tried(strength, start, loss, held=held, validation=validation, recipe=recipe)
            done += 1
            on_fit(done)
        kept = min(tried.values(), key=lambda one: one.lost)
        phases.append(tuple(tried[strength] for strength in strengths))
        chosen.append(list(strengths).index(kept.l2))
        layer_KD1 = kept.layer_KD1
    weight_KD = layer_KD1[:, :-1] / table.std_D
    return Probe(
        weight_KD=torch.from_numpy(weight_KD.astype(np.float32)),
        bias_K=torch.from_numpy((layer_KD1[:, -1] - weight_KD @ table.mean_D).astype(np.float32)),
        phases=tuple(phases),
        chosen=tuple(chosen),
    )


def _weighed(phase: Phase, *, patients: npt.NDArray[np.int64], seed: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """The rows of the table that a phase's pool holds, ascending, and how much each counts (mean about 1)."""
    pool = phase.pool
    is_real = pool.origins == REAL
    numbers = np.where(is_real, patients[np.where(is_real, pool.rows, 0)], 0)
    codes = np.where(is_real, item_codes(REAL, numbers, 0), pool.codes)
    drawn = -np.log1p(-uniform(stream(codes, seed, _WEIGHTS)))
    rows, place = np.unique(pool.rows, return_inverse=True)
    return rows, np.bincount(place, weights=drawn, minlength=len(rows)).astype(np.float64)


def _sample(
    features_ND: npt.NDArray[np.float32],
    labels: npt.NDArray[Any],
    *,
    table: Table,
    weights: Floats | None,
    class_weights_K: Tensor | None = None,
    device: torch.device,
) -> Sample:
    return Sample(
        features_ND=features_ND,
        targets=targets_of(labels, device=device),
        mean_D=table.mean_D,
        std_D=table.std_D,
        losses=partial(image_losses, recipe=TrainingRecipe(), weights_K=class_weights_K),
        weights=weights,
        device=device,
    )


def _tried(
    l2: float, layer: Floats, loss: float, *, held: Sample, validation: ImageSet, recipe: TrainingRecipe
) -> Tried:
    logits = held.logits(layer)
    mean = float(image_losses(logits, held.targets, recipe=TrainingRecipe()).mean())
    scores = probabilities(logits, multi_label=validation.task == MULTI_LABEL).cpu().numpy()
    auroc = split_metrics.macro_auroc(scores, validation.labels)
    accuracy = split_metrics.accuracy(scores, validation.labels)
    lost = {
        TrainingRecipe.SELECTION_AUROC: 1.0 - (auroc or 0.0),
        TrainingRecipe.SELECTION_ACCURACY: 1.0 - accuracy,
    }.get(recipe.select_by, mean)
    return Tried(
        l2=l2, layer_KD1=layer, figures=dict(zip(SERIES, (loss, mean, auroc, accuracy), strict=True)), lost=lost
    )
