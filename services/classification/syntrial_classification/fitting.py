"""TrainClassifier of a probe: from features that are at hand to a classifier with its record."""

from collections.abc import Mapping
from typing import Any

import torch
from syntrial_training import compute
from torch import nn

from syntrial.documents import training as documents
from syntrial.errors import UserError
from syntrial.imagesets.features import read_features, require_same
from syntrial.imagesets.imageset import ImageSet
from syntrial.rpc.context import StepContext
from syntrial.v1.classification_pb2 import TrainClassifierRequest
from syntrial_classification import features, probe
from syntrial_classification.models import ModelSpec, head_names
from syntrial_classification.outcome import Outcome
from syntrial_classification.phases import TrainingPlan


def fit_probe(
    request: TrainClassifierRequest,
    context: StepContext,
    *,
    model: nn.Module,
    spec: ModelSpec,
    pretraining: Mapping[str, Any],
    plan: TrainingPlan,
    train: ImageSet,
    validation: ImageSet,
    synthetic: ImageSet | None,
) -> Outcome:
    """Fits the last layer of `model`, and gives the whole network with it.

    Raises UserError for a network without a linear last layer, and features that are missing or of another network.
    """
    asked = request.probe
    real = read_features(context.open(asked.train), count=len(train))
    held = read_features(context.open(asked.validation), count=len(validation))
    made = None
    if len(plan.synthetic_numbers):
        assert synthetic is not None
        if not asked.HasField("synthetic"):
            raise UserError(
                field="probe.synthetic",
                rule="a probe of an arm with synthetic images has their features",
                received="none",
                remedy="Extract them with the model of the request.",
            )
        made = read_features(context.open(asked.synthetic), count=len(synthetic))
    expected = {"model": spec.json(), "pretraining": dict(pretraining), "normalisation": real.network["normalisation"]}
    for field, found in (("train", real), ("validation", held), ("synthetic", made)):
        if found is not None:
            require_same(found.network, expected=expected, field=f"probe.{field}")
    heads = features.linear_heads(model)
    strengths = list(asked.l2)
    total = len(strengths) * len(plan.phases)

    def on_fit(done: int) -> None:
        context.progress(done, total=total, unit="fits", activity="fitting")

    fitted = probe.fit(
        plan=plan,
        table=probe.table_of(real, None if made is None else made.values_ND[plan.synthetic_numbers]),
        train=train,
        validation=validation,
        validation_features=held,
        strengths=strengths,
        recipe=request.recipe,
        seed=request.seed,
        device=compute.device(),
        on_fit=on_fit,
    )
    with torch.no_grad():
        for head in heads:
            head.weight.copy_(fitted.weight_KD)
            head.bias.copy_(fitted.bias_K)
    weights = model.state_dict()
    name = head_names(model)[0]
    return Outcome(
        weights=weights,
        logits_NK=features.head_logits(weights, held.values_ND, head=name),
        constants=features.scaled_by(real.network),
        record=_record(fitted, plan, count=len(strengths)),
        extra={"probe": {"head": name, "l2": fitted.phases[-1][fitted.chosen[-1]].l2}},
    )


def _record(fitted: probe.Probe, plan: TrainingPlan, *, count: int) -> documents.ClassifierTraining:
    """`training.json`: figures of each strength that was tried in place of those of steps."""
    tried = [one for phase in fitted.phases for one in phase]
    phases = []
    for phase, fits, kept in zip(plan.phases, fitted.phases, fitted.chosen, strict=True):
        pool = phase.pool.counts()
        phases.append(
            documents.TrainedPhase(
                steps=0,
                images_seen=pool,
                pool=pool,
                synthetic_missing=phase.synthetic_missing,
                learning_rate=0.0,
                train=("head",),
                l2=fits[kept].l2,
            )
        )
    return documents.ClassifierTraining(
        version=1,
        curves=documents.Curves(
            x_unit="fits",
            x=tuple(range(1, len(tried) + 1)),
            series={name: tuple(one.figures[name] for one in tried) for name in probe.SERIES},
        ),
        phases=tuple(phases),
        undertrained=False,
        convergence=None,
        checkpoint=documents.KeptCheckpoint(choice="best", step=count * (len(plan.phases) - 1) + fitted.chosen[-1] + 1),
        bootstrap=True,
    )
