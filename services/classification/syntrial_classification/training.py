"""The training loop: a state that moves by one optimiser step at a time, and can be saved and taken up again.

Everything that a step needs follows from (request, number of the step) and the state's tensors, so a training that
was interrupted ends in the same bytes as one that was not.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from syntrial_training.averages import MovingAverage, decay
from syntrial_training.divergence import Losses
from syntrial_training.naming import is_within
from syntrial_training.tensors import load_optimizer, optimizer_tensors, prefixed, to_bytes, under
from torch import Tensor, nn

from syntrial.artifacts.manifest import Blob
from syntrial.artifacts.members import ArtifactWriter
from syntrial.errors import ArtifactMissing, UserError
from syntrial.imagesets.imageset import ImageSet
from syntrial.v1.classification_pb2 import TrainingRecipe
from syntrial_classification import distort, mixing, rand_augment, split_metrics
from syntrial_classification.augment import Augmentation, draw, gather, normalise, scaled, visited, windows
from syntrial_classification.columns import convolve_by_columns
from syntrial_classification.freezing import set_trained, trained_parts
from syntrial_classification.losses import class_weights, image_losses, probabilities
from syntrial_classification.models import head_names, layer_groups
from syntrial_classification.phases import Phase, TrainingPlan
from syntrial_classification.pools import ORIGINS, REAL
from syntrial_classification.schedule import learning_rate, peak_rate, validation_steps
from syntrial_classification.streams import word_of
from syntrial_classification.table import Normalisation, predict, resident, targets_of

KEPT: Final = "checkpoints"
"""The member that holds weights which were kept on the way."""

_STEP_NOISE = 31
_SMALLEST_BATCH = 2
_MOMENTUM = 0.9

AVERAGE_RAMP = 0.1
"""The half-life of averaged weights is at most this share of the steps since the phase began, so that short phases
forget their start. The papers' rule (see `averages.decay`) ramps at 0.05 over much longer trainings.
"""

CURVES = ("train_loss", "validation_loss", "validation_auroc", "validation_accuracy")


class KeptWeightsGone(Exception):
    """Weights that an earlier attempt kept on the way are in the store no more: collected, after a long pause."""


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
    epochs: list[list[list[int]]] = field(default_factory=list)
    """Of each phase, where its passes draw: how many images a pass has shown, and how many of each label."""
    best_step: int = 0
    """The step of the present phase that is the best by the recipe's `select_by`; 0 before its first validation."""
    best_loss: float | None = None
    """What it is the best by, the lower the better: the validation loss, or AUROC or accuracy taken from 1."""
    phase: int = 0
    """The phase of the last step, counted from 0."""
    losses_count: int = 0
    """Training losses since the last validation."""
    kept: list[dict[str, Any]] = field(default_factory=list)
    """Weights that were written on the way: the fields of each `Blob`."""


class Training:
    """A classifier in training, see `syntrial_training.loop.Trainee`; steps are counted over all phases."""

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
        output: ArtifactWriter | None = None,
    ) -> None:
        """`output` takes the weights that the recipe keeps on the way."""
        self._output = output
        self.plan, self.recipe, self.constants, self.seed, self.device = plan, recipe, constants, seed, device
        self.model = model.to(device).to(memory_format=torch.channels_last)
        self.average = MovingAverage(self.model)
        self.best: dict[str, Tensor] | None = None
        self.steps = sum(phase.steps for phase in plan.phases)
        self.starts = np.concatenate([[0], np.cumsum([phase.steps for phase in plan.phases])]).tolist()
        self.validation_at = frozenset(validation_steps(self.steps, validations=recipe.validations))
        if any(phase.train or phase.begins_with_best for phase in plan.phases):
            # Of stages, each is evaluated at its end.
            self.validation_at |= frozenset(self.starts[1:])
        self._trained = [
            trained_parts(self.model, phase.train, field=f"phases[{index}].train")
            for index, phase in enumerate(plan.phases)
        ]
        self.history = History(seen=[[0] * len(ORIGINS) for _ in plan.phases], duplicated=[0] * len(plan.phases))
        if plan.cap:
            self.history.epochs = [[] for _ in plan.phases]
        self.validation_losses: list[npt.NDArray[np.float32]] = []
        border = recipe.augment_shift
        self._windows = windows(resident(plan.images, device=device, border=border), border=border)
        self._targets = targets_of(plan.labels, device=device)
        self._mean_C, self._std_C = constants.tensors(device)
        self._weights_K: Tensor | None = None
        if recipe.class_weights == TrainingRecipe.CLASS_WEIGHTS_BALANCED:
            self._weights_K = self._sent(class_weights(plan.weighed, classes=len(validation.classes)))
        self._validation_images = resident((validation.images_NHWC,), device=device)
        self._validation_labels, self.classes = validation.labels, validation.classes
        self._is_bfloat16 = recipe.precision == TrainingRecipe.PRECISION_BFLOAT16
        self._augmentation = Augmentation(shift=recipe.augment_shift, flip=recipe.augment_flip)
        self._shadow = copy.deepcopy(self.model)
        if device.type == "cpu":
            convolve_by_columns(self.model)
        # The device's stream alone: `torch.manual_seed` asks after every kind of device, a hundredth of a small step.
        streams = torch.cuda.default_generators if device.type == "cuda" else (torch.default_generator,)
        self._noise = streams[device.index or 0]
        self._loss_sum = torch.zeros((), device=device, dtype=torch.float64)
        self.losses = Losses(
            steps=self.steps,
            field="model.learning_rate",
            remedy="Lower `learningRate`: the classifier's, the link's, or that of the stage or the arm's phase.",
            device=device,
        )
        self._enter(0)
        # Several labels turned into the likeliest one would be trained by softmax without a word.
        assert self._targets.ndim == validation.labels.ndim, "the targets have not the form of the data set's labels"
        assert int((plan.origins == REAL).sum()) == len(plan.images[0])

    @property
    def modules(self) -> Sequence[nn.Module]:
        """The classifier."""
        return (self.model,)

    def phase_of(self, step: int) -> int:
        """The phase that a step belongs to, counted from 0; after the last step, the last phase."""
        return min(int(np.searchsorted(self.starts, step, side="right")) - 1, len(self.plan.phases) - 1)

    def step(self, number: int) -> None:
        """One optimiser step, counted from 0, and the validation where one is due."""
        index = self.phase_of(number)
        phase = self.plan.phases[index]
        local = number - self.starts[index]
        if local == 0 and index > 0:
            if phase.begins_with_best:
                assert self.best is not None
                self.model.load_state_dict(self.best)
                self.average.load(self.best)
            self._enter(index)
        images, targets, own = self._batch(phase, index, local)
        rate = learning_rate(
            local,
            steps=phase.steps,
            epoch=phase.epoch,
            peak=peak_rate(phase.learning_rate, self.recipe),
            recipe=self.recipe,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("lr_scale", 1.0)
        # Dropout and the like draw from torch's own streams; seeded by the step, they need no state in checkpoints.
        self._noise.manual_seed(word_of(self.seed, _STEP_NOISE, number))
        loss: Tensor | None = None
        with suppress(torch.OutOfMemoryError):
            loss = self._learn(images, targets, own, heads_of=index if local == 0 else None)
        if loss is None:
            # Here, since until the error is gone its frames hold what the device has no room for.
            raise self._too_large(images, targets, own)
        half_life = self.recipe.ema_half_life_steps
        self.average.update(decay=decay(1, done=local + 1, half_life=half_life, ramp=AVERAGE_RAMP))
        self._loss_sum += loss.detach()
        self.history.losses_count += 1
        self.losses.note(number, {"loss": loss}, learning_rate=rate)
        if local + 1 == phase.steps:
            self._assert_seen(phase, index, done=number + 1)
        if number + 1 in self.validation_at:
            self.losses.read()
            self._validate(number)
        self._keep(index, done=local + 1)

    def _learn(self, images: Tensor, targets: Tensor, own: Tensor | None, *, heads_of: int | None) -> Tensor:
        """Moves the weights by a batch; returns its loss. The heads of the phase `heads_of` must have gradients."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._is_bfloat16):
            logits = self.model(images)
        logits = logits.float()
        losses = image_losses(logits, targets, recipe=self.recipe, weights_K=self._weights_K, smooth=True)
        if own is not None:
            others = image_losses(logits, targets.flip(0), recipe=self.recipe, weights_K=self._weights_K, smooth=True)
            losses = own * losses + (1 - own) * others
        loss = losses.mean()
        loss.backward()
        if heads_of is not None:
            self._assert_heads_learn(heads_of)
        if self.recipe.clip_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss

    def _too_large(self, images: Tensor, targets: Tensor, own: Tensor | None) -> UserError:
        """What is told where a batch does not fit into the device's memory: which one does, by trying.

        The training is at its end.
        """
        count = fits = len(images)
        while fits > _SMALLEST_BATCH:
            fits //= 2
            self.optimizer.zero_grad(set_to_none=True)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            with suppress(torch.OutOfMemoryError):
                self._learn(images[:fits], targets[:fits], None if own is None else own[:fits], heads_of=None)
                remedy = (
                    f"Set the recipe's `batchSize` to {fits}, which fits, and `learningRateBatch` to {count}, which "
                    "lowers the learning rate in proportion; or leave the device to this training alone."
                )
                break
        else:
            remedy = f"Not {_SMALLEST_BATCH} images fit: choose a smaller model, or a smaller `size` of images."
        return UserError(
            field="recipe.batch_size",
            rule="a batch of images fits into the device's memory with the network",
            received=f"{count} images of {images.shape[3]}×{images.shape[2]} pixels",
            remedy=remedy,
        )

    def _keep(self, index: int, *, done: int) -> None:
        """Writes the weights that the recipe keeps on the way, once `done` steps of a phase are taken.

        Averaged ones where a multiple of `keep_epochs` passes over the phase's pool is reached; and with `keep_stages`,
        at the end of each phase but the last, averaged ones or the best, as the next one begins.
        """
        phase, apart = self.plan.phases[index], self.recipe.keep_epochs * self.plan.phases[index].epoch
        if apart:
            # A step that ends a pass belongs to it, whatever rounding says.
            reached, before = (math.floor(steps / apart + 1e-9) for steps in (done, done - 1))
            if reached > before:
                self._write(f"phase-{index}-epoch-{reached * self.recipe.keep_epochs:.6g}", self.average.tensors)
        if self.recipe.keep_stages and done == phase.steps and index + 1 < len(self.plan.phases):
            best = self.best if self._keeps_best(index) else None
            self._write(f"phase-{index}-end", best or self.average.tensors)

    def _write(self, name: str, weights: Mapping[str, Tensor]) -> None:
        if self._output is None:
            return
        name = f"{name}.safetensors"
        self._output.write(KEPT, name, to_bytes(weights))
        written = next(blob for blob in self._output.members()[KEPT].blobs if blob.name == name)
        self.history.kept.append(asdict(written))

    def final_weights(self) -> dict[str, Tensor]:
        """The weights that the recipe chooses: the moving average at the end, or that of the best validation."""
        if self.recipe.checkpoint == TrainingRecipe.CHECKPOINT_CHOICE_BEST:
            assert self.best is not None
            return self.best
        return self.average.tensors

    def tensors(self) -> dict[str, Tensor]:
        """Weights, their average and the best of it, the optimiser's moments, and the losses of validations."""
        tensors = prefixed(self.model.state_dict(), "model/") | prefixed(self.average.tensors, "average/")
        tensors |= prefixed(self.best or {}, "best/") | prefixed(optimizer_tensors(self.optimizer), "optimizer/")
        if self.validation_losses:
            tensors["validation_losses"] = torch.from_numpy(np.stack(self.validation_losses))
        tensors["loss_sum"] = self._loss_sum
        return tensors

    def notes(self) -> dict[str, Any]:
        """What was recorded so far."""
        return asdict(self.history)

    def load(self, tensors: Mapping[str, Tensor], notes: Mapping[str, Any]) -> None:
        """Puts back what `tensors` and `notes` took; raises KeptWeightsGone before anything of it is."""
        history = History(**notes)
        if history.kept:
            assert self._output is not None
            try:
                self._output.adopt(KEPT, [Blob(**blob) for blob in history.kept])
            except ArtifactMissing as error:
                raise KeptWeightsGone(str(error)) from error
        self._enter(history.phase)
        self.history = history
        self._loss_sum.copy_(tensors["loss_sum"])
        self.model.load_state_dict(under(tensors, "model/"))
        self.average.load(under(tensors, "average/"))
        self.best = {name: value.to(self.device) for name, value in under(tensors, "best/").items()} or None
        if "validation_losses" in tensors:
            self.validation_losses = [*tensors["validation_losses"].numpy()]
        load_optimizer(self.optimizer, under(tensors, "optimizer/"))

    def _batch(self, phase: Phase, index: int, local: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Images, their targets, and the share that each has of itself where they are mixed."""
        items, passes = phase.order.draws(phase.bounds[local], phase.bounds[local + 1])
        rows = phase.pool.rows[items]
        seen = np.bincount(self.plan.origins[rows], minlength=len(ORIGINS))
        self.history.seen[index] = [a + int(b) for a, b in zip(self.history.seen[index], seen, strict=True)]
        self.history.duplicated[index] += int(np.count_nonzero(phase.pool.copies[items]))
        if self.plan.cap:
            self._count(index, rows, passes)
        visits = passes.astype(np.uint64) | np.uint64(index << 40)
        codes = visited(phase.pool.codes[items], visits, seed=self.seed)
        drawn = None
        if self._augmentation.shift or self._augmentation.flip:
            drawn = self._sent(draw(codes, augmentation=self._augmentation))
        where = self._sent(rows)
        gathered, targets = gather(self._windows, where, drawn), self._targets[where]
        if distort.is_asked(self.recipe) or rand_augment.is_asked(self.recipe):
            numbers = self._sent(distort.draw(codes))
            whole = distort.distort(gathered.permute(0, 3, 1, 2).float(), numbers, recipe=self.recipe)
            if rand_augment.is_asked(self.recipe):
                chosen = rand_augment.draw(codes, recipe=self.recipe)
                whole = rand_augment.rand_augment(whole, chosen, recipe=self.recipe)
            images = distort.erase(scaled(whole, self._mean_C, self._std_C), numbers, recipe=self.recipe)
            images = images.contiguous(memory_format=torch.channels_last)
        else:
            images = normalise(gathered, self._mean_C, self._std_C)
        if not mixing.is_asked(self.recipe):
            return images, targets, None
        mixed, own = mixing.mix(images, self._sent(mixing.draw(codes, recipe=self.recipe)))
        return mixed, targets, own

    def _count(self, index: int, rows: npt.NDArray[np.int64], passes: npt.NDArray[np.int64]) -> None:
        """Adds a batch to what the passes of a phase have shown."""
        found = self.history.epochs[index]
        for number in np.unique(passes).tolist():
            labels = self.plan.labels[rows[passes == number]]
            several = labels.ndim == 2
            counts = labels.sum(0, dtype=np.int64) if several else np.bincount(labels, minlength=len(self.classes))
            more = [len(labels), *counts.tolist()]
            if number == len(found):
                found.append(more)
            else:
                found[number] = [a + b for a, b in zip(found[number], more, strict=True)]

    def _sent(self, array: npt.NDArray[Any]) -> Tensor:
        """An array on the device."""
        return torch.from_numpy(array).to(self.device, non_blocking=True)

    def _assert_seen(self, phase: Phase, index: int, *, done: int) -> None:
        """What the batches held is what the phase asks for; counted by the table's own origins."""
        seen = dict(zip(ORIGINS, self.history.seen[index], strict=True))
        expected = phase.order.expected(phase.draws)
        assert seen == expected, f"phase {index} saw {seen}, and was to see {expected}"
        assert sum(seen.values()) == phase.draws
        assert done == self.starts[index + 1], f"phase {index} ended after {done} steps"

    def _assert_heads_learn(self, index: int) -> None:
        """Every head that the phase trains has a gradient: a distilled transformer is evaluated by both of its own."""
        heads = head_names(self.model)
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad and is_within(name, heads):
                assert parameter.grad is not None, f"phase {index} leaves the head {name} untrained"

    def predict_validation(self, weights: dict[str, Tensor]) -> Tensor:
        """Logits, float32 (N, K), of the validation split with these weights."""
        self._shadow.load_state_dict(weights)
        return torch.cat([*predict(self._shadow, self._validation_images, constants=self.constants)])

    def _validate(self, number: int) -> None:
        """Evaluates the validation split after step `number`, and keeps the average where it is its phase's best.

        A classifier becomes the best of the last phase: an arm that trains on real images first and on synthetic ones
        then would else be its control, whenever real images alone validate better.
        """
        logits = self.predict_validation(self.average.tensors)
        targets = targets_of(self._validation_labels, device=self.device)
        losses = image_losses(logits, targets, recipe=self.recipe).cpu().numpy()
        mean_loss = float(losses.astype(np.float64).mean())
        self.losses.require({"validation loss": mean_loss}, number=number)
        several = self._validation_labels.ndim == 2
        scores = probabilities(logits, multi_label=several).cpu().numpy()
        history = self.history
        history.steps.append(number + 1)
        auroc = split_metrics.macro_auroc(scores, self._validation_labels)
        accuracy = split_metrics.accuracy(scores, self._validation_labels)
        history.curves["train_loss"].append(float(self._loss_sum) / history.losses_count)
        history.curves["validation_loss"].append(mean_loss)
        history.curves["validation_auroc"].append(auroc)
        history.curves["validation_accuracy"].append(accuracy)
        self.validation_losses.append(losses)
        self._loss_sum.zero_()
        history.losses_count = 0
        lost = {
            # Where validation has no AUROC any checkpoint is as good as another: the first stands.
            TrainingRecipe.SELECTION_AUROC: 1.0 - (auroc or 0.0),
            TrainingRecipe.SELECTION_ACCURACY: 1.0 - accuracy,
        }.get(self.recipe.select_by, mean_loss)
        if history.best_loss is None or lost < history.best_loss:
            history.best_step, history.best_loss = number + 1, lost
            if self._keeps_best(history.phase):
                self.best = {name: value.clone() for name, value in self.average.tensors.items()}

    def _enter(self, index: int) -> None:
        """Begins a phase: its parts are those that are trained, by a fresh optimiser, and its best is yet to come."""
        self.history.phase, self.history.best_step, self.history.best_loss = index, 0, None
        set_trained(self.model, self._trained[index])
        self.optimizer = self._new_optimizer()

    def _keeps_best(self, index: int) -> bool:
        """Whether the best weights of a phase are asked for afterwards."""
        if index + 1 < len(self.plan.phases):
            return self.plan.phases[index + 1].begins_with_best
        return self.recipe.checkpoint == TrainingRecipe.CHECKPOINT_CHOICE_BEST

    def _new_optimizer(self) -> torch.optim.Optimizer:
        """A fresh optimiser: each phase has one. Biases and the scales of norms are not decayed."""
        if self.recipe.layer_decay:
            groups = layer_groups(
                self.model, weight_decay=self.recipe.weight_decay, layer_decay=self.recipe.layer_decay
            )
        else:
            decayed = [p for p in self.model.parameters() if p.requires_grad and p.ndim > 1]
            others = [p for p in self.model.parameters() if p.requires_grad and p.ndim <= 1]
            groups = [
                {"params": decayed, "weight_decay": self.recipe.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ]
        if self.recipe.optimizer == TrainingRecipe.OPTIMIZER_SGD:
            return torch.optim.SGD(groups, lr=0.0, momentum=_MOMENTUM, nesterov=True, fused=True)
        kind = torch.optim.Adam if self.recipe.optimizer == TrainingRecipe.OPTIMIZER_ADAM else torch.optim.AdamW
        return kind(groups, lr=0.0, fused=True)
