"""The verb TrainClassifier: image sets to a classifier, with what it saw and its predictions on validation."""

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from syntrial_training import compute
from syntrial_training.compute import reproducible
from syntrial_training.loop import checkpoint
from syntrial_training.loop import train as run
from torch import nn

from syntrial.documents import training as documents
from syntrial.errors import UserError
from syntrial.imagesets.imageset import MULTI_LABEL, ImageSet, read_image_set
from syntrial.rpc.context import StepContext
from syntrial.v1.classification_pb2 import TrainClassifierRequest, TrainingRecipe
from syntrial_classification import convergence
from syntrial_classification.fitting import fit_probe
from syntrial_classification.initial import initial_model
from syntrial_classification.models import model_spec
from syntrial_classification.outcome import Outcome, write_outcome
from syntrial_classification.parts import STATE, Part, read_part
from syntrial_classification.phases import TrainingPlan, plan_training
from syntrial_classification.pools import ORIGINS
from syntrial_classification.table import normalisation_of
from syntrial_classification.training import KeptWeightsGone, Training


@reproducible
def train_classifier(request: TrainClassifierRequest, context: StepContext) -> None:
    """Trains a classifier, or a part of that; writes the members `classifier`, `training` and `validation`.

    Raises UserError for an unknown model, weights that do not fit, phases or recipes out of range and sets that do not
    fit each other; Cancelled where the step is to stop.
    """
    train = read_image_set(context.open(request.train))
    validation = read_image_set(context.open(request.validation))
    synthetic = read_image_set(context.open(request.synthetic)) if request.HasField("synthetic") else None
    is_probe = request.HasField("probe")
    if not is_probe:
        check_recipe(request.recipe, task=train.task, classes=len(train.classes))
    _check_validation(train, validation)
    part = read_part(request, context)
    plan = plan_training(request, train=train, synthetic=synthetic)
    side_H, _, channels = train.images_NHWC.shape[1:]
    spec = model_spec(request.model, classes=len(train.classes), channels=channels, side=side_H)
    model, pretraining = initial_model(request.model, spec, context, seed=request.seed, images=train)
    if is_probe:
        outcome = fit_probe(
            request,
            context,
            model=model,
            spec=spec,
            pretraining=pretraining,
            plan=plan,
            train=train,
            validation=validation,
            synthetic=synthetic,
        )
    else:
        outcome = _optimise(request, context, model=model, plan=plan, train=train, validation=validation, part=part)
    write_outcome(context.output, outcome, spec=spec, pretraining=pretraining, seed=request.seed, validation=validation)


def _optimise(
    request: TrainClassifierRequest,
    context: StepContext,
    *,
    model: nn.Module,
    plan: TrainingPlan,
    train: ImageSet,
    validation: ImageSet,
    part: Part,
) -> Outcome:
    """Takes the optimiser steps of all phases, or those of a part."""
    constants = normalisation_of(train.images_NHWC, recipe=request.recipe)
    training = Training(
        model,
        plan=plan,
        validation=validation,
        recipe=request.recipe,
        constants=constants,
        seed=request.seed,
        device=compute.device(),
        output=context.output,
    )
    shown = [0, *np.cumsum([phase.draws for phase in plan.phases]).tolist()]
    until = part.last_step(training.steps)

    def images_after(steps: int) -> int:
        index = training.phase_of(steps)
        return int(shown[index] + plan.phases[index].bounds[steps - training.starts[index]])

    total = images_after(training.steps if until is None else until)

    def on_step(done: int) -> None:
        losses = training.history.curves["validation_loss"]
        figures = {"validation loss": losses[-1]} if losses and losses[-1] is not None else {}
        context.progress(images_after(done), total=total, unit="images", activity="training", figures=figures)

    try:
        run(training, context=context, on_step=on_step, begun=part.begun, until=until)
    except KeptWeightsGone:
        # An empty checkpoint is none: the training, or this part of it, begins anew.
        context.checkpoints.save({})
        run(training, context=context, on_step=on_step, begun=part.begun, until=until)
    if until is not None:
        for name, data in checkpoint(training, done=until).items():
            context.output.write(STATE, name, data)
    weights = training.final_weights() if until is None else training.average.tensors
    return Outcome(
        weights=weights,
        logits_NK=training.predict_validation(weights),
        constants=constants,
        record=training_record(training, plan, until=until),
    )


def training_record(
    training: Training, plan: TrainingPlan, *, until: int | None = None
) -> documents.ClassifierTraining:
    """`training.json`: curves over optimiser steps, and for each phase what its pool held and its batches showed.

    Of a part that ends after `until` steps nothing says whether they were enough, and its weights are averaged ones.
    """
    history = training.history
    last = len(plan.phases) - 1
    verdict = None
    if until is None:
        verdict = convergence.judge(
            history.steps,
            losses_VN=np.stack(training.validation_losses),
            phase_start=training.starts[last],
            phase_end=training.starts[last + 1],
        )
    phases = []
    for index, phase in enumerate(plan.phases):
        seen = dict(zip(ORIGINS, history.seen[index], strict=True))
        duplicated = history.duplicated[index]
        phases.append(
            documents.TrainedPhase(
                steps=phase.steps,
                images_seen={**seen, "real": seen["real"] - duplicated, "duplicated": duplicated},
                pool=phase.pool.counts(),
                synthetic_missing=phase.synthetic_missing,
                learning_rate=phase.learning_rate,
                train=phase.train,
                epochs=_shown(history.epochs[index], training.classes) if plan.cap else (),
                distinct=phase.order.distinct(phase.draws) if plan.cap else None,
            )
        )
    best = until is None and training.recipe.checkpoint == TrainingRecipe.CHECKPOINT_CHOICE_BEST
    ended = training.steps if until is None else until
    return documents.ClassifierTraining(
        version=1,
        curves=documents.Curves(
            x_unit="steps",
            x=tuple(history.steps),
            series={name: tuple(values) for name, values in history.curves.items()},
        ),
        phases=tuple(phases),
        undertrained=verdict is not None and verdict.undertrained,
        convergence=None if verdict is None else verdict.document(),
        checkpoint=documents.KeptCheckpoint(
            choice="best" if best else "last-ema", step=history.best_step if best else ended
        ),
    )


def _shown(epochs: Sequence[Sequence[int]], classes: Sequence[str]) -> tuple[documents.ShownEpochs, ...]:
    """What the passes of a phase showed, those put together that showed the same."""
    return tuple(
        documents.ShownEpochs(passes=len([*alike]), images=images, labels=dict(zip(classes, labels, strict=True)))
        for (images, *labels), alike in groupby(map(tuple, epochs))
    )


def check_recipe(recipe: TrainingRecipe, *, task: str, classes: int) -> None:
    """Raises UserError, naming the field, for a recipe out of range or one that does not go with the labels."""
    several = task == MULTI_LABEL
    decays = recipe.schedule == TrainingRecipe.SCHEDULE_DECAY
    rules = (
        ("batch_size", "at least 2", recipe.batch_size >= 2),
        ("warmup", "in [0, 1)", 0 <= recipe.warmup < 1),
        ("weight_decay", "in [0, 100]", 0 <= recipe.weight_decay <= 100),
        ("label_smoothing", "in [0, 1)", 0 <= recipe.label_smoothing < 1),
        ("ema_half_life_steps", "0 or more", recipe.ema_half_life_steps >= 0),
        ("optimizer", "named", bool(recipe.optimizer)),
        ("schedule", "named", bool(recipe.schedule)),
        ("warmup_epochs", "0 or more", recipe.warmup_epochs >= 0),
        ("decay_epochs", "above 0 with the schedule `decay`", recipe.decay_epochs > 0 or not decays),
        ("decay_factor", "in [0, 1]", 0 <= recipe.decay_factor <= 1),
        ("clip_norm", "0 or more", recipe.clip_norm >= 0),
        ("layer_decay", "in [0, 1]", 0 <= recipe.layer_decay <= 1),
        ("focal_gamma", "0 or more", recipe.focal_gamma >= 0),
        ("focal_alpha", "in [0, 1)", 0 <= recipe.focal_alpha < 1),
        (
            "focal_alpha",
            "for two classes or several labels an image",
            not recipe.focal_alpha or several or classes == 2,
        ),
        (
            "loss",
            "cross-entropy or focal where an image has one class",
            recipe.loss != TrainingRecipe.LOSS_ASYMMETRIC or several,
        ),
        ("asymmetric_positive", "0 or more", recipe.asymmetric_positive >= 0),
        ("asymmetric_negative", "0 or more", recipe.asymmetric_negative >= 0),
        ("asymmetric_margin", "in [0, 1)", 0 <= recipe.asymmetric_margin < 1),
        ("mixup", "0 or more", recipe.mixup >= 0),
        ("cutmix", "0 or more", recipe.cutmix >= 0),
        ("crop", "in [0, 1]", 0 <= recipe.crop <= 1),
        ("rotation", "in [0, 180]", 0 <= recipe.rotation <= 180),
        ("jitter", "in [0, 1)", 0 <= recipe.jitter < 1),
        ("erasing", "in [0, 1]", 0 <= recipe.erasing <= 1),
        ("rand_augment", "in [0, 30]", 0 <= recipe.rand_augment <= 30),
        ("rand_augment_operations", "at most 14", recipe.rand_augment_operations <= 14),
        ("keep_epochs", "0 or more", recipe.keep_epochs >= 0),
    )
    for name, rule, holds in rules:
        if not holds:
            received = getattr(recipe, name)
            word = TrainingRecipe.Loss.Name(received).removeprefix("LOSS_").lower() if name == "loss" else received
            raise UserError(
                field=f"recipe.{name}",
                rule=f"must be {rule}",
                received=word,
                remedy="Correct the classifier's recipe, or leave the field out.",
            )


def _check_validation(train: ImageSet, validation: ImageSet) -> None:
    if not len(validation):
        raise UserError(
            field="validation", rule="the validation split must have images", received="none", remedy="Add some."
        )
    if (train.classes, train.task, train.images_NHWC.shape[1:]) != (
        validation.classes,
        validation.task,
        validation.images_NHWC.shape[1:],
    ):
        raise UserError(
            field="validation",
            rule="training and validation images have the same classes and shape",
            received=f"{validation.classes} {validation.images_NHWC.shape[1:]}",
            remedy=f"Expected {train.classes} {train.images_NHWC.shape[1:]}.",
        )
