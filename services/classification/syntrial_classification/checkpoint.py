"""A training's state as blobs, and back: tensors as safetensors, the rest as JSON."""

import json
from dataclasses import asdict

import numpy as np
import torch
from syntrial_training.tensors import from_bytes, load_optimizer, optimizer_tensors, prefixed, to_bytes, under
from torch import Tensor

from syntrial_classification.training import History, Training
from syntrial_classification.weights import json_bytes

_TENSORS, _STATE = "tensors.safetensors", "state.json"


def save_training(training: Training) -> dict[str, bytes]:
    """The state between two steps, as blobs by name. Saving has no effect on the training."""
    tensors: dict[str, Tensor] = {}
    tensors |= prefixed(training.model.state_dict(), "model/")
    tensors |= prefixed(training.average.tensors, "average/")
    tensors |= prefixed(training.best or {}, "best/")
    tensors |= prefixed(optimizer_tensors(training.optimizer), "optimizer/")
    if training.validation_losses:
        tensors["validation_losses"] = torch.from_numpy(np.stack(training.validation_losses))
    tensors["losses"] = training.losses
    history = asdict(training.history)
    if not training.history.best_step:
        del history["best_loss"]
    state = {"step": training.step, "losses_count": training.losses_count, "history": history}
    return {_TENSORS: to_bytes(tensors), _STATE: json_bytes(state)}


def load_training(training: Training, blobs: dict[str, bytes]) -> None:
    """Puts a new training of the same request into the saved state."""
    state = json.loads(blobs[_STATE])
    tensors = from_bytes(blobs[_TENSORS])
    training.step = state["step"]
    training.history = History(**state["history"])
    training.losses_count = state["losses_count"]
    training.losses.copy_(tensors["losses"])
    training.model.load_state_dict(under(tensors, "model/"))
    training.average.load(under(tensors, "average/"))
    training.best = {name: value.to(training.device) for name, value in under(tensors, "best/").items()} or None
    if "validation_losses" in tensors:
        training.validation_losses = [*tensors["validation_losses"].numpy()]
    load_optimizer(training.optimizer, under(tensors, "optimizer/"))
