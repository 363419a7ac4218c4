"""How much of a device's time a trial takes, estimated before it starts from short runs of its trainings.

Each distinct training (a classifier's, a generator's, the encoder's) is run a few times for a few optimiser steps, by
the executor and with the request of the trial, on real images; what a step costs, what a validation costs and what is
paid once come out as differences. Their seed is of the moment, so that no cache answers; what they leave belongs to no
experiment, and `syntrial gc` takes it.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from syntrial.artifacts.keys import canonical_digest
from syntrial.artifacts.store import ArtifactStore
from syntrial.documents.audit import Audit
from syntrial.documents.document import read
from syntrial.errors import UserError
from syntrial.executors.drive import drive
from syntrial.executors.executor import Event, Executor, StepStarted, StepSucceeded
from syntrial.plan.steps import Plan, Step, step_of
from syntrial.stages import stage_of
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.classification_pb2 import TrainClassifierRequest, TrainingPhase
from syntrial.v1.filtering_pb2 import TrainEncoderRequest
from syntrial.v1.generation_pb2 import TrainGeneratorRequest

SHORT: Final = 4
"""Optimiser steps of a short run."""
LONG: Final = 12
"""Of the longer one, which tells what a step costs; as many validations as the other tell what one of them does."""
FACTOR: Final = 2
"""By how much the estimate may be wrong, either way, on a machine that does nothing else."""

_UNITS: Final = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Seconds of a training: once, for each optimiser step, and for each validation."""

    once: float
    step: float
    validation: float

    def of(self, *, steps: float, validations: int) -> float:
        """Of one that takes so many."""
        return self.once + self.step * steps + self.validation * validations


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """Device time of what is left of a trial."""

    by_stage: Mapping[str, float]
    """Seconds of the trainings of each stage."""
    trainings: int
    kinds: int
    """Of which each was measured."""
    unmeasured: Mapping[str, int] = field(default_factory=dict)
    """How many steps of each method are not in it."""

    @property
    def seconds(self) -> float:
        """Of all stages."""
        return sum(self.by_stage.values())

    @property
    def words(self) -> str:
        """Sentences for `syntrial plan`."""
        if not self.trainings:
            return "No training is left to do."
        stages = ", ".join(f"{name} {time_words(seconds)}" for name, seconds in self.by_stage.items())
        others = ", ".join(f"{count} × {method}" for method, count in sorted(self.unmeasured.items()))
        return (
            f"What is left takes about {time_words(self.seconds)} of this machine's device ({stages}): "
            f"{self.trainings} trainings of {self.kinds} {'kind' if self.kinds == 1 else 'kinds'}, each measured just "
            f"now by short runs, one at a time. It may be {FACTOR} times as much or as little, and more where other "
            f"work goes on beside. Not in it: {others}."
        )


def device_time(
    steps: Iterable[Step],
    *,
    dataset: str,
    training_images: int,
    labels: Mapping[str, int],
    run: Callable[[Step], float],
    seed: int,
) -> Estimate:
    """The estimate for the trainings among `steps`, which are still to do.

    `run` runs a step and returns its seconds; `dataset` is the key of the prepared data set, whose training split has
    `training_images`, and `labels` of each class or label. Pretraining on other data is counted and not measured.
    """
    costs: dict[str, Cost] = {}
    by_stage: dict[str, float] = {}
    unmeasured: Counter[str] = Counter()
    trainings = 0
    for step in steps:
        is_link = isinstance(step.request, TrainClassifierRequest) and step.request.train.key != dataset
        template = None if is_link else _template(step.request)
        if template is None:
            unmeasured["pretraining" if is_link else step.method.rpartition("/")[2]] += 1
            continue
        kind = canonical_digest(
            {"method": step.method, "request": template.SerializeToString(deterministic=True).hex()}
        )
        if kind not in costs:
            costs[kind] = _cost(step, template, run=run, seed=seed)
        stage = stage_of(step.method).name
        taken, validations = _length(step.request, training_images=training_images, labels=labels)
        by_stage[stage] = by_stage.get(stage, 0.0) + costs[kind].of(steps=taken, validations=validations)
        trainings += 1
    return Estimate(by_stage=by_stage, trainings=trainings, kinds=len(costs), unmeasured=unmeasured)


def measured_here(plan: Plan, *, store: ArtifactStore, executor: Executor) -> Estimate:
    """The estimate for what is left of a plan, measured by `executor`; prepares the data set first.

    Raises what a step raises that fails.
    """
    begun: dict[str, float] = {}
    seconds: dict[str, float] = {}

    def on_event(event: Event) -> None:
        if isinstance(event, StepStarted):
            begun[event.key] = time.monotonic()
        elif isinstance(event, StepSucceeded):
            seconds[event.key] = time.monotonic() - begun.get(event.key, time.monotonic())

    def run(step: Step) -> float:
        outcome = drive([step], store=store, executor=executor, on_event=on_event, attempts=1)
        if outcome.failures:
            raise outcome.failures[0].error
        return seconds.get(step.key, 0.0)

    run(plan.training[0])
    audit = read(Audit, store.open(MemberRef(key=plan.dataset, member="audit")), "audit.json")
    done = store.done(step.key for step in plan.steps)
    left = [step for step in plan.steps if step.key not in done]
    train = audit.splits["train"]
    return device_time(
        left,
        dataset=plan.dataset,
        training_images=train.count,
        labels=train.classes,
        run=run,
        seed=time.time_ns() % 2**48,
    )


def seconds_of(text: str) -> float:
    """The seconds of a length of time such as "90s", "30m" or "2h"; raises UserError for other text."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip())
    if match is None or float(match[1]) == 0:
        raise UserError(
            field="--at-most", rule="is a length of time", received=text, remedy="Write it as 90s, 30m or 2h."
        )
    return float(match[1]) * _UNITS[match[2]]


def check_at_most(estimate: Estimate, limit_s: float) -> None:
    """Raises UserError where the estimate is over the limit."""
    if estimate.seconds > limit_s:
        raise UserError(
            field="--at-most",
            rule=f"the trial takes at most {time_words(limit_s)} of this machine's device",
            received=f"an estimate of {time_words(estimate.seconds)}",
            remedy="Allow more, or lower `replicates`, `budget`, or the number of classifiers and arms. Nothing was "
            "started.",
        )


def time_words(seconds: float) -> str:
    """For example "40 s", "12 min" or "3.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _template(request: Any) -> Any | None:
    """What a training is told apart by, without its length, its seed and its synthetic images; None for others."""
    if isinstance(request, TrainClassifierRequest):
        if request.HasField("probe"):
            # A fit of seconds to features, not a training in steps.
            return None
        made = TrainClassifierRequest()
        made.CopyFrom(request)
        for name in ("header", "seed", "synthetic", "shuffle_synthetic_labels", "balance", "phases", "part"):
            made.ClearField(name)
        made.model.ClearField("trained")
        # Parts that are trained make a step dearer or cheaper; where its images come from does not.
        for parts in dict.fromkeys(tuple(phase.train) for phase in request.phases):
            rate = request.phases[0].learning_rate
            made.phases.append(TrainingPhase(real=1.0, learning_rate=rate, train=parts))
        return made
    if isinstance(request, TrainEncoderRequest) and request.HasField("features"):
        # As a probe's.
        return None
    if isinstance(request, TrainEncoderRequest) or (
        # Latents that a training is in are made by steps that may not have run yet.
        isinstance(request, TrainGeneratorRequest) and _config(request) is not None and not request.HasField("latent")
    ):
        copy: Any = type(request)()
        copy.CopyFrom(request)
        copy.ClearField("header")
        copy.ClearField("seed")
        if isinstance(request, TrainEncoderRequest):
            copy.ClearField("steps")
        else:
            config: Any = _config(copy)
            config.ClearField("images")
        return copy
    return None


def _config(request: TrainGeneratorRequest) -> Any | None:
    """A generator's settings, where its training is counted in images and batches."""
    for descriptor, value in request.ListFields():
        if {"images", "batch_size"} <= set(getattr(descriptor.message_type, "fields_by_name", {})):
            return value
    return None


def _length(request: Any, *, training_images: int, labels: Mapping[str, int]) -> tuple[float, int]:
    """Optimiser steps and validations of a training."""
    if isinstance(request, TrainEncoderRequest):
        return request.steps, 0
    if isinstance(request, TrainGeneratorRequest):
        config = _config(request)
        assert config is not None
        return config.images / config.batch_size, 0
    steps = 0.0
    if request.cap_per_label:
        # What a pass shows; of several labels an image, no more than that.
        shown = sum(min(count, request.cap_per_label) for count in labels.values())
        training_images = min(training_images, shown)
    for phase in request.phases:
        pool = training_images * (phase.real + phase.synthetic + phase.duplicated)
        is_in_epochs = phase.WhichOneof("length") == "epochs"
        steps += phase.epochs * pool / request.recipe.batch_size if is_in_epochs else phase.steps
    share = request.part.until or 1.0
    return share * steps, round(share * request.recipe.validations)


def _cost(step: Step, template: Any, *, run: Callable[[Step], float], seed: int) -> Cost:
    parts = len(template.phases) if isinstance(template, TrainClassifierRequest) else 1
    # The first one starts the server and is not counted.
    lengths = [(SHORT, 1), (SHORT, 1), (LONG, 1)]
    if isinstance(template, TrainClassifierRequest):
        lengths.append((SHORT, SHORT))
    times = [
        run(_short(step, template, steps=steps, validations=validations, seed=seed + number))
        for number, (steps, validations) in enumerate(lengths)
    ]
    short, long = times[1], times[2]
    per_step = max(0.0, long - short) / ((LONG - SHORT) * parts)
    validation = max(0.0, times[3] - short) / (SHORT - 1) if len(times) > 3 else 0.0
    return Cost(once=max(0.0, short - SHORT * parts * per_step - validation), step=per_step, validation=validation)


def _short(step: Step, template: Any, *, steps: int, validations: int, seed: int) -> Step:
    """The step with a short length and a seed of its own, so that it is run and not found."""
    request = type(template)()
    request.CopyFrom(template)
    request.seed = seed
    if isinstance(request, TrainClassifierRequest):
        request.recipe.validations = validations
        for phase in request.phases:
            phase.steps = steps
    elif isinstance(request, TrainEncoderRequest):
        request.steps = steps
    else:
        config = _config(request)
        assert config is not None
        config.images = steps * config.batch_size
    return step_of(step.method, request, label=f"measure: {step.label}", program=step.program)
