"""The training loop: a state that moves by one optimiser step at a time, and can be saved and taken up again.

Everything that a step needs follows from (request, number of the step) and the state's tensors, so a training that
was interrupted ends in the same bytes as one that was not.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from syntrial_training.averages import MovingAverage, decay
from torch import Tensor, nn

from syntrial.imagesets.imageset import ImageSet
from syntrial.v1.classification_pb2 import TrainingRecipe
from syntrial_classification import split_metrics
from syntrial_classification.augment import Augmentation, draw, gather, normalise, windows
from syntrial_classification.losses import image_losses, probabilities
from syntrial_classification.phases import Phase, TrainingPlan
from syntrial_classification.pools import ORIGINS, REAL
from syntrial_classification.schedule import learning_rate, validation_steps
from syntrial_classification.streams import word_of
from syntrial_classification.table import Normalisation, predict, resident, targets_of

_STEP_NOISE = 31
_MOMENTUM = 0.9

AVERAGE_RAMP = 0.1
"""The half-life of averaged weights is at most this share of the steps since the phase began, so that short phases
forget their start. The papers' rule (see `averages.decay`) ramps at 0.05 over much longer trainings.
"""

CURVES = ("train_loss", "validation_loss", "validation_auroc", "validation_accuracy")


@dataclass(kw_only=True, slots=True)
class History:
    """What a training has recorded so far; plain numbers, as JSON in a checkpoint."""

    steps: list[int] = field(default_factory=list)
    """Steps after which the validation split was evaluated."""
    curves: dict[str, list[float | None]] = field(default_factory=lambda: {name: [] for name in CURVES})
    seen: list[list[int]] = field(default_factory=list)
    """Images of each origin that the batches of each phase held, in the order of `pools.ORIGINS`."""
    duplicated: list[int] = field(default_factory=list)
    """Repetitions of real images among them, for each phase."""
    best_step: int = 0
    """The step of the last phase with the lowest validation loss; 0 before its first validation."""
    best_loss: float = float("inf")


class Training:
    """A classifier in training. `step` counts optimiser steps over all phases."""

    def __init__(
        self,
        model: nn.Module,
        *,
        plan: TrainingPlan,
        validation: ImageSet,
        recipe: TrainingRecipe,
        constants: Normalisation,
        seed: int,
        device: torch.device,
    ) -> None:
        self.plan, self.recipe, self.constants, self.seed, self.device = plan, recipe, constants, seed, device
        self.model = model.to(device=device, memory_format=torch.channels_last)
        self.average = MovingAverage(self.model)
        self.best: dict[str, Tensor] | None = None
        self.step = 0
        self.total = sum(phase.steps for phase in plan.phases)
        self.starts = np.concatenate([[0], np.cumsum([phase.steps for phase in plan.phases])]).tolist()
        self.validation_at = frozenset(validation_steps(self.total, validations=recipe.validations))
        self.history = History(seen=[[0] * len(ORIGINS) for _ in plan.phases], duplicated=[0] * len(plan.phases))
        self.validation_losses: list[npt.NDArray[np.float32]] = []
        border = recipe.augment_shift
        self._windows = windows(resident(plan.images, device=device, border=border), border=border)
        self._targets = targets_of(plan.labels, device=device)
        self._mean_C, self._std_C = constants.tensors(device)
        self._validation_images = resident((validation.images_NHWC,), device=device)
        self._validation_labels = validation.labels
        self._augmentation = Augmentation(shift=recipe.augment_shift, flip=recipe.augment_flip)
        self._shadow = copy.deepcopy(self.model)
        # The device's stream alone: `torch.manual_seed` asks after every kind of device, a hundredth of a small step.
        streams = torch.cuda.default_generators if device.type == "cuda" else (torch.default_generator,)
        self._noise = streams[device.index or 0]
        self.losses = torch.zeros((), device=device, dtype=torch.float64)
        self.losses_count = 0
        self.optimizer = self._new_optimizer()
        self._begin()

    @property
    def phase_index(self) -> int:
        """The phase that the next step belongs to (the last one, at the end)."""
        return min(int(np.searchsorted(self.starts, self.step, side="right")) - 1, len(self.plan.phases) - 1)

    def run(self, *, after_step: Callable[["Training"], None]) -> None:
        """Takes all steps that are left; calls `after_step` after each."""
        while self.step < self.total:
            self.take_step()
            after_step(self)

    def take_step(self) -> None:
        """One optimiser step, and the validation where one is due."""
        index = self.phase_index
        phase = self.plan.phases[index]
        local = self.step - self.starts[index]
        if local == 0 and index > 0:
            self.optimizer = self._new_optimizer()
        images, targets = self._batch(phase, index, local)
        rate = learning_rate(
            local,
            steps=phase.steps,
            peak=phase.learning_rate,
            warmup=self.recipe.warmup,
            schedule=self.recipe.schedule,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        # Dropout and the like draw from torch's own streams; seeded by the step, they need no state in checkpoints.
        self._noise.manual_seed(word_of(self.seed, _STEP_NOISE, self.step))
        logits = self.model(images).float()
        loss = image_losses(logits, targets, loss=self.recipe.loss, label_smoothing=self.recipe.label_smoothing).mean()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        half_life = self.recipe.ema_half_life_steps
        self.average.update(decay=decay(1, done=local + 1, half_life=half_life, ramp=AVERAGE_RAMP))
        self.losses += loss.detach()
        self.losses_count += 1
        self.step += 1
        if local + 1 == phase.steps:
            self._assert_seen(phase, index)
        if self.step in self.validation_at:
            self._validate()

    def final_weights(self) -> dict[str, Tensor]:
        """The weights that the recipe chooses: the moving average at the end, or that of the best validation loss."""
        if self.recipe.checkpoint == TrainingRecipe.CHECKPOINT_CHOICE_BEST:
            assert self.best is not None
            return self.best
        return self.average.tensors

    def _batch(self, phase: Phase, index: int, local: int) -> tuple[Tensor, Tensor]:
        items, passes = phase.order.draws(phase.bounds[local], phase.bounds[local + 1])
        rows = phase.pool.rows[items]
        seen = np.bincount(self.plan.origins[rows], minlength=len(ORIGINS))
        self.history.seen[index] = [a + int(b) for a, b in zip(self.history.seen[index], seen, strict=True)]
        self.history.duplicated[index] += int(np.count_nonzero(phase.pool.copies[items]))
        drawn = None
        if self._augmentation.shift or self._augmentation.flip:
            visits = passes.astype(np.uint64) | np.uint64(index << 40)
            drawn_np = draw(phase.pool.codes[items], visits, seed=self.seed, augmentation=self._augmentation)
            drawn = torch.from_numpy(drawn_np).to(self.device, non_blocking=True)
        where = torch.from_numpy(rows).to(self.device, non_blocking=True)
        return normalise(gather(self._windows, where, drawn), self._mean_C, self._std_C), self._targets[where]

    def _assert_seen(self, phase: Phase, index: int) -> None:
        """What the batches held is what the phase asks for; counted by the table's own origins."""
        seen = dict(zip(ORIGINS, self.history.seen[index], strict=True))
        expected = phase.order.expected(phase.draws)
        assert seen == expected, f"phase {index} saw {seen}, and was to see {expected}"
        assert sum(seen.values()) == phase.draws
        assert self.step == self.starts[index + 1], f"phase {index} ended after {self.step} steps"

    def predict_validation(self, weights: dict[str, Tensor]) -> Tensor:
        """Logits, float32 (N, K), of the validation split with these weights."""
        self._shadow.load_state_dict(weights)
        return torch.cat([*predict(self._shadow, self._validation_images, constants=self.constants)])

    def _validate(self) -> None:
        """Evaluates the validation split, and keeps the average where it is the best so far.

        The best is of the last phase: an arm that trains on real images first and on synthetic ones then would else be
        its control, whenever real images alone validate better.
        """
        logits = self.predict_validation(self.average.tensors)
        targets = targets_of(self._validation_labels, device=self.device)
        losses = image_losses(logits, targets, loss=self.recipe.loss).cpu().numpy()
        several = self._validation_labels.ndim == 2
        scores = probabilities(logits, multi_label=several).cpu().numpy()
        mean_loss = float(losses.astype(np.float64).mean())
        history = self.history
        history.steps.append(self.step)
        history.curves["train_loss"].append(float(self.losses) / self.losses_count)
        history.curves["validation_loss"].append(mean_loss)
        history.curves["validation_auroc"].append(split_metrics.macro_auroc(scores, self._validation_labels))
        history.curves["validation_accuracy"].append(split_metrics.accuracy(scores, self._validation_labels))
        self.validation_losses.append(losses)
        self.losses.zero_()
        self.losses_count = 0
        is_last_phase = self.step > self.starts[-2]
        if is_last_phase and mean_loss < history.best_loss:
            history.best_step, history.best_loss = self.step, mean_loss
            if self.recipe.checkpoint == TrainingRecipe.CHECKPOINT_CHOICE_BEST:
                self.best = {name: value.clone() for name, value in self.average.tensors.items()}
        self.model.train()

    def _begin(self) -> None:
        self.model.train()
        assert int((self.plan.origins == REAL).sum()) == len(self.plan.images[0])

    def _new_optimizer(self) -> torch.optim.Optimizer:
        """A fresh optimiser: each phase has one. Biases and the scales of norms are not decayed."""
        decayed = [p for p in self.model.parameters() if p.requires_grad and p.ndim > 1]
        others = [p for p in self.model.parameters() if p.requires_grad and p.ndim <= 1]
        groups: list[dict[str, Any]] = [
            {"params": decayed, "weight_decay": self.recipe.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        if self.recipe.optimizer == TrainingRecipe.OPTIMIZER_SGD:
            return torch.optim.SGD(groups, lr=0.0, momentum=_MOMENTUM, nesterov=True, fused=True)
        kind = torch.optim.Adam if self.recipe.optimizer == TrainingRecipe.OPTIMIZER_ADAM else torch.optim.AdamW
        return kind(groups, lr=0.0, fused=True)
