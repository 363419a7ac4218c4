"""A training's state as blobs, and back: tensors as safetensors, the rest as JSON."""

import json
from dataclasses import asdict

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from syntrial_classification.training import History, Training
from syntrial_classification.weights import json_bytes, to_safetensors_order

_TENSORS, _STATE = "tensors.safetensors", "state.json"


def save_training(training: Training) -> dict[str, bytes]:
    """The state between two steps, as blobs by name. Saving has no effect on the training."""
    tensors: dict[str, Tensor] = {}
    tensors |= {f"model/{name}": value for name, value in training.model.state_dict().items()}
    tensors |= {f"average/{name}": value for name, value in training.average.tensors.items()}
    tensors |= {f"best/{name}": value for name, value in (training.best or {}).items()}
    for number, state in training.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{number}/{name}": value for name, value in state.items() if value is not None}
    if training.validation_losses:
        tensors["validation_losses"] = torch.from_numpy(np.stack(training.validation_losses))
    tensors["losses"] = training.losses
    history = asdict(training.history)
    if not training.history.steps:
        del history["best_loss"]
    state = {"step": training.step, "losses_count": training.losses_count, "history": history}
    return {_TENSORS: save(to_safetensors_order(tensors)), _STATE: json_bytes(state)}


def load_training(training: Training, blobs: dict[str, bytes]) -> None:
    """Puts a new training of the same request into the saved state."""
    state = json.loads(blobs[_STATE])
    tensors = load(blobs[_TENSORS])

    def part(name: str) -> dict[str, Tensor]:
        prefix = f"{name}/"
        return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}

    training.step = state["step"]
    training.history = History(**state["history"])
    training.losses_count = state["losses_count"]
    training.losses.copy_(tensors["losses"])
    training.model.load_state_dict(part("model"))
    for name, value in part("average").items():
        training.average.tensors[name].copy_(value)
    training.best = {name: value.to(training.device) for name, value in part("best").items()} or None
    if "validation_losses" in tensors:
        training.validation_losses = [*tensors["validation_losses"].numpy()]
    parameters = [p for group in training.optimizer.param_groups for p in group["params"]]
    for key, value in part("optimizer").items():
        number, _, name = key.partition("/")
        parameter = parameters[int(number)]
        # Fused optimisers want a state in the memory format of its parameter, which the file does not keep.
        own = torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value
        training.optimizer.state[parameter][name] = own
