"""The phases of a request as pools over one table of images: which images each phase draws from, and for how long."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from syntrial.counting import counted
from syntrial.errors import UserError
from syntrial.imagesets.imageset import MULTI_LABEL, ImageSet
from syntrial.imagesets.quotas import class_quota, total_quota
from syntrial.v1.classification_pb2 import TrainClassifierRequest, TrainingPhase, TrainingRecipe
from syntrial.v1.generation_pb2 import Balance
from syntrial_classification.capping import as_a_pass, shown_by_pass
from syntrial_classification.pools import (
    SYNTHETIC,
    Integers,
    Order,
    Pool,
    balanced,
    batch_bounds,
    choose,
    make_pool,
    permuted_labels,
    repeat,
    resample,
)
from syntrial_classification.streams import item_codes, stream

_MULTI_LABEL_CHOICE = 14

USUAL_BATCHES: Final = frozenset({64, 128})
"""Batch sizes of the recipes that families of models have where an experiment says nothing else
(`syntrial.experiment.presets.classifiers`). They may be larger than a small data set.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """One phase, ready to be drawn from."""

    pool: Pool
    order: Order
    bounds: list[int]
    """Where batches begin and end among the phase's draws: steps + 1 numbers."""
    epoch: float
    """Steps of one pass over the pool, without the repetitions of balanced sampling; a mean where passes differ."""
    learning_rate: float
    train: tuple[str, ...]
    """Parts of the network that are trained, as the request names them; empty: all."""
    begins_with_best: bool
    """Whether it begins with the best weights of the phase before."""
    synthetic_missing: int
    """Synthetic images that the phase's ratio asks for and the set does not have."""

    @property
    def steps(self) -> int:
        """Optimiser steps."""
        return len(self.bounds) - 1

    @property
    def draws(self) -> int:
        """Images shown, counted with repetition."""
        return self.bounds[-1]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingPlan:
    """The table that a training draws from, and its phases. T images: all real ones, then the chosen synthetic ones."""

    images: tuple[npt.NDArray[np.uint8], ...]
    """Parts of the table, uint8 N×H×W×C each."""
    labels: npt.NDArray[Any]
    """(T,) int64, or (T, K) uint8; those of synthetic images permuted where the request says so."""
    origins: npt.NDArray[np.uint8]
    """(T,) REAL or SYNTHETIC, by the part that the row lies in."""
    synthetic_numbers: Integers
    """Numbers within their set of the synthetic images in the table, ascending."""
    phases: tuple[Phase, ...]
    weighed: npt.NDArray[Any]
    """Labels of the real images, as often as a pass shows each: what balanced class weights are reckoned from."""
    cap: int = 0
    """The most images of a label that a pass shows, see `capping`; 0: every pass shows its whole pool."""


def plan_training(request: TrainClassifierRequest, *, train: ImageSet, synthetic: ImageSet | None) -> TrainingPlan:
    """The phases of the request over its image sets.

    Raises UserError for shares and lengths out of range, a phase without images, or a synthetic set that is missing
    or does not fit the real one.
    """
    _check(request, train=train, synthetic=synthetic)
    chosen = [_synthetic_numbers(request, phase, train=train, synthetic=synthetic) for phase in request.phases]
    used = np.unique(np.concatenate([numbers for numbers, _ in chosen]))
    images: tuple[npt.NDArray[np.uint8], ...] = (train.images_NHWC,)
    labels: npt.NDArray[Any] = train.labels
    if synthetic is not None and len(used):
        own = synthetic.labels
        if request.shuffle_synthetic_labels:
            own = permuted_labels(own, numbers=used, seed=request.seed)
        images = (train.images_NHWC, synthetic.images_NHWC[used])
        labels = np.concatenate([train.labels, own[used]])
    phases = [
        _phase(
            request, index, train=train, synthetic=synthetic, numbers=numbers, missing=missing, used=used, labels=labels
        )
        for index, (numbers, missing) in enumerate(chosen)
    ]
    origins = np.repeat(np.arange(2, dtype=np.uint8), [len(train), len(used)])
    cap = request.cap_per_label
    return TrainingPlan(
        images=images,
        labels=labels,
        origins=origins,
        phases=tuple(phases),
        synthetic_numbers=used.astype(np.int64),
        weighed=as_a_pass(train.labels, most=cap, seed=request.seed) if cap else train.labels,
        cap=cap,
    )


def _phase(
    request: TrainClassifierRequest,
    index: int,
    *,
    train: ImageSet,
    synthetic: ImageSet | None,
    numbers: Integers,
    missing: int,
    used: Integers,
    labels: npt.NDArray[Any],
) -> Phase:
    phase = request.phases[index]
    if phase.real_proportions == TrainingPhase.REAL_PROPORTIONS_AS_SYNTHETIC:
        assert synthetic is not None
        total = round(phase.real * len(train))
        rows, copies = resample(train.labels, proportions=synthetic.class_counts, total=total, seed=request.seed)
    else:
        rows = choose(train.labels, share=phase.real, seed=request.seed)
        copies = np.zeros(len(rows), dtype=np.int64)
    parts = [(phase.real, len(rows))]
    if phase.duplicated:
        more, more_copies = repeat(train.labels, ratio=phase.duplicated, seed=request.seed)
        parts.append((phase.duplicated, len(more)))
        rows, copies = np.concatenate([rows, more]), np.concatenate([copies, more_copies])
    pool = make_pool(
        rows,
        copies=copies,
        synthetic_numbers=numbers,
        synthetic_rows=len(train) + np.searchsorted(used, numbers).astype(np.int64),
    )
    field = f"phases[{index}]"
    if not len(pool):
        raise UserError(
            field=field,
            rule="a phase needs at least one image",
            received=f"real {phase.real}, synthetic {phase.synthetic} of {counted(len(train), 'training image')}",
            remedy="Raise the shares, or use a larger data set.",
        )
    whole = request.HasField("probe")
    # A probe is fitted to all of its pool at once.
    batch = len(pool) if whole else request.recipe.batch_size
    size: float = len(pool)
    if request.recipe.sampling == TrainingRecipe.SAMPLING_BALANCED:
        pool = balanced(pool, labels, seed=request.seed)
    shown = None
    if request.cap_per_label:
        shown = shown_by_pass(
            pool,
            labels[pool.rows],
            parts=[*parts, (phase.synthetic, len(numbers))],
            most=request.cap_per_label,
            seed=request.seed,
            phase=index,
        )
    order = Order(pool, seed=request.seed, phase=index, shown=shown)
    room = (len(pool) if shown is None else order.start(1)) + missing
    if not whole and batch > room and batch not in USUAL_BATCHES:
        raise UserError(
            field="recipe.batch_size",
            rule="a batch is at most as large as what it is drawn from",
            received=f"{batch:,}, where phase {index + 1} has {counted(room, 'training image')}",
            remedy=f"Set it to {room:,} or less, or train with more images.",
        )
    epochs = 1.0 if whole else phase.epochs
    is_in_steps = phase.WhichOneof("length") == "steps"
    if shown is not None:
        # Passes differ in length where images have several labels.
        epochs = 1.0 if is_in_steps else epochs
        last = math.floor(epochs)
        shows = order.start(last) + round((epochs - last) * (order.start(last + 1) - order.start(last)))
        size, draws = shows / epochs, phase.steps * batch if is_in_steps else shows
    else:
        draws = phase.steps * batch if is_in_steps else round(epochs * size)
    if draws < 1:
        raise UserError(
            field=field,
            rule="a phase shows at least one image",
            received=f"{phase.epochs:g} epochs of {counted(len(pool), 'image')}",
            remedy="Give a longer budget.",
        )
    return Phase(
        pool=pool,
        order=order,
        bounds=batch_bounds(draws, batch_size=batch),
        epoch=size / batch,
        learning_rate=phase.learning_rate,
        train=tuple(phase.train),
        begins_with_best=phase.start == TrainingPhase.START_BEST,
        synthetic_missing=missing,
    )


def _synthetic_numbers(
    request: TrainClassifierRequest, phase: TrainingPhase, *, train: ImageSet, synthetic: ImageSet | None
) -> tuple[Integers, int]:
    """Numbers, ascending, of the synthetic images in a phase's pool, and how many more its ratio asks for.

    The first n of each class by number, so that a smaller ratio's images are among a larger one's. A set with several
    labels has no classes to share out: its images are taken in the order of their own streams.
    """
    if not phase.synthetic or synthetic is None:
        return np.zeros(0, dtype=np.int64), 0
    if synthetic.task == MULTI_LABEL:
        wanted = total_quota(len(train), ratio=phase.synthetic)
        keys = stream(item_codes(SYNTHETIC, np.arange(len(synthetic)), 0), _MULTI_LABEL_CHOICE)
        numbers = np.argsort(keys, kind="stable")[:wanted].astype(np.int64)
    else:
        balance = request.balance or Balance.BALANCE_MATCH
        quota = class_quota(train.class_counts.tolist(), ratio=phase.synthetic, balance=balance)
        wanted = sum(quota)
        numbers = np.concatenate([np.flatnonzero(synthetic.labels == k)[:n] for k, n in enumerate(quota)])
    if not len(numbers):
        raise UserError(
            field="synthetic",
            rule="the synthetic set must have images of the classes that are asked for",
            received=f"none of {counted(wanted, 'image')}, classes of the set: {synthetic.class_counts.tolist()}",
            remedy="Check the set's classes and the filters' decisions, or set `balance`.",
        )
    return np.sort(numbers), wanted - len(numbers)


def _check_balance(train: ImageSet) -> None:
    """Raises UserError where images of each class cannot be repeated until they are as many."""
    rule, remedy = "balanced sampling is for images with one class each", "Use `classWeights: balanced` instead."
    if train.task == MULTI_LABEL:
        raise UserError(field="recipe.sampling", rule=rule, received="several labels an image", remedy=remedy)
    empty = [name for name, count in zip(train.classes, train.class_counts.tolist(), strict=True) if not count]
    if empty:
        raise UserError(
            field="recipe.sampling",
            rule="balanced sampling needs images of every class",
            received=f"no training images of {', '.join(empty)}",
            remedy="Leave the class out by `classMap`, or add images.",
        )


def _check(request: TrainClassifierRequest, *, train: ImageSet, synthetic: ImageSet | None) -> None:
    if not len(train):
        raise UserError(field="train", rule="the training split must have images", received="none", remedy="Add some.")
    stepped = not request.HasField("probe")
    for index, phase in enumerate(request.phases):
        field = f"phases[{index}]"
        needs_set = phase.synthetic > 0 or (
            phase.real_proportions == TrainingPhase.REAL_PROPORTIONS_AS_SYNTHETIC and phase.real > 0
        )
        for bad, name, rule, value in (
            (not 0 <= phase.real <= 1, "real", "lies in [0, 1]", phase.real),
            (not 0 <= phase.synthetic <= 1000, "synthetic", "lies in [0, 1000]", phase.synthetic),
            (not 0 <= phase.duplicated <= 1000, "duplicated", "lies in [0, 1000]", phase.duplicated),
            (
                stepped and not 0 < phase.learning_rate < 100,
                "learning_rate",
                "lies above 0 and below 100",
                phase.learning_rate,
            ),
            (stepped and phase.WhichOneof("length") is None, "steps", "steps or epochs are given", "neither"),
            (not stepped and phase.WhichOneof("length"), "steps", "a probe's phases have no length", "one"),
            (not stepped and bool(phase.train), "train", "a probe fits the last layer alone", list(phase.train)),
            (
                phase.start == TrainingPhase.START_BEST and not index,
                "start",
                "a first phase has none before it",
                "best",
            ),
            (needs_set and synthetic is None, "synthetic", "a phase with synthetic images names their set", "no set"),
        ):
            if bad:
                raise UserError(field=f"{field}.{name}", rule=rule, received=value, remedy="Change the arm's phase.")
    if request.recipe.sampling == TrainingRecipe.SAMPLING_BALANCED:
        _check_balance(train)
    for bad, field, rule in (
        (request.HasField("probe"), "probe", "has no passes for which a limit is drawn"),
        (
            request.recipe.sampling == TrainingRecipe.SAMPLING_BALANCED,
            "recipe.sampling",
            "balanced repeats what a limit leaves out",
        ),
    ):
        if bad and request.cap_per_label:
            received = f"a limit of {request.cap_per_label} images a label"
            raise UserError(field=field, rule=rule, received=received, remedy="Leave `cap_per_label` out.")
    if not request.phases:
        raise UserError(field="phases", rule="a training has at least one phase", received="none", remedy="Add one.")
    if synthetic is None:
        return
    fits: Sequence[tuple[str, object, object]] = (
        ("task", train.task, synthetic.task),
        ("classes", train.classes, synthetic.classes),
        ("shape of images", train.images_NHWC.shape[1:], synthetic.images_NHWC.shape[1:]),
    )
    for what, real, other in fits:
        if real != other:
            raise UserError(
                field="synthetic",
                rule=f"synthetic images have the {what} of the real ones, {real}",
                received=other,
                remedy="Import them with the data set's classes and format.",
            )
    resampled = any(p.real_proportions == TrainingPhase.REAL_PROPORTIONS_AS_SYNTHETIC for p in request.phases)
    if resampled and train.task == MULTI_LABEL:
        raise UserError(
            field="phases.real_proportions",
            rule="class proportions are those of images with one class each",
            received="a set with several labels an image",
            remedy="Leave the resampled control out.",
        )
